"""What tests of the architecture read off source code."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "AttentionUNetSegmentation", ROOT / "Training")


class Import(NamedTuple):
    """A module that is imported, with its full name."""

    name: str
    at_file_scope: bool


def dotted(path: Path) -> str:
    """The full name of one of the project's modules."""
    (source,) = (folder for folder in SOURCES if path.is_relative_to(folder))
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(name: str) -> Path | None:
    """The file of one of the project's modules, or None if it is another's, or no module."""
    paths = [source.joinpath(*name.split(".")) for source in SOURCES]
    candidates = (candidate for path in paths for candidate in (path.with_suffix(".py"), path / "__init__.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def imports(path: Path) -> list[Import]:
    """Every import of a file but those for type checkers only; ``from package import module`` names the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = _for_type_checkers(tree)
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


def check_for_circles(files: Iterable[Path]) -> None:
    """Fail if files import each other in a circle at file scope, and name the circle."""
    graph = {dotted(path): {name for name, at_file_scope in imports(path) if at_file_scope} for path in files}
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name in graph and name not in finished:
            for imported in sorted(graph[name]):
                visit(imported, (*above, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def _for_type_checkers(tree: ast.AST) -> set[int]:
    """``id`` of every node under ``if TYPE_CHECKING:``, which does not run."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
