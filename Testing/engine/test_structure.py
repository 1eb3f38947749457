"""Rules of the architecture: which folder may import what, and that nothing imports in a circle.

A folder of the engine is one layer. ``FOLDERS`` says for each which other layers it may import, and which third-party
packages: at file scope, and inside functions only. Files at the top (``volume``, ``monitor`` ...) are the roots, which
every layer may import; ``pipeline`` is a layer of its own.
"""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from support.source_code import for_type_checkers

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "AttentionUNetSegmentation"
NAME = "AttentionUNetSegmentationLib"
ENGINE = MODULE / NAME


class Rule(NamedTuple):
    """What the files of a folder may import, beside the standard library, numpy, the roots and each other."""

    layers: str = ""
    packages: str = ""
    packages_inside_functions: str = ""


FOLDERS = {
    "": Rule(),
    "inference": Rule("", "torch openvino"),
    "models": Rule("inference", "", "torch"),
    "imaging": Rule("models", "SimpleITK"),
    "pipeline": Rule("inference models imaging", "SimpleITK"),
    "formats": Rule("imaging", "SimpleITK", "nibabel pydicom highdicom"),
    "command": Rule("inference models imaging pipeline formats browser", "", "rich matplotlib"),
    "cohort": Rule("inference models imaging pipeline formats command", "SimpleITK ray", "pyarrow jinja2"),
    "scene": Rule("inference models imaging pipeline", "slicer vtk", "SampleData"),
    "browser": Rule(
        "inference models imaging pipeline formats command scene", "aiohttp yarl slicer vtk trame trame_slicer"
    ),
    "panels": Rule("inference models imaging pipeline scene", "slicer vtk qt ctk"),
    "selftests": Rule("models scene", "slicer vtk", "torch SampleData AttentionUNetSegmentation"),
}
ROOT_MODULES = {path.stem for path in ENGINE.glob("*.py")} - {"pipeline"}
# what the module imports on the main thread, and before it is known what runs the network
PANELS = [f"panels.{path.stem}" for path in (ENGINE / "panels").glob("*.py")]
NEITHER_RUNTIME = ["pipeline", "command.cli", "command.batch", "models.loading", "inference.prediction"]
FRONT = [f"browser.{name}" for name in ("access", "front", "processes", "relay", "turns")]
BEFORE_ANY_RUN = ["errors", "models.cache", "scene.background_run", "scene.request", "scene.sequences", *PANELS]
FILES = sorted(ENGINE.rglob("*.py"))


class Import(NamedTuple):
    """A module that is imported, with its full name."""

    name: str
    at_file_scope: bool


def dotted(path: Path) -> str:
    """The full name of one of the engine's modules."""
    parts = path.relative_to(MODULE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(name: str) -> Path | None:
    """The file of a module of the engine, or None if it is another's, or no module."""
    path = MODULE.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def imports(path: Path) -> list[Import]:
    """Every import of a file but those for type checkers only; ``from package import module`` names the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = for_type_checkers(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    package = dotted(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = []
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            found += [Import(alias.name, id(node) not in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            found += [Import(name if path_of(name) else source, id(node) not in inside) for name in names]
    return found


def layer_of(name: str) -> str:
    """The layer of one of the engine's modules by its full name; "" for the roots."""
    first = name.split(".")[1] if "." in name else ""
    return "" if first in ROOT_MODULES else first


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_layer_imports_only_the_layers_below_it(path):
    layer = layer_of(dotted(path))
    allowed = {"", layer, *FOLDERS[layer].layers.split()}
    if path == ENGINE / "__init__.py":
        return  # it names what other layers offer, and imports it when asked
    for name, _ in imports(path):
        if name.split(".")[0] == NAME:
            assert layer_of(name) in allowed, f"{dotted(path)} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_layer_needs_only_the_packages_it_may(path):
    rule = FOLDERS[layer_of(dotted(path))]
    for name, at_file_scope in imports(path):
        package = name.split(".")[0]
        if package == NAME or package in sys.stdlib_module_names:
            continue
        allowed = {"numpy", *rule.packages.split()}
        if not at_file_scope:
            allowed.update(rule.packages_inside_functions.split())
        assert package in allowed, f"{dotted(path)} must not import {name}" + " at file scope" * at_file_scope


def test_nothing_imports_in_a_circle():
    graph = {dotted(path): {name for name, at_file_scope in imports(path) if at_file_scope} for path in FILES}
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name in graph and name not in finished:
            for imported in sorted(graph[name]):
                visit(imported, (*above, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    ("module", "packages"),
    [(module, {"torch", "openvino", "SimpleITK"}) for module in BEFORE_ANY_RUN]
    + [(module, {"torch", "openvino"}) for module in NEITHER_RUNTIME]
    + [(module, {"torch", "openvino", "SimpleITK", "slicer", "vtk", "trame", "trame_slicer"}) for module in FRONT]
    + [("command.view", {"aiohttp", "slicer", "trame"})],
)
def test_packages_are_imported_only_when_they_are_chosen(module, packages):
    seen, waiting = set(), [f"{NAME}.{module}"]
    while waiting:
        seen.add(name := waiting.pop())
        for imported, at_file_scope in imports(path_of(name)):
            assert imported.split(".")[0] not in packages or not at_file_scope, (
                f"{module} imports {imported} by way of {name}"
            )
            if at_file_scope and path_of(imported) and imported not in seen:
                waiting.append(imported)


def test_the_module_file_imports_only_what_slicer_always_has():
    for name, at_file_scope in imports(MODULE / "AttentionUNetSegmentation.py"):
        package = name.split(".")[0]
        if at_file_scope:
            assert package in {"slicer", "qt", "ctk", "vtk"} or package in sys.stdlib_module_names, name


@pytest.mark.slow
def test_the_package_offers_its_public_names_and_imports_them_when_asked():
    code = (
        f"import sys, {NAME}; assert 'torch' not in sys.modules and '{NAME}.volume' not in sys.modules;"
        f"from {NAME} import Volume, load_model, read_volume, segment;"
        f"assert {{'Volume', 'segment'}} <= set(dir({NAME}));"
        "print(Volume.__module__, load_model.__module__, read_volume.__module__, segment.__module__)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = result.stdout.split()
    assert modules == [f"{NAME}.{name}" for name in ("volume", "models.loading", "formats.files", "pipeline")]


@pytest.mark.slow
def test_importing_the_engine_does_not_import_optional_packages():
    code = (
        f"import sys, {NAME}.pipeline, {NAME}.formats.files;"
        "print(sorted({'rich', 'matplotlib', 'nibabel', 'torch', 'openvino', 'lightning', 'monai'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
