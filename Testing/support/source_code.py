"""What tests of the architecture read off source code."""

import ast


def for_type_checkers(tree: ast.AST) -> set[int]:
    """``id`` of every node under ``if TYPE_CHECKING:``, which does not run."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
