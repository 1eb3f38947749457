"""DICOM files -> Slice, one for each image: what the headers say, read by GDCM through SimpleITK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .multiframe import Frame, read_frames

SAME_DIRECTION = 1e-3  # largest difference of direction cosines within one stack


@dataclass(frozen=True)
class Slice:
    """What the header says of one image: a file, or a frame of a multi-frame file."""

    path: Path
    frame: int  # within the file, from 0
    series: str
    instance: str
    modality: str
    description: str
    is_scout: bool
    patient: str
    phase: tuple[str, ...]  # what may tell scans of one place apart, see ``Frame``
    position: np.ndarray  # LPS, mm
    rows: np.ndarray  # LPS direction along a row (i)
    columns: np.ndarray  # LPS direction along a column (j)
    spacing_mm: tuple[float, float]  # along i, along j
    size: tuple[int, int]  # along i, along j
    thickness_mm: float  # 0 if not said
    rescale: tuple[float, float] | None  # slope and intercept of a frame; None for a file, whose own ITK applies
    is_rescaled_alike: bool  # whether all frames of the file are
    part: tuple[int, int]  # see ``Frame``
    is_placed: bool  # whether position, orientation and pixel spacing are in the header

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(self.rows, self.columns)

    def belongs_with(self, other: Slice) -> bool:
        """Whether two images can be slices of one volume."""
        directions = np.concatenate([self.rows - other.rows, self.columns - other.columns])
        return (
            (self.series, self.size) == (other.series, other.size)
            and float(np.abs(directions).max()) < SAME_DIRECTION
            and np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-3)
        )


def is_dicom_file(path: Path) -> bool:
    """Whether a file carries the DICOM signature."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_slices(path: Path) -> list[Slice]:
    """The images in one file, in its order.

    Raises:
        ValueError: If it is no DICOM image, damaged, or has a name that SimpleITK cannot take.
    """
    try:
        str(path).encode("utf-8")  # SimpleITK ends the process at other names
    except UnicodeEncodeError:
        raise ValueError(f"{str(path)!a}: the file name is not valid UTF-8") from None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"{path} is no DICOM image") from error

    def tag(key: str) -> str:
        return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""

    size = reader.GetSize()[:2]
    if (*reader.GetSize(), 1)[2] > 1 or not tag("0020|0032"):
        frames = read_frames(path)
    else:
        orientation, position, spacing = (_numbers(tag(key)) for key in ("0020|0037", "0020|0032", "0028|0030"))
        thickness = next(iter(_numbers(tag("0018|0050"))), 0.0)
        phase = (tag("0020|0100"), "", tag("0020|0012"), "", "")
        frames = [Frame(0, position, orientation, spacing, tag("0008|0008"), thickness, phase)]
    is_mixed = len({frame.rescale for frame in frames}) > 1
    return [_slice(path, tag, size, frame, is_mixed) for frame in frames]


def _slice(path: Path, tag: Callable[[str], str], size: tuple[int, int], frame: Frame, is_mixed: bool) -> Slice:
    """A slice, from what the header says of it and of all images of the file."""
    axes = frame.orientation.reshape(-1, 3) if len(frame.orientation) == 6 else np.zeros((2, 3))
    has_axes = bool(np.abs(axes @ axes.T - np.eye(2)).max() < 0.01)
    has_spacing = len(frame.spacing_mm) == 2 and min(frame.spacing_mm) > 0
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True) if has_axes else np.eye(3)[:2]
    between_rows, between_columns = frame.spacing_mm if has_spacing else (1.0, 1.0)
    instance = tag("0008|0018")
    return Slice(
        path=path,
        frame=frame.number,
        series=tag("0020|000e"),
        instance=f"{instance}/{frame.number}" if instance else "",
        modality=tag("0008|0060"),
        description=tag("0008|103e"),
        is_scout="LOCALIZER" in frame.kind.upper(),
        patient=tag("0010|0020") or tag("0010|0010"),
        phase=frame.phase,
        position=frame.position if len(frame.position) == 3 else np.zeros(3),
        rows=axes[0],
        columns=axes[1],
        spacing_mm=(float(between_columns), float(between_rows)),
        size=size,
        thickness_mm=frame.thickness_mm,
        rescale=frame.rescale,
        is_rescaled_alike=not is_mixed,
        part=frame.part,
        is_placed=has_axes and has_spacing and len(frame.position) == 3,
    )


def _numbers(text: str) -> np.ndarray:
    try:
        return np.array([float(part) for part in text.split("\\") if part.strip()])
    except ValueError:
        return np.array([])
