"""NIfTI files without a voxel spacing: nibabel reads a spacing of 0 as 1 mm, which is a guess."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np

from AttentionUNetSegmentationLib.files import NIFTI_ENDINGS

HEADERS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}  # by their length in bytes, which comes first


def check_spacing(path: Path) -> None:
    """Refuse NIfTI files without a voxel spacing; other files are checked where they are read.

    Raises:
        ValueError: If the header's spacing along an axis is 0 or no number.
    """
    if not (path.is_file() and path.name.lower().endswith(NIFTI_ENDINGS)):
        return
    content = _beginning(path)
    length = next((size for size in HEADERS if size in _lengths(content)), 0)
    if not length or len(content) < length:
        return  # no NIfTI file: the reader says so
    spacing = [float(value) for value in HEADERS[length](content[:length], check=False)["pixdim"][1:4]]
    if not all(np.isfinite(value) and value != 0 for value in spacing):
        shown = " x ".join(f"{value:g}" for value in spacing)
        raise ValueError(f"{path} has no voxel spacing: its header says {shown} mm")


def _beginning(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            return stream.read(max(HEADERS))
    except (OSError, EOFError, zlib.error):
        return b""


def _lengths(content: bytes) -> tuple[int, int]:
    """The header's length in either byte order."""
    return int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big")
