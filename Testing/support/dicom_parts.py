"""Parts of a phantom as DICOM files with known geometry, and folders made of them with what should be read from them.

The tests read the folders with the engine, ``scripts/compare_dicom_readers.py`` with other readers too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom

from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support.dicom_truth import CENTRE_RAS_MM, Truth, hu_at
from support.phantom_files import LPS, SHAPE, SPACING, write_slices

PHASE_HU = 300  # by which the second phase of a contrast agent is brighter
TILT_MM = 0.4  # shift of a slice against the next, at 2 mm between them: 11.3 degrees


@dataclass(frozen=True)
class Part:
    """Slices of the phantom at given heights: what a scanner stores as one acquisition.

    Attributes:
        heights: Of each slice, in slices of 2 mm.
        directions: (3, 3) axes i, j, k as columns, RAS.
        shift_mm: By which each slice lies behind the one before.
        brighter_hu: Added to all HU, or to those of each slice.
        moved_mm: Of all slices, along R.
        tags: For ``write_slices``.
    """

    heights: Sequence[float] = range(SHAPE[0])
    directions: np.ndarray = field(default_factory=lambda: LPS)
    shift_mm: float = 0.0
    brighter_hu: float | Sequence[float] = 0.0
    moved_mm: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)

    def matrices(self) -> list[np.ndarray]:
        """The matrix of each slice, whose k is 0."""
        stack = phantoms.grid(SHAPE, SPACING, self.directions, CENTRE_RAS_MM).ijk_to_ras
        matrices = []
        for height in self.heights:
            matrix = stack.copy()
            matrix[:3, 3] += stack[:3, 2] * height + [self.moved_mm, -self.shift_mm * height, 0]
            matrices.append(matrix)
        return matrices

    def planes(self) -> np.ndarray:
        """HU of all slices, (K, J, I)."""
        _, rows, columns = SHAPE
        j, i = np.mgrid[:rows, :columns]
        indices = np.stack([i, j, np.zeros_like(i)], axis=-1)
        planes = [hu_at(indices @ matrix[:3, :3].T + matrix[:3, 3]) for matrix in self.matrices()]
        return np.array(planes) + np.reshape(self.brighter_hu, (-1, 1, 1))

    def truth(self) -> Truth:
        """What should be read."""
        return Truth.of_slices(self.planes(), self.matrices())

    def volume(self) -> Volume:
        """The slices on the stack's matrix, for the writers, which take heights apart."""
        stack = phantoms.grid(SHAPE, SPACING, self.directions, CENTRE_RAS_MM).ijk_to_ras.copy()
        stack[0, 3] += self.moved_mm
        return Volume(self.planes(), stack)

    def write(self, folder: Path) -> None:
        """One file for each slice."""
        write_slices(folder, self.volume(), list(self.heights), self.shift_mm, **self.tags)


@dataclass(frozen=True)
class DicomCase:
    """A folder to read.

    Attributes:
        name: What is odd about it.
        write: Fills a folder.
        truths: What should be read, any of them; none if the folder has to be refused.
        refusal: What ours refuses it with, a regular expression; empty if it reads it.
        note: What ours says of it, a regular expression; empty if it says nothing.
    """

    name: str
    write: Callable[[Path], None]
    truths: tuple[Truth, ...]
    refusal: str = ""
    note: str = ""


def series(
    name: str,
    *parts: Part,
    truths: Sequence[Part] | None = None,
    change: Callable[[pydicom.Dataset], None] | None = None,
    files: slice = slice(None),
    **said: str,
) -> DicomCase:
    """A case of single images: the parts, each in a folder of its own.

    Args:
        name: What is odd about it.
        parts: What is written.
        truths: What may be read; the first part if not given.
        change: Applied to the files before they are saved again.
        files: Which ones, in the order of their paths.
        said: ``refusal`` or ``note`` of the case.
    """

    def write(folder: Path) -> None:
        for n, part in enumerate(parts):
            part.write(folder / str(n))
        for path in sorted(folder.rglob("*.dcm"))[files] if change else []:
            dataset = pydicom.dcmread(path)
            change(dataset)
            dataset.save_as(path)

    return DicomCase(name, write, tuple(part.truth() for part in (parts[:1] if truths is None else truths)), **said)


def set_to(**values: object) -> Callable[[pydicom.Dataset], None]:
    """A change that sets values by keyword; None takes one out."""

    def change(dataset: pydicom.Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


def tagged(heights: Sequence[float] = range(SHAPE[0]), brighter_hu: float = 0.0, **tags: str) -> Part:
    """A part with tags for ``write_slices``."""
    return Part(heights, brighter_hu=brighter_hu, tags=tags)
