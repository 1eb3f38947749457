"""A folder of DICOM files -> Volume: the largest CT series, with its geometry checked slice by slice.

Pixels (compressed ones too) are decoded by GDCM through SimpleITK; the geometry is computed here from the positions of
all slices, or frames of a multi-frame file, so that missing slices, uneven gaps and gantry tilt are noticed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np

from ...volume import Volume
from .headers import Slice, is_dicom_file, read_slices
from .pixels import decode

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
MAX_HOLE_SLICES = 2.1  # a hole of one missing slice is bridged ...
MAX_HOLE_MM = 5.0  # ... and of several thin ones up to this
MAX_GAP_THICKNESSES = 1.5  # a scan whose slices lie further apart than this is every second slice of one
REGULAR_TOLERANCE = 0.05  # of the slice spacing, by which a slice may lie beside its even place
DUPLICATE_MM = 0.01
STRAY_MM = 1.0  # slices further than this from a straight stack are refused


def read_dicom(folder: Path) -> Volume:
    """Read the largest CT series below a folder.

    Raises:
        ValueError: If there is no CT series, or its slices do not form one volume.
    """
    slices, unreadable = [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            slices += read_slices(path)
        except ValueError:
            if is_dicom_file(path) and path.name.upper() != "DICOMDIR":
                unreadable.append(path.name.encode(errors="replace").decode())
    shown = ", ".join(unreadable[:3]) + (", ..." if len(unreadable) > 3 else "")
    if not slices:
        raise ValueError(f"{folder} holds no DICOM images" + (f" that can be read ({shown})" if shown else ""))
    stack, notes = _largest_ct(folder, slices)
    if unreadable:
        notes.append(
            f"{len(unreadable)} DICOM files are no images, damaged or not named in UTF-8, and were left out ({shown})"
        )
    return _read_stack(folder, _in_order(folder, stack), notes)


def _largest_ct(folder: Path, slices: list[Slice]) -> tuple[list[Slice], list[str]]:
    images = [entry for entry in slices if entry.modality == "CT" and not entry.is_scout]
    images = [entry for entry in images if entry.is_placed] or images  # screenshots and movies of a CT are not placed
    if not images:
        counts = Counter("scout" if entry.is_scout else entry.modality or "unknown" for entry in slices)
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        raise ValueError(f"{folder} holds no CT series (found: {found} images)")
    patients = {entry.patient for entry in images} - {""}
    if len(patients) > 1:
        raise ValueError(f"{folder} holds CTs of {len(patients)} patients; give each patient's folder")
    candidates = [scan for stack in _stacks(images) for scan in _phases(stack)]
    candidates.sort(key=lambda stack: (-len(stack), stack[0].series, stack[0].phase))
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
    seen: set[tuple[str, bytes]] = set()
    for entry in images:
        identity = entry.instance, entry.position.tobytes()  # some anonymisers give all images one instance UID
        if entry.instance and identity in seen:
            continue
        seen.add(identity)
        stack = next((stack for stack in stacks if stack[0].belongs_with(entry)), None)
        if stack is None:
            stacks.append([entry])
        else:
            stack.append(entry)
    return stacks


def _phases(stack: list[Slice]) -> list[list[Slice]]:
    """Split a stack that holds several scans of one place (contrast phases) by what tells them apart.

    That they are of one place is seen by images at the same position, or by slices that lie between each other's.
    Acquisitions that only share images where they meet are one scan.
    """
    has_duplicates = _has_duplicates(stack)
    marks = [*zip(*(entry.phase for entry in stack), strict=True), [entry.phase[:-1] for entry in stack]]
    for what in marks:  # one by one, then all but the file together
        parts: dict[object, list[Slice]] = defaultdict(list)
        for entry, key in zip(stack, what, strict=True):
            parts[key].append(entry)
        scans = sorted(parts.values(), key=len, reverse=True)
        if len(scans) == 1 or len(scans[0]) == 1 or _has_duplicates(scans[0]):
            continue
        if _overlap(scans, complete=not has_duplicates):
            return scans
        if has_duplicates:
            blocks = [scan for scan in scans if not _has_duplicates(scan)]
            return [_joined(blocks), *(scan for scan in scans if _has_duplicates(scan))]
    return [stack]


def _joined(blocks: list[list[Slice]]) -> list[Slice]:
    """One stack of several; of images at the same position, that of the largest block."""
    joined = list(blocks[0])
    for entry in (entry for block in blocks[1:] for entry in block):
        heights = np.array([other.position @ joined[0].normal for other in joined])
        if np.abs(heights - entry.position @ joined[0].normal).min() >= DUPLICATE_MM:
            joined.append(entry)
    return joined


def _heights(stack: list[Slice], normal: np.ndarray) -> np.ndarray:
    return np.sort([float(entry.position @ normal) for entry in stack])


def _has_duplicates(stack: list[Slice]) -> bool:
    return bool((np.diff(_heights(stack, stack[0].normal)) < DUPLICATE_MM).any())


def _overlap(scans: list[list[Slice]], complete: bool) -> bool:
    """Whether two scans share more than half of the shorter one's range.

    Args:
        scans: The scans.
        complete: Leave out those that fill each other's holes, or hold every second slice, and so are parts of one.
    """
    candidates = [(scan, _heights(scan, scans[0][0].normal)) for scan in scans if len(scan) > 1]
    ranges = [
        heights[[0, -1]] for scan, heights in candidates if not complete or _is_contiguous(scan, np.diff(heights))
    ]
    return any(
        min(a[1], b[1]) - max(a[0], b[0]) > min(a[1] - a[0], b[1] - b[0]) / 2 for a, b in combinations(ranges, 2)
    )


def _is_contiguous(scan: list[Slice], gaps: np.ndarray) -> bool:
    gap, thickness = float(np.median(gaps)), scan[0].thickness_mm
    return not _is_hole(gaps.max(), gap) and not 0 < MAX_GAP_THICKNESSES * thickness < gap


def _is_hole(gap: float, usual: float) -> bool:
    return gap > max(MAX_HOLE_SLICES * usual, MAX_HOLE_MM)


def _in_order(folder: Path, stack: list[Slice]) -> list[Slice]:
    if not all(entry.is_placed for entry in stack):
        raise ValueError(f"{folder}: images lack position, orientation or pixel spacing, so their geometry is unknown")
    if _has_duplicates(stack):
        raise ValueError(
            f"{folder}: several images of one series lie at the same position, so phases cannot be told apart"
        )
    return sorted(stack, key=lambda entry: float(entry.position @ stack[0].normal))


def _read_stack(folder: Path, stack: list[Slice], notes: list[str]) -> Volume:
    first = stack[0]
    if len(stack) < 2:
        raise ValueError(f"{folder}: the CT series has only one image")
    parts, total = {entry.part[0] for entry in stack}, max(entry.part[1] for entry in stack)
    if total > len(parts):
        raise ValueError(f"{folder}: only {len(parts)} of the {total} files of the scan are there")
    positions = np.array([entry.position for entry in stack])
    heights = positions @ first.normal
    gaps = np.diff(heights)
    gap = float(np.median(gaps))
    _check_straight(folder, positions, heights)
    if _is_hole(gaps.max(), gap):
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
    """Decode every image, with its own rescale slope and intercept: (K, J, I)."""
    places: dict[Path, list[int]] = defaultdict(list)
    for n, entry in enumerate(stack):
        places[entry.path].append(n)
    planes: dict[int, np.ndarray] = {}
    for numbers in places.values():
        try:
            planes |= zip(numbers, decode([stack[n] for n in numbers]), strict=True)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
    return np.stack([planes[n] for n in range(len(stack))])


def _at_regular_heights(voxels: np.ndarray, heights: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation of slices from uneven ``heights`` to ``count`` even ones over the same range."""
    wanted = np.linspace(heights[0], heights[-1], count)
    above = np.clip(np.searchsorted(heights, wanted, side="right"), 1, len(heights) - 1)
    weight = ((wanted - heights[above - 1]) / (heights[above] - heights[above - 1])).astype(np.float32)
    planes = voxels.astype(np.float32)
    return np.stack([planes[n - 1] * (1 - w) + planes[n] * w for n, w in zip(above, weight, strict=True)])
