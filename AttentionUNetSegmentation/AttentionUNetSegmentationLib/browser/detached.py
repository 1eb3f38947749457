"""NRRD and MetaImage headers that lead their reader to another file: a hostile one leads it out of its folder.

The readers in ITK see lines where ``formats.nrrd_mha.read_header`` sees none: a carriage return ends a line of NRRD,
and MetaImage passes over empty lines. So a header is searched for the words themselves, wherever they stand.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..formats.nrrd_mha import MAX_HEADER_BYTES, METAIMAGE_ENDINGS, NRRD_ENDINGS, read_header

NRRD_KEY = re.compile(rb"data ?file", re.IGNORECASE)
NRRD_END = re.compile(rb"\n\r?\n")
METAIMAGE_KEY = b"ElementDataFile"
IN_THE_FILE = re.compile(METAIMAGE_KEY + rb"[ \t]*[=:][ \t]*(LOCAL|Local|local)[ \t]*\r?\n")
CHUNK_BYTES = 1 << 24


def data_file(path: Path) -> Path | None:
    """The other file that a NRRD or MetaImage header leads to; None if its voxels follow it, or it is another format.

    Raises:
        ValueError: If there are several files, or it is not clear what the reader in ITK would open.
        OSError: If the file cannot be read.
    """
    name = path.name.lower()
    if name.endswith(METAIMAGE_ENDINGS):
        key, leads_away = "ElementDataFile", _metaimage_leads_away(path)
    elif name.endswith(NRRD_ENDINGS):
        key, leads_away = "datafile", _nrrd_leads_away(path)
    else:
        return None
    if not leads_away:
        return None
    other = read_header(path).fields.get(key, "")
    if other.startswith("LIST") or "%" in other:
        raise ValueError(f"{path.name} has its voxels in several files; convert it to a single file")
    if not other or not other.isprintable():
        raise _unclear(path)
    return path.parent / other


def _metaimage_leads_away(path: Path) -> bool:
    """As the words stand in the file once, the reader takes them from nowhere else."""
    count = _count(path, METAIMAGE_KEY)
    if count > 1:
        raise _unclear(path)
    return count == 1 and not IN_THE_FILE.search(_start(path))


def _nrrd_leads_away(path: Path) -> bool:
    start = _start(path)
    end = NRRD_END.search(start)
    if end is None and len(start) == MAX_HEADER_BYTES:
        raise _unclear(path)
    found = NRRD_KEY.findall(start[: end.end()] if end else start)
    if len(found) > 1:
        raise _unclear(path)
    return bool(found)


def _unclear(path: Path) -> ValueError:
    return ValueError(f"{path.name} does not clearly say where its voxels are; convert it to a single file")


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_HEADER_BYTES)


def _count(path: Path, word: bytes) -> int:
    """How often a word stands in a file."""
    count, before = 0, b""
    with path.open("rb") as stream:
        while part := stream.read(CHUNK_BYTES):
            part = before + part
            count += part.count(word)
            before = part[-len(word) + 1 :]  # too short to hold the word itself
    return count
