"""The CTs below the folder that is served, and the only way from a name that a page sends to a path.

What is checked is the folder as it is then. Not covered: who may write into it can exchange a file for a link before it
is read, or put a hard link there. The visitors of the page cannot; what others put there is theirs to show.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PureWindowsPath

from ..command.cases import volumes_in
from ..formats.dicom.headers import is_dicom_file
from ..formats.files import READABLE_ENDINGS
from .detached import data_file
from .names import ending_of, inside, shown

MAX_DEPTH = 6  # folders below the one that is served
MAX_ENTRIES = 1000
MAX_FOLDERS = 20_000  # that are looked into
FEW_FILES = 50  # of which one is DICOM in a folder that holds a series
HERE = "."  # the name of the served folder itself
DICOMDIR = "DICOMDIR"  # a list of DICOM files, none of them


@dataclass(frozen=True)
class Entry:
    """A CT that can be opened.

    Attributes:
        name: Below the served folder, with "/" between folders; "." is the served folder itself.
        kind: "file", or "dicom" for a folder.
        size_mb: Of the file, or of the files that lie directly in the folder.
    """

    name: str
    kind: str
    size_mb: float


class Listing(list[Entry]):
    """The CTs below a folder, by name.

    Attributes:
        note: A sentence if some may be missing, else empty.
    """

    note: str = ""


def list_entries(root: Path) -> Listing:
    """What lies below the served folder: files that can be read by their names, and folders that hold DICOM files.

    Hidden files and folders, links to folders, what leads out of the served folder, and results of
    ``attention-unet segment`` are left out. Nothing but names and the first bytes of a few files is read.
    """
    top = root.resolve()
    listing = Listing()
    for count, (folder, is_deepest) in enumerate(_folders(top), start=1):
        with suppress(OSError):  # it was removed meanwhile
            listing += _entries_in(folder, top)
        is_full = len(listing) > MAX_ENTRIES or count == MAX_FOLDERS
        if is_full or is_deepest:
            listing.note = f"only the first {MAX_ENTRIES} CTs, down to {MAX_DEPTH} folders deep, are listed"
        if is_full:
            break
    del listing[MAX_ENTRIES:]
    return listing


def resolve(root: Path, name: str) -> Path:
    """The file or folder of DICOM files that a page names.

    Args:
        root: The folder that is served.
        name: As in ``Entry``, but whatever a visitor sends.

    Returns:
        A path below the resolved ``root``. It and everything that reading it opens lies inside the served folder.

    Raises:
        ValueError: If the name is none of a CT inside the served folder; one sentence, without paths of the server.
    """
    top = root.resolve()
    path = top.joinpath(*_parts(name))
    try:
        if not inside(path, top):
            raise ValueError(f"{shown(name)} leads out of the served folder")
        if path.is_dir():
            _check_folder(path, top, name)
        elif path.is_file():
            _check_file(path, top, name)
        else:
            raise ValueError(f"{shown(name)} does not exist in the served folder, or is no file")
    except OSError as error:
        raise ValueError(f"{shown(name)} cannot be read: {error.strerror or type(error).__name__}") from error
    return path


def _parts(name: str) -> Sequence[str]:
    """The names of folders and file, none of which steps out or is hidden."""
    if name == HERE:
        return ()
    parts = name.split("/")
    if "\\" in name or not name.isprintable() or PureWindowsPath(name).anchor or name.startswith("/"):
        raise ValueError(f"{shown(name)} is no name below the served folder")
    if any(not part or part.startswith(".") for part in parts):
        raise ValueError(f"{shown(name)} is no name below the served folder, or one of a hidden file")
    return parts


def _folders(top: Path) -> Iterator[tuple[Path, bool]]:
    """A folder and those below it that are not hidden, by name; with each, whether what lies in it is too deep."""
    for where, folders, _ in os.walk(top):
        folder = Path(where)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        is_deepest = bool(folders) and len(folder.relative_to(top).parts) >= MAX_DEPTH
        if is_deepest:
            folders.clear()
        yield folder, is_deepest


def _entries_in(folder: Path, top: Path) -> list[Entry]:
    entries = [_entry(path, "file", [path], top) for path in volumes_in(folder) if inside(path, top)]
    if _holds_dicom(folder, top):
        files = [path for path in folder.iterdir() if path.is_file() and inside(path, top)]
        entries.append(_entry(folder, "dicom", files, top))
    return [entry for entry in entries if _is_name(entry.name)]


def _entry(path: Path, kind: str, files: Sequence[Path], top: Path) -> Entry:
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    return Entry(path.relative_to(top).as_posix(), kind, round(size_mb, 1))


def _is_name(name: str) -> bool:
    """Whether a page can ask for it: a name that is not UTF-8, or holds a backslash, it cannot."""
    with suppress(ValueError):
        _parts(name)
        return True
    return False


def _holds_dicom(folder: Path, top: Path) -> bool:
    """Whether one of the first files that lie directly in a folder is DICOM."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    candidates = (folder / name for name in names if not ending_of(name) and name.upper() != DICOMDIR)
    return any(inside(path, top) and is_dicom_file(path) for path in islice(candidates, FEW_FILES))


def _check_folder(folder: Path, top: Path, name: str) -> None:
    """Refuse a folder that is no DICOM series, or of which something leads out: it is read with all below it."""
    if not _holds_dicom(folder, top):
        raise ValueError(f"{shown(name)} is a folder that directly holds no DICOM files")
    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        if (place := os.path.realpath(where)) in seen:
            folders.clear()
            continue
        seen.add(place)
        if not all(inside(Path(where, entry), top) for entry in (*folders, *names)):
            raise ValueError(f"{shown(name)} holds a link that leads out of the served folder")


def _check_file(path: Path, top: Path, name: str) -> None:
    """Refuse a file that is no CT by its name, or takes its voxels from elsewhere."""
    if not ending_of(path.name):
        raise ValueError(f"{shown(name)} is not a supported file; supported: {', '.join(READABLE_ENDINGS)}")
    other = data_file(path)
    if other is not None and not (inside(other, top) and other.is_file()):
        raise ValueError(f"{shown(name)} takes its voxels from a file that is not in the served folder")
