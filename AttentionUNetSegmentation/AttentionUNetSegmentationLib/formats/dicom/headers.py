"""DICOM files -> Slice, one for each image: what the headers say, read by pydicom.

An image is a file, or a frame of a multi-frame file (enhanced CT), of which functional groups say where it lies.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import printable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SAME_DIRECTION = 1e-3  # largest difference of direction cosines within one stack
HU_TYPES = {"", "HU", "HU_MOD", "HOUNSFIELD", "US", "UNSPECIFIED"}  # US, unspecified, is what ITK writes for any CT
PROJECTIONS = {"MIP", "MINIP", "PROJECTION"}  # of many slices at once
SHARED = "SharedFunctionalGroupsSequence"
PER_FRAME = "PerFrameFunctionalGroupsSequence"
TIME = ("TemporalPositionIndex", "TemporalPositionIdentifier")
MARKS = (TIME, ("NominalPercentageOfCardiacPhase",), ("FrameAcquisitionNumber", "AcquisitionNumber"), ("StackID",))
CONTENT = ("SeriesNumber", "SeriesDescription", "ConvolutionKernel", "ContrastBolusAgent", "KVP")


@dataclass(frozen=True)
class Slice:
    """What the header says of one image: a file, or a frame of a multi-frame file."""

    path: Path
    frame: int  # within the file, from 0
    size: tuple[int, int]  # along i, along j
    series: str  # UID
    study: str  # UIDs of study and frame of reference
    modality: str
    description: str  # of the series
    patient: str
    name: str  # of the patient
    kind: frozenset[str]  # words of the image type: ORIGINAL, PRIMARY, AXIAL, LOCALIZER, MIP, ...
    is_grey: bool
    is_placed: bool  # whether position, orientation and pixel spacing are in the header
    position: np.ndarray  # (3,) of the first voxel's centre, LPS, mm
    axes: np.ndarray  # (2, 3) LPS directions along a row (i) and along a column (j)
    spacing_mm: tuple[float, float]  # along i, along j
    rescale: tuple[float, ...]  # slope and intercept, as far as each is said in one number
    units: str  # of what rescaling gives; HU if not said
    marks: tuple[str, ...]  # what may tell scans of one place apart: of ``MARKS``, and of the file
    content: tuple[str, ...]  # what tells scans apart that lie between each other's slices: of ``CONTENT``
    time: str  # of acquisition
    part: tuple[int, int]  # which of how many its file is of a scan in several (a concatenation); (0, 0) if not said

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(*self.axes)

    @property
    def is_scout(self) -> bool:
        """Whether it is there for planning only."""
        return any("LOCALIZER" in word for word in self.kind)

    @property
    def flaws(self) -> tuple[bool, ...]:
        """What speaks against a slice in HU: colour, other units, no rescaling, a projection."""
        return (not self.is_grey, self.units.upper() not in HU_TYPES, not self.rescale, bool(self.kind & PROJECTIONS))

    def belongs_with(self, other: Slice) -> bool:
        """Whether two images can be slices of one volume."""
        return (
            (self.series, self.size) == (other.series, other.size)
            and float(np.abs(self.axes - other.axes).max()) < SAME_DIRECTION
            and np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-3)
        )


def is_dicom_file(path: Path) -> bool:
    """Whether a file carries the DICOM signature, or starts as one without it does: with group 2 or 8.

    Raises:
        OSError: If it cannot be opened.
    """
    with path.open("rb") as stream:
        start = stream.read(132)
    return start[128:] == b"DICM" or start[:2] in (b"\x02\x00", b"\x08\x00")


def has_preamble(path: Path) -> bool:
    """Whether a file carries the DICOM signature.

    Raises:
        OSError: If it cannot be opened.
    """
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder, each folder once, also where it is linked to; and links that lead nowhere.

    Raises:
        OSError: If a folder must not be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        if (place := os.path.realpath(where)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(where, name)).is_file() or not path.exists())


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Let values pass that break a rule of the standard, and put into a sentence what cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    except Exception as error:  # a damaged file can lead pydicom to any, to RecursionError too
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(":")
        raise ValueError(f"{path} cannot be read ({reason})") from error


def read_slices(path: Path) -> list[Slice]:
    """The images in one file, in its order; one that is not placed for a multi-frame file that places none.

    Raises:
        ValueError: If it is no DICOM image, damaged, or has a name that SimpleITK cannot take.
    """
    import pydicom

    with damage_named(path):
        str(path).encode("utf-8")  # SimpleITK ends the process at other names
        if not is_dicom_file(path):
            raise ValueError("it is no DICOM file")
        _check_not_deflated(path)
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        frames, count = _items(dataset, PER_FRAME), int(dataset.get("NumberOfFrames") or 1)
        if len(frames) not in (0, count):
            raise ValueError(f"{count} frames, but places for {len(frames)}")
        shared = [group for item in _items(dataset, SHARED)[:1] for group in _groups(item)]
        headers = [_Header([*_groups(frame), *shared, dataset]) for frame in frames] or [_Header([dataset])]
        return [_slice(path, n, header, count) for n, header in enumerate(headers)]


def study_of(path: Path) -> str:
    """What a DICOM file calls its study and patient; empty if it does not name the study."""
    import pydicom

    with damage_named(path):
        _check_not_deflated(path)
        tags = ["StudyInstanceUID", "PatientID"]
        header = _Header([pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)])
        return (study := header.text(tags[0])) and f"{study} {header.text(tags[1])}"


def _check_not_deflated(path: Path) -> None:
    """Refuse a file that is compressed as a whole: pydicom would unpack it whatever it unpacks to."""
    from pydicom import filereader, uid

    with path.open("rb") as stream:
        filereader.read_preamble(stream, force=True)
        meta = filereader._read_file_meta_info(stream)
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        raise ValueError("files that are compressed as a whole (deflated) are not supported")


def _items(dataset: Dataset, sequence: str) -> list[Dataset]:
    from pydicom.sequence import Sequence

    items = dataset.get(sequence)  # bytes, if a damaged header gives it another type
    return list(items) if isinstance(items, Sequence) else []


def _groups(item: Dataset) -> list[Dataset]:
    """The functional groups of a frame, or of all: sequences of one item each."""
    return [group for element in item if element.VR == "SQ" for group in element.value[:1]]


@dataclass(frozen=True)
class _Header:
    """Looks values up: in an image's own functional groups, in those all frames share, at the file's top level."""

    places: list[Dataset]

    def text(self, *keywords: str) -> str:
        """The first that is said, of the first keyword if possible."""
        values = (place.get(keyword) for keyword in keywords for place in self.places)
        return next((text for value in values if value is not None and (text := printable(value).strip())), "")

    def numbers(self, keyword: str, usual: list[float]) -> np.ndarray:
        """The first that are said, or the usual ones if they are not as many."""
        found = next((value for place in self.places if (value := place.get(keyword)) not in (None, "")), usual)
        return np.array(found if np.size(found) == len(usual) else usual, dtype=float).reshape(-1)


def _slice(path: Path, number: int, header: _Header, count: int) -> Slice:
    position = header.numbers("ImagePositionPatient", [np.nan] * 3)
    axes = header.numbers("ImageOrientationPatient", [np.nan] * 6).reshape(2, 3)
    spacing = header.numbers("PixelSpacing", [np.nan] * 2)
    is_placed = np.isfinite(position).all() and spacing.min() > 0 and np.abs(axes @ axes.T - np.eye(2)).max() < 0.01
    # a scan that is stored in several files has one concatenation UID
    file = header.text("ConcatenationUID", *(["SOPInstanceUID"] if count > 1 else []))
    return Slice(
        path=path,
        frame=number,
        size=(int(header.text("Columns")), int(header.text("Rows"))),
        series=header.text("SeriesInstanceUID"),
        study=f"{header.text('StudyInstanceUID')} {header.text('FrameOfReferenceUID')}",
        modality=header.text("Modality"),
        description=header.text("SeriesDescription"),
        patient=header.text("PatientID", "PatientName"),
        name=header.text("PatientName").casefold(),
        kind=frozenset(re.findall(r"[A-Z0-9]+", header.text("FrameType", "ImageType").upper())),
        is_grey=header.text("PhotometricInterpretation").startswith("MONOCHROME"),
        is_placed=bool(is_placed) and (count == 1 or len(header.places) > 1),
        position=position,
        axes=axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-9),
        spacing_mm=(float(spacing[1]), float(spacing[0])),
        rescale=_rescale(header),
        units=header.text("RescaleType"),
        marks=(*(header.text(*keywords) for keywords in MARKS), file),
        content=tuple(header.text(keyword) for keyword in CONTENT),
        time=header.text("AcquisitionTime"),
        part=(int(header.text("InConcatenationNumber") or 0), int(header.text("InConcatenationTotalNumber") or 0)),
    )


def _rescale(header: _Header) -> tuple[float, ...]:
    values = [header.numbers(keyword, [np.nan]).item() for keyword in ("RescaleSlope", "RescaleIntercept")]
    if values[0] == 0 or np.isinf(values).any():
        raise ValueError(f"a rescale slope and intercept of {values[0]:g} and {values[1]:g}")
    return tuple(value for value in values if not np.isnan(value))
