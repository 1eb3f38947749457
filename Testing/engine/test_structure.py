"""Rules of the architecture: which folder may import what, and that nothing imports in a circle.

A folder of the engine is one layer. ``FOLDERS`` says for each which other layers it may import, and which third-party
packages: at file scope, and inside functions only. Files at the top (``volume``, ``monitor`` ...) are the roots, which
every layer may import; ``pipeline`` is a layer of its own.
"""

import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from support.source_code import ROOT, check_for_circles, dotted, imports, path_of

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
    "command": Rule("inference models imaging pipeline formats cohort browser", "", "rich matplotlib"),
    "cohort": Rule("inference models imaging pipeline formats command", "SimpleITK ray", "pyarrow jinja2"),
    "scene": Rule("inference models imaging pipeline", "slicer vtk", "SampleData"),
    "browser": Rule(
        "inference models imaging pipeline formats command scene", "aiohttp yarl slicer vtk trame trame_slicer"
    ),
    "panels": Rule("inference models imaging pipeline scene", "slicer vtk qt ctk"),
    "selftests": Rule("inference models scene", "slicer vtk", "torch SampleData AttentionUNetSegmentation"),
}
ROOT_MODULES = {path.stem for path in ENGINE.glob("*.py")} - {"pipeline"}
# what the module imports on the main thread, and before it is known what runs the network
PANELS = [f"panels.{path.stem}" for path in (ENGINE / "panels").glob("*.py")]
NEITHER_RUNTIME = ["pipeline", "command.cli", "command.batch", "models.loading", "inference.prediction"]
FRONT = [f"browser.{name}" for name in ("access", "front", "processes", "relay", "turns")]
BEFORE_ANY_RUN = ["errors", "models.cache", "scene.background_run", "scene.request", "scene.sequences", *PANELS]
FILES = sorted(ENGINE.rglob("*.py"))
IMPORTS_OPENVINO = re.compile(r"^\s*(import|from) openvino\b|import_module\(\s*['\"]openvino", re.MULTILINE)


def layer_of(name: str) -> str:
    """The layer of one of the engine's modules by its full name; "" for the roots."""
    first = name.split(".")[1] if "." in name else ""
    return "" if first in ROOT_MODULES else first


def test_a_layer_imports_only_the_layers_below_it():
    wrong = []
    for path in FILES:
        layer = layer_of(dotted(path))
        allowed = {"", layer, *FOLDERS[layer].layers.split()}
        if path == ENGINE / "__init__.py":
            continue  # it names what other layers offer, and imports it when asked
        own = [name for name, _ in imports(path) if name.split(".")[0] == NAME]
        wrong += [(dotted(path), name) for name in own if layer_of(name) not in allowed]
    assert wrong == []


def test_a_layer_needs_only_the_packages_it_may():
    wrong = []
    for path in FILES:
        rule = FOLDERS[layer_of(dotted(path))]
        anywhere = {NAME, "numpy", *sys.stdlib_module_names, *rule.packages.split()}
        in_functions = anywhere.union(rule.packages_inside_functions.split())
        for name, at_file_scope in imports(path):
            if name.split(".")[0] not in (anywhere if at_file_scope else in_functions):
                wrong.append((dotted(path), name))
    assert wrong == []


def test_openvino_is_imported_only_where_its_telemetry_is_kept_out():
    files = [*FILES, *sorted((ROOT / "Training").rglob("*.py"))]
    importing = [path for path in files if IMPORTS_OPENVINO.search(path.read_text(encoding="utf-8"))]
    assert importing == [ENGINE / "inference" / "openvino_package.py"]


def test_nothing_imports_in_a_circle():
    check_for_circles(FILES)


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
