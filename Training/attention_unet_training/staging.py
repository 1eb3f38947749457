"""Files and folders that appear when they are complete, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def staged(targets: Sequence[Path], overwrite: bool = False) -> Iterator[list[Path]]:
    """Give a place to write each target to; when the block ends without an error, all are moved to where they belong.

    A folder is replaced as a whole, and only if the new one has all of its files: what somebody else put there is never
    deleted.

    Args:
        targets: Files or folders to be written.
        overwrite: Whether they may replace existing ones; empty folders always may be filled.

    Yields:
        For each target a path, not existing yet, to write it to.

    Raises:
        ValueError: If a target exists and may not be replaced, or two targets lie inside each other.
    """
    targets = [Path(os.path.abspath(target)) for target in targets]
    _check_apart(targets)
    for target in targets:
        if _is_there(target) and not overwrite:
            raise ValueError(f"{target} exists already; --overwrite replaces it")
    with ExitStack() as stack:
        drafts = []
        for target in targets:
            existing = next(folder for folder in target.parents if folder.is_dir())
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=existing, prefix=".writing-"))
            drafts.append(Path(scratch) / target.name)
        yield drafts
        for draft, target in zip(drafts, targets, strict=True):
            _check_replaceable(draft, target)
        for draft, target in zip(drafts, targets, strict=True):
            _publish(draft, target)


def _check_apart(targets: Sequence[Path]) -> None:
    for n, target in enumerate(targets):
        for other in [*targets[:n], *targets[n + 1 :]]:
            if target == other or other in target.parents:
                raise ValueError(f"outputs must not lie inside each other, got {other} and {target}")


def _is_there(target: Path) -> bool:
    return target.exists() and not (target.is_dir() and not any(target.iterdir()))


def _check_replaceable(draft: Path, target: Path) -> None:
    if not target.exists():
        return
    if draft.is_dir() != target.is_dir():
        kinds = ("file", "folder") if draft.is_dir() else ("folder", "file")
        raise ValueError(f"{target} is a {kinds[0]} and cannot be replaced by a {kinds[1]}")
    if target.is_dir():
        others = sorted(_files(target) - _files(draft))
        if others:
            raise ValueError(f"{target} holds other files, such as {others[0]}: remove it, or write elsewhere")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _publish(draft: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():
        os.replace(draft, target)
        return
    aside = draft.parent / f"{target.name}.replaced"
    os.replace(target, aside)
    try:
        os.replace(draft, target)
    except OSError:
        os.replace(aside, target)
        raise
    shutil.rmtree(aside)
