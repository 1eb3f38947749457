"""Files and folders that appear when they are complete, or not at all; and what a file's content is known by."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRATCH = ".writing-"  # what the name of a folder begins with in which files are prepared, beside where they go
KEPT = "not-put-back-"  # what the name of a folder begins with that keeps what could not be put back
BACKUP = ".replaced"  # within it: what the files replace, until all are in place


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) and the folders above it.

    Raises:
        OSError: If it cannot be written; what was there before is untouched.
    """
    with scratch_folder(path.parent) as scratch:
        (scratch / path.name).write_text(text, encoding="utf-8")
        move_into_place(scratch, path.parent)


@contextmanager
def scratch_folder(destination: Path) -> Iterator[Path]:
    """An empty folder for files that ``move_into_place`` then moves to ``destination``; it is deleted at the end.

    It lies inside the destination, or inside the nearest folder above that exists, so that moving is renaming.
    """
    destination = Path(os.path.abspath(destination))
    existing = next(folder for folder in (destination, *destination.parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(dir=existing, prefix=SCRATCH) as scratch:
        yield Path(scratch)


def move_into_place(scratch: Path, folder: Path, replaced: Iterable[str] = (), last: str = "") -> None:
    """Move everything in a scratch folder to where it belongs, in exchange for what is there.

    If something cannot be moved (a file that is open in another program, a folder in the way of a file), or the
    process is interrupted, everything is put back; what cannot be is kept in a folder that the error names.

    Args:
        scratch: Of ``scratch_folder``.
        folder: Where its files and folders go; made if missing.
        replaced: Names of further files there that the new ones replace.
        last: The entry that says that the others are complete: its old version goes first, its new one comes last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    new = sorted((path.name for path in scratch.iterdir()), key=lambda name: name == last)
    old = sorted({*replaced, *new}, key=lambda name: name != last)
    if old == new and len(new) == 1 and (scratch / new[0]).is_file():
        os.replace(scratch / new[0], folder / new[0])  # without a moment in which there is neither
        return
    backup = scratch / BACKUP
    backup.mkdir()
    moved: list[str] = []
    try:
        for name in old:
            if _is_replaceable(folder / name, scratch / name):
                os.replace(folder / name, backup / name)
        for name in new:
            moved.append(name)
            os.replace(scratch / name, folder / name)
    except BaseException as error:
        for name in moved:
            if not (scratch / name).exists():  # it was moved: not a folder that was in the way
                with suppress(OSError):
                    os.replace(folder / name, scratch / name)
        for path in sorted(backup.iterdir(), key=lambda path: path.name == last):
            with suppress(OSError):
                if not (folder / path.name).exists():
                    os.replace(path, folder / path.name)
        if left := sorted(path.name for path in backup.iterdir()):
            kept = folder / f"{KEPT}{scratch.name.removeprefix(SCRATCH)}"
            backup.rename(kept)  # as the scratch folder is deleted
            told = f"{kept} keeps what could not be put back in its place: {', '.join(left)}"
            if isinstance(error, Exception):
                raise OSError(told) from error
            error.add_note(told)
        raise


def _is_replaceable(old: Path, new: Path) -> bool:
    """Files are exchanged for files, folders for folders."""
    return old.is_dir() if new.is_dir() else old.is_file()
