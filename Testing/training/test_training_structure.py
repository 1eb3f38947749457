"""Rules of the training package: commands are the top layer, the engine knows nothing of it, no import circles."""

import ast
from pathlib import Path

import pytest

from support.source_code import for_type_checkers

ROOT = Path(__file__).resolve().parents[2]
NAME, ENGINE = "attention_unet_training", "AttentionUNetSegmentationLib"
PACKAGE = ROOT / "Training" / NAME
FILES = sorted(PACKAGE.rglob("*.py"))
ENGINE_FILES = sorted((ROOT / "AttentionUNetSegmentation").rglob("*.py"))


def dotted(path: Path) -> str:
    """The full name of one of the package's modules."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path) for path in FILES}


def imports(path: Path, file_scope_only: bool = False) -> set[str]:
    """Full names of the modules that a file imports, but for type checkers; of the package's own, the very module."""
    package = dotted(path).split(".") if path.is_relative_to(PACKAGE) else []
    if path.name != "__init__.py":
        package = package[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = for_type_checkers(tree)
    found: set[str] = set()
    for node in tree.body if file_scope_only else ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else source for name in names}
    return found


def layer_of(module: str) -> str:
    """The folder of one of the package's modules; "" for files at its top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_only_the_command_line_imports_commands(path):
    """Not even a command imports another: what two of them need has a layer of its own."""
    for name in imports(path):
        if name.startswith(f"{NAME}.commands"):
            pytest.fail(f"{dotted(path)} must not import {name}")


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_layers_do_not_import_the_command_line(path):
    if layer_of(dotted(path)) != "commands":
        assert not imports(path) & {f"{NAME}.command_line", f"{NAME}.cli"}


@pytest.mark.parametrize("path", ENGINE_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_engine_does_not_import_the_training_package(path):
    assert not [name for name in imports(path) if name.split(".")[0] == NAME]


def test_the_package_imports_the_engine():
    """The rule above is not one about packages that have nothing to do with each other."""
    assert any(name.startswith(ENGINE) for path in FILES for name in imports(path))


def test_nothing_imports_in_a_circle():
    graph = {dotted(path): imports(path, file_scope_only=True) & MODULES for path in FILES}
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name not in finished:
            for imported in sorted(graph[name]):
                visit(imported, (*above, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def test_layers_import_in_one_direction():
    """Folders, too, do not import each other in a circle, whichever files of them are concerned."""
    below: dict[str, set[str]] = {}
    for path in FILES:
        layer = layer_of(dotted(path))
        imported = {layer_of(name) for name in imports(path) & MODULES} - {"", layer}
        below.setdefault(layer, set()).update(imported)
    waiting = dict(below)
    while waiting:
        free = [layer for layer, needed in waiting.items() if not needed & waiting.keys()]
        assert free, f"these folders import each other: {waiting}"
        for layer in free:
            del waiting[layer]
