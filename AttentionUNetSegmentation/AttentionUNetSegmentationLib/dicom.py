"""A folder of DICOM files -> Volume: the largest CT series, with its geometry checked slice by slice.

Pixels (compressed ones too) are decoded by GDCM through SimpleITK; the geometry is computed here from the positions of
all slices, so that missing slices, uneven gaps and gantry tilt are noticed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .volume import Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
MAX_HOLE_SLICES = 2.1  # a hole of one missing slice is bridged ...
MAX_HOLE_MM = 5.0  # ... and of several thin ones up to this
REGULAR_TOLERANCE = 0.05  # of the slice spacing, by which a slice may lie beside its even place
SAME_DIRECTION = 1e-3  # largest difference of direction cosines within one stack
DUPLICATE_MM = 0.01
STRAY_MM = 1.0  # slices further than this from a straight stack are refused


@dataclass(frozen=True)
class Slice:
    """What the header of one file says."""

    path: Path
    series: str
    instance: str
    modality: str
    description: str
    is_scout: bool
    patient: str
    acquisition: str
    position: np.ndarray  # LPS, mm
    rows: np.ndarray  # LPS direction along a row (i)
    columns: np.ndarray  # LPS direction along a column (j)
    spacing_mm: tuple[float, float]  # along i, along j
    size: tuple[int, int, int]
    is_placed: bool  # whether position, orientation and pixel spacing are in the header

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(self.rows, self.columns)

    def belongs_with(self, other: Slice) -> bool:
        """Whether two images can be slices of one volume."""
        if self.size[2] > 1 or other.size[2] > 1:  # a multi-frame file is a volume of its own
            return False
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


def read_dicom(folder: Path) -> Volume:
    """Read the largest CT series below a folder.

    Raises:
        ValueError: If there is no CT series, or its slices do not form one volume.
    """
    slices, unreadable = [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found = _read_header(path) if _is_utf8(path) else None
        if found is not None:
            slices.append(found)
        elif is_dicom_file(path) and path.name.upper() != "DICOMDIR":
            unreadable.append(path.name.encode(errors="replace").decode())
    if not slices:
        raise ValueError(f"{folder} holds no DICOM images")
    stack, notes = _largest_ct(folder, slices)
    if unreadable:
        shown = ", ".join(unreadable[:3]) + (", ..." if len(unreadable) > 3 else "")
        notes.append(
            f"{len(unreadable)} DICOM files are no images, damaged or not named in UTF-8, and were left out ({shown})"
        )
    if stack[0].size[2] > 1:
        notes.append("the places and values of a multi-frame file's frames are taken as ITK reads them, unchecked")
        return _read_multiframe(folder, stack[0], notes)
    return _read_stack(folder, _in_order(folder, stack), notes)


def _is_utf8(path: Path) -> bool:
    """Whether a path can be given to SimpleITK, which ends the process at one that it cannot decode."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_header(path: Path) -> Slice | None:
    """Header of one file, or None if it is no DICOM image."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None

    def tag(key: str) -> str:
        return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""

    size = (*reader.GetSize(), 1)[:3]
    direction = np.array(reader.GetDirection()).reshape(3, 3) if len(reader.GetDirection()) == 9 else np.eye(3)
    orientation, position = _numbers(tag("0020|0037")), _numbers(tag("0020|0032"))
    placed = len(orientation) == 6 and len(position) == 3 and bool(tag("0028|0030"))
    rows, columns = (orientation[:3], orientation[3:]) if len(orientation) == 6 else (direction[:, 0], direction[:, 1])
    return Slice(
        path=path,
        series=tag("0020|000e"),
        instance=tag("0008|0018"),
        modality=tag("0008|0060"),
        description=tag("0008|103e"),
        is_scout="LOCALIZER" in tag("0008|0008").upper(),
        patient=tag("0010|0020") or tag("0010|0010"),
        acquisition=tag("0020|0012"),
        position=position if len(position) == 3 else np.array(reader.GetOrigin()[:3]),
        rows=_unit(rows),
        columns=_unit(columns),
        spacing_mm=tuple(reader.GetSpacing()[:2]),
        size=size,
        is_placed=placed or size[2] > 1,
    )


def _numbers(text: str) -> np.ndarray:
    try:
        return np.array([float(part) for part in text.split("\\") if part.strip()])
    except ValueError:
        return np.array([])


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector, dtype=float) / np.linalg.norm(vector)


def _largest_ct(folder: Path, slices: list[Slice]) -> tuple[list[Slice], list[str]]:
    images = [entry for entry in slices if entry.modality == "CT" and not entry.is_scout]
    if not images:
        counts = Counter("scout" if entry.is_scout else entry.modality or "unknown" for entry in slices)
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        raise ValueError(f"{folder} holds no CT series (found: {found} images)")
    patients = {entry.patient for entry in images} - {""}
    if len(patients) > 1:
        raise ValueError(f"{folder} holds CTs of {len(patients)} patients; give each patient's folder")
    candidates = [part for stack in _stacks(images) for part in _by_acquisition(stack)]
    candidates.sort(key=lambda stack: (-sum(entry.size[2] for entry in stack), stack[0].series, stack[0].acquisition))
    notes = []
    if len(candidates) > 1:
        chosen = candidates[0]
        notes.append(
            f"{len(candidates)} CT stacks in the folder; took the largest, {len(chosen)} images"
            + (f" ({chosen[0].description})" if chosen[0].description else "")
        )
    return candidates[0], notes


def _stacks(images: list[Slice]) -> list[list[Slice]]:
    """Group images that can belong to one volume; copies of an image are dropped."""
    stacks: list[list[Slice]] = []
    seen: set[str] = set()
    for entry in images:
        if entry.instance and entry.instance in seen:
            continue
        seen.add(entry.instance)
        stack = next((stack for stack in stacks if stack[0].belongs_with(entry)), None)
        if stack is None:
            stacks.append([entry])
        else:
            stack.append(entry)
    return stacks


def _by_acquisition(stack: list[Slice]) -> list[list[Slice]]:
    """Split a stack that holds several images at one position (contrast phases) by acquisition number."""
    if not _has_duplicates(stack):
        return [stack]
    parts: dict[str, list[Slice]] = defaultdict(list)
    for entry in stack:
        parts[entry.acquisition].append(entry)
    return list(parts.values())


def _has_duplicates(stack: list[Slice]) -> bool:
    heights = np.sort([float(entry.position @ stack[0].normal) for entry in stack])
    return len(heights) > 1 and bool((np.diff(heights) < DUPLICATE_MM).any())


def _in_order(folder: Path, stack: list[Slice]) -> list[Slice]:
    if _has_duplicates(stack):
        raise ValueError(
            f"{folder}: several images of one series lie at the same position, so phases cannot be told apart"
        )
    return sorted(stack, key=lambda entry: float(entry.position @ stack[0].normal))


def _read_multiframe(folder: Path, entry: Slice, notes: list[str]) -> Volume:
    try:
        image = sitk.ReadImage(str(entry.path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise ValueError(f"{folder}: {entry.path.name} cannot be decoded ({_last_line(error)})") from error
    matrix = np.eye(4)
    matrix[:3, :3] = LPS_TO_RAS @ np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = LPS_TO_RAS @ image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image), matrix, folder.name, entry.modality, tuple(notes))


def _read_stack(folder: Path, stack: list[Slice], notes: list[str]) -> Volume:
    first = stack[0]
    if len(stack) < 2:
        raise ValueError(f"{folder}: the CT series has only one image")
    if not all(entry.is_placed for entry in stack):
        raise ValueError(f"{folder}: images lack position, orientation or pixel spacing, so their geometry is unknown")
    positions = np.array([entry.position for entry in stack])
    heights = positions @ first.normal
    gaps = np.diff(heights)
    gap = float(np.median(gaps))
    _check_straight(folder, positions, heights)
    if gaps.max() > max(MAX_HOLE_SLICES * gap, MAX_HOLE_MM):
        after = stack[int(gaps.argmax())].path.name
        raise ValueError(f"{folder}: slices are missing, a hole of {gaps.max():.1f} mm between {after} and the next")
    voxels = _read_pixels(folder, stack)
    if np.abs(heights - np.linspace(heights[0], heights[-1], len(heights))).max() > REGULAR_TOLERANCE * gap:
        voxels = _at_regular_heights(voxels, heights, round((heights[-1] - heights[0]) / gap) + 1)
        notes = [
            *notes,
            f"slices are missing or unevenly spaced (gaps of {gaps.min():.2f} to {gaps.max():.2f} mm); "
            f"interpolated to {(heights[-1] - heights[0]) / (len(voxels) - 1):.2f} mm",
        ]
    step = (positions[-1] - positions[0]) / (len(voxels) - 1)
    axes = np.stack([first.rows * first.spacing_mm[0], first.columns * first.spacing_mm[1], step], axis=1)
    matrix = np.eye(4)
    matrix[:3, :3] = LPS_TO_RAS @ axes
    matrix[:3, 3] = LPS_TO_RAS @ positions[0]
    return Volume(voxels, matrix, folder.name, first.modality, tuple(notes))


def _check_straight(folder: Path, positions: np.ndarray, heights: np.ndarray) -> None:
    """Refuse stacks whose slices do not lie on one straight line (a tilt that changes within the series)."""
    share = (heights - heights[0]) / (heights[-1] - heights[0])
    line = positions[0] + share[:, None] * (positions[-1] - positions[0])
    stray = float(np.linalg.norm(positions - line, axis=1).max())
    if stray > STRAY_MM:
        raise ValueError(
            f"{folder}: slices lie up to {stray:.1f} mm beside a straight stack; the series is not one volume"
        )


def _read_pixels(folder: Path, stack: list[Slice]) -> np.ndarray:
    """Decode every image, each with its own rescale slope and intercept: (K, J, I)."""
    planes = []
    for entry in stack:
        try:
            image = sitk.ReadImage(str(entry.path), imageIO="GDCMImageIO")
        except RuntimeError as error:
            raise ValueError(f"{folder}: {entry.path.name} cannot be decoded ({_last_line(error)})") from error
        if image.GetNumberOfComponentsPerPixel() != 1:
            raise ValueError(f"{folder} holds colour images; a CT in HU is needed")
        planes.append(sitk.GetArrayFromImage(image).reshape(entry.size[1], entry.size[0]))
    return np.stack(planes)


def _at_regular_heights(voxels: np.ndarray, heights: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation of slices from uneven ``heights`` to ``count`` even ones over the same range."""
    wanted = np.linspace(heights[0], heights[-1], count)
    above = np.clip(np.searchsorted(heights, wanted, side="right"), 1, len(heights) - 1)
    weight = ((wanted - heights[above - 1]) / (heights[above] - heights[above - 1])).astype(np.float32)
    planes = voxels.astype(np.float32)
    return np.stack([planes[n - 1] * (1 - w) + planes[n] * w for n, w in zip(above, weight, strict=True)])


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
