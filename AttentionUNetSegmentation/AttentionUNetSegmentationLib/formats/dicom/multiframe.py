"""What the functional groups of a multi-frame DICOM file (enhanced CT) say about each frame.

ITK takes one spacing, direction and rescaling for all frames of such a file, right or not, so the groups are read here,
with pydicom. 3D Slicer reads its volumes itself and never comes this way.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SHARED = "SharedFunctionalGroupsSequence"
PER_FRAME = "PerFrameFunctionalGroupsSequence"


@dataclass(frozen=True)
class Frame:
    """Where one image lies, and what may tell it from others at the same place; empty what the header does not say.

    Attributes:
        number: Within the file, from 0.
        position: (3,) of the first voxel's centre, LPS, mm.
        orientation: (6,) direction cosines along a row, then along a column.
        spacing_mm: (2,) between rows, then between columns, as DICOM orders them.
        kind: "ORIGINAL", "PRIMARY", "LOCALIZER" ...
        thickness_mm: Of the slice; 0 if not said.
        phase: Temporal position, cardiac phase, acquisition, stack, file.
        rescale: Slope and intercept; None for the only image of a file without functional groups.
        part: Which part of how many its file is of a scan in several files (a concatenation); (0, 0) if not said.
    """

    number: int = 0
    position: np.ndarray = field(default_factory=lambda: np.array([]))
    orientation: np.ndarray = field(default_factory=lambda: np.array([]))
    spacing_mm: np.ndarray = field(default_factory=lambda: np.array([]))
    kind: str = ""
    thickness_mm: float = 0.0
    phase: tuple[str, str, str, str, str] = ("",) * 5
    rescale: tuple[float, float] | None = None
    part: tuple[int, int] = (0, 0)


def read_frames(path: Path) -> list[Frame]:
    """One entry for each frame of a multi-frame file, in the file's order; one in all if it places no frame.

    Raises:
        ValueError: If the header cannot be read, or places some of the frames only.
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of values that break a rule of the standard
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            count, placed = int(dataset.get("NumberOfFrames") or 1), _length(dataset, PER_FRAME)
            if placed not in (0, count):
                raise ValueError(f"{count} frames, but places for {placed}")
            return [_frame(dataset, number) for number in range(count if placed else 1)]
    except header_errors() as error:
        raise ValueError(f"{path} has a damaged header: {' '.join(str(error).split())}") from error


def header_errors() -> tuple[type[Exception], ...]:
    """What pydicom raises for damaged headers."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    own = (BytesLengthException, InvalidDicomError)
    return (*own, OSError, EOFError, struct.error, KeyError, TypeError, ValueError, NotImplementedError)


def _frame(dataset: Dataset, number: int) -> Frame:
    groups = [_item(dataset, PER_FRAME, number), _item(dataset, SHARED, 0)]

    def numbers(group: str, *names: str) -> np.ndarray:
        values = [_value(groups, group, name) for name in names]
        flat = [part for value in values if value is not None for part in np.atleast_1d(value)]
        return np.array([float(part) for part in flat])

    def text(group: str, name: str) -> str:
        value = _value(groups, group, name)
        return "" if value is None else str(value)

    acquisition = text("FrameContentSequence", "FrameAcquisitionNumber")
    return Frame(
        number=number,
        position=numbers("PlanePositionSequence", "ImagePositionPatient"),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient"),
        spacing_mm=numbers("PixelMeasuresSequence", "PixelSpacing"),
        kind=text("CTImageFrameTypeSequence", "FrameType") or str(dataset.get("ImageType") or ""),
        thickness_mm=float(text("PixelMeasuresSequence", "SliceThickness") or 0),
        phase=(
            text("FrameContentSequence", "TemporalPositionIndex"),
            text("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
            acquisition or str(dataset.get("AcquisitionNumber") or ""),
            text("FrameContentSequence", "StackID"),
            # a scan that is stored in several files has one concatenation UID
            str(dataset.get("ConcatenationUID") or dataset.get("SOPInstanceUID") or ""),
        ),
        rescale=_rescale(numbers("PixelValueTransformationSequence", "RescaleSlope", "RescaleIntercept"), dataset),
        part=(int(dataset.get("InConcatenationNumber") or 0), int(dataset.get("InConcatenationTotalNumber") or 0)),
    )


def _rescale(numbers: np.ndarray, dataset: Dataset) -> tuple[float, float]:
    if len(numbers) != 2:
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        numbers = np.array([1.0 if slope is None else float(slope), float(intercept or 0)])
    if not np.isfinite(numbers).all():
        raise ValueError(f"a rescale slope and intercept of {numbers[0]:g} and {numbers[1]:g}")
    return float(numbers[0]), float(numbers[1])


def _value(groups: list[Dataset | None], group: str, name: str) -> object | None:
    """A value of a functional group, from the first of the places that has it."""
    for place in groups:
        item = None if place is None else _item(place, group, 0)
        value = None if item is None else item.get(name)
        if value is not None:
            return value
    return None


def _item(dataset: Dataset, sequence: str, number: int) -> Dataset | None:
    return dataset.get(sequence)[number] if number < _length(dataset, sequence) else None


def _length(dataset: Dataset, sequence: str) -> int:
    from pydicom.sequence import Sequence

    items = dataset.get(sequence)  # bytes, if a damaged header gives it another type
    return len(items) if isinstance(items, Sequence) else 0
