"""Files and folders that appear when they are complete, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from AttentionUNetSegmentationLib.atomic import move_into_place, scratch_folder


@dataclass(frozen=True)
class Output:
    """Something to be written.

    Attributes:
        path: Where.
        files: For a folder, patterns of the files that are written into it (``models/*.pt``); a folder that holds
            others is never replaced. Empty for a file.
    """

    path: Path
    files: tuple[str, ...] = ()


@contextmanager
def staged(outputs: Sequence[Output], overwrite: bool = False) -> Iterator[list[Path]]:
    """Give a place to write each output to; when the block ends without an error, all are moved to where they belong.

    Args:
        outputs: Files or folders to be written.
        overwrite: Whether they may replace existing ones, folders as a whole; empty folders always may be filled.

    Yields:
        For each output a path, not existing yet, to write it to.

    Raises:
        ValueError: If an output exists and may not be replaced, or two lie inside each other.
    """
    targets = [Path(os.path.abspath(output.path)) for output in outputs]
    _check_apart(targets)
    for output, target in zip(outputs, targets, strict=True):
        if _is_there(target):
            _check_replaceable(target, output.files, overwrite)
    with ExitStack() as stack:
        drafts = []
        for target in targets:
            drafts.append(stack.enter_context(scratch_folder(target.parent)) / target.name)
        yield drafts
        for draft, target in zip(drafts, targets, strict=True):
            move_into_place(draft.parent, target.parent)


def _check_apart(targets: Sequence[Path]) -> None:
    for n, target in enumerate(targets):
        for other in [*targets[:n], *targets[n + 1 :]]:
            if target == other or other in target.parents:
                raise ValueError(f"outputs must not lie inside each other, got {other} and {target}")


def _is_there(target: Path) -> bool:
    return target.exists() and not (target.is_dir() and not any(target.iterdir()))


def _check_replaceable(target: Path, patterns: tuple[str, ...], overwrite: bool) -> None:
    if not overwrite:
        raise ValueError(f"{target} exists already; --overwrite replaces it")
    if bool(patterns) != target.is_dir():
        kinds = ("folder", "file") if target.is_dir() else ("file", "folder")
        raise ValueError(f"{target} is a {kinds[0]} and cannot be replaced by a {kinds[1]}")
    for path in sorted(target.rglob("*") if patterns else ()):
        name = path.relative_to(target).as_posix()
        if not path.is_dir() and not any(fnmatchcase(name, pattern) for pattern in patterns):
            raise ValueError(f"{target} holds other files, such as {name}: remove it, or write elsewhere")
