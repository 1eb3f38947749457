"""Names of files that come from elsewhere: what is taken from them, and how they are shown."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from ..errors import printable
from ..formats.files import READABLE_ENDINGS

SINGLE_ENDINGS = tuple(ending for ending in READABLE_ENDINGS if ending not in (".nhdr", ".mhd"))
DETACHED_ENDINGS = (".nhdr", ".mhd", ".hdr", ".img")  # of headers and voxels that lie in two files
MAX_STEM = 60  # characters; a file system takes 255 bytes
MAX_SHOWN = 100


def last_part(name: str) -> str:
    """The file's own name of a path written as on any system."""
    return re.split(r"[/\\]", name)[-1]


def ending_of(name: str, endings: tuple[str, ...] = READABLE_ENDINGS) -> str:
    """The longest of the endings that a file's name has, whatever its case; empty if it has none."""
    return max((ending for ending in endings if name.lower().endswith(ending)), key=len, default="")


def safe_stem(name: str) -> str:
    """A file's name without folders and ending, of letters, digits, "-", "_" and "." within: "ct" if none is left."""
    name = last_part(name)
    stem = name[: len(name) - len(ending_of(name, (*READABLE_ENDINGS, ".zip")))]
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", stem))[:MAX_STEM].strip("._-") or "ct"


def shown(name: str) -> str:
    """A name as it is put into a sentence: one printable line that is not too long."""
    text = printable(name)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def inside(path: Path, top: Path) -> bool:
    """Whether a path leads to somewhere inside a folder (or to the folder itself), all links followed.

    Args:
        path: What may be a link, or lie below one; it need not exist.
        top: The folder, resolved.
    """
    try:
        return path.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # links in a circle
        return False
