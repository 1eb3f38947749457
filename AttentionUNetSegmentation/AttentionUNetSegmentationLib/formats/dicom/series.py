"""A folder of DICOM files -> Volume: the largest CT series, with its geometry checked slice by slice.

The geometry is computed here from the positions of all slices, or frames of a multi-frame file, so that missing slices,
uneven gaps and gantry tilt are noticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import printable
from ...volume import Volume
from .headers import HU_TYPES, Slice, files_below, is_dicom_file, read_slices
from .pixels import decode
from .scans import choose_scan, describe_series

DICOM_ENDINGS = (".dcm", ".ima")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
MAX_HOLE_SLICES = 2.1  # a hole of one missing slice is bridged ...
MAX_HOLE_MM = 5.0  # ... and of several thin ones up to this
REGULAR_TOLERANCE = 0.05  # of the slice spacing, by which a slice may lie beside its even place, ...
ROUNDED_MM = 0.1  # ... or by this, as headers are rounded to it, ...
MAX_REGULAR_TOLERANCE = 0.2  # ... but not by more of the spacing
MAX_JUMP_HU = 300  # from slice to slice; where it is an intercept's, it is 1000 or so
STRAY_MM = 1.0  # slices further than this from a straight stack are refused


def read_dicom(folder: Path) -> Volume:
    """Read the largest CT series below a folder.

    Raises:
        ValueError: If there is no CT series, or its slices do not form one volume.
    """
    slices, notes = _images_below(folder)
    scan = choose_scan(slices, notes)
    if units := sorted({entry.units for entry in scan if entry.units.upper() not in HU_TYPES}):
        notes.append(f"the rescale type of the images is {', '.join(units)}, not HU")
    _check_complete(scan)
    if not any(entry.rescale for entry in scan):
        notes.append("no image has a rescale slope or intercept: stored values are taken as HU")
    voxels, matrix = _placed(scan, notes)
    series = tuple(describe_series(slices, scan))
    return Volume(voxels, matrix, folder.name, scan[0].modality, tuple(notes), series=series)


def find_scan(folder: Path) -> list[Slice]:
    """The images of the largest CT series below a folder, in the order of their places.

    Raises:
        ValueError: If there is no CT series.
    """
    return choose_scan(*_images_below(folder))


def list_series(folder: Path) -> list[dict[str, Any]]:
    """The series below a folder whose case failed (``describe_series``).

    Raises:
        ValueError: If there are no images.
    """
    return describe_series(_images_below(folder)[0], [])


def _images_below(folder: Path) -> tuple[list[Slice], list[str]]:
    """All images below a folder, and notes on what cannot be read."""
    slices: list[Slice] = []
    unreadable: list[str] = []
    for path in files_below(folder):
        try:
            slices += read_slices(path)
        except ValueError as error:
            is_unreadable = isinstance(error.__cause__, OSError)
            if is_unreadable and path.exists() and _may_be_image(path):  # without it, the scan would be short
                raise
            if is_unreadable or _should_be_image(path):
                unreadable.append(printable(path.relative_to(folder)))
    shown = ", ".join(unreadable[:3]) + (", ..." if len(unreadable) > 3 else "")
    if not slices:
        raise ValueError(
            f"{folder} is a folder that holds no DICOM images" + (f" that can be read ({shown})" if shown else "")
        )
    if not unreadable:
        return slices, []
    kinds = "no images, empty, damaged, unreadable or not named in UTF-8"
    return slices, [f"{len(unreadable)} DICOM files that are {kinds} were left out ({shown})"]


def _may_be_image(path: Path) -> bool:
    """Whether a file that cannot be opened is called as an image may be: as DICOM, by a UID, or without an ending."""
    ending = path.suffix.lower()
    is_called_so = ending in DICOM_ENDINGS or ending[1:].isdigit() or not ending
    return is_called_so and not path.name.startswith(".") and path.name.upper() != "DICOMDIR"


def _should_be_image(path: Path) -> bool:
    """Whether a file that cannot be read as an image was meant to be one: by its start, its name, or as it is empty."""
    if path.name.upper() == "DICOMDIR" or path.name.startswith("."):
        return False
    is_named_so = path.suffix.lower() in DICOM_ENDINGS
    return is_named_so or not path.stat().st_size or is_dicom_file(path)


def is_even(scan: list[Slice]) -> bool:
    """Whether the slices lie at even heights, so that they are voxels as they are."""
    heights = _heights(scan)
    even = np.linspace(heights[0], heights[-1], len(heights))
    gap = float(np.median(np.diff(heights)))
    tolerance = min(max(REGULAR_TOLERANCE * gap, ROUNDED_MM), MAX_REGULAR_TOLERANCE * gap)
    return bool(np.abs(heights - even).max() <= tolerance)


def stack_matrix(scan: list[Slice], count: int) -> np.ndarray:
    """Matrix ``ijk_to_ras`` (4, 4), mm, of so many even slices from the first to the last of a scan."""
    first, step = scan[0], (scan[-1].position - scan[0].position) / (count - 1)
    matrix = np.eye(4)
    matrix[:3, :3] = LPS_TO_RAS @ np.array([*(first.axes.T * first.spacing_mm).T, step]).T
    matrix[:3, 3] = LPS_TO_RAS @ first.position
    return matrix


def _heights(scan: list[Slice]) -> np.ndarray:
    return np.array([entry.position for entry in scan]) @ scan[0].normal


def _check_complete(scan: list[Slice]) -> None:
    """Refuse scans of which images, files or rescale tags are missing."""
    if len(scan) < 2:
        raise ValueError("the CT series has only one image")
    parts, total = {entry.part[0] for entry in scan}, max(entry.part[1] for entry in scan)
    if total > len(parts):
        raise ValueError(f"only {len(parts)} of the {total} files of the scan are there")
    bare = [entry.path for entry in scan if len(entry.rescale) < 2]
    if bare and any(entry.rescale for entry in scan):
        raise ValueError(f"{bare[0]} lacks the rescale slope or intercept, one number each")


def _check_levels(scan: list[Slice], voxels: np.ndarray) -> None:
    """Refuse an intercept that differs from the next slice's though the stored values do not."""
    for n in range(1, len(scan)):
        if scan[n].rescale != scan[n - 1].rescale:
            jump = float(np.median(voxels[n, ::4, ::4].astype(np.float32) - voxels[n - 1, ::4, ::4]))
            if abs(jump) > MAX_JUMP_HU:
                raise ValueError(
                    f"{scan[n].path} is rescaled differently from the slice before, and {abs(jump):.0f} HU "
                    f"{'brighter' if jump > 0 else 'darker'}"
                )


def _placed(scan: list[Slice], notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels at even heights with their matrix; ``notes`` get what had to be interpolated."""
    heights = _heights(scan)
    gaps = np.diff(heights)
    gap = float(np.median(gaps))
    _check_straight(np.array([entry.position for entry in scan]), heights)
    if round(gaps.max(), 2) > max(MAX_HOLE_SLICES * gap, MAX_HOLE_MM):  # headers are rounded
        after = scan[int(gaps.argmax())].path
        raise ValueError(f"{after} is followed by a gap of {gaps.max():.1f} mm: slices are missing")
    voxels = decode(scan)
    _check_levels(scan, voxels)
    if not is_even(scan):
        voxels = _at_regular_heights(voxels, heights, round((heights[-1] - heights[0]) / gap) + 1)
        notes.append(
            f"slices are missing or unevenly spaced (gaps of {gaps.min():.2f} to {gaps.max():.2f} mm); "
            f"interpolated to {(heights[-1] - heights[0]) / (len(voxels) - 1):.2f} mm"
        )
    return voxels, stack_matrix(scan, len(voxels))


def _check_straight(positions: np.ndarray, heights: np.ndarray) -> None:
    """Refuse stacks whose slices do not lie on one straight line (a tilt that changes within the series)."""
    share = (heights - heights[0]) / (heights[-1] - heights[0])
    line = positions[0] + share[:, None] * (positions[-1] - positions[0])
    stray = float(np.linalg.norm(positions - line, axis=1).max())
    if stray > STRAY_MM:
        raise ValueError(f"slices lie up to {stray:.1f} mm off a straight stack; the series is not one volume")


def _at_regular_heights(voxels: np.ndarray, heights: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation of slices from uneven ``heights`` to ``count`` even ones over the same range."""
    wanted = np.linspace(heights[0], heights[-1], count)
    above = np.clip(np.searchsorted(heights, wanted, side="right"), 1, len(heights) - 1)
    weight = ((wanted - heights[above - 1]) / (heights[above] - heights[above - 1])).astype(np.float32)
    planes = voxels.astype(np.float32)
    return np.stack([planes[n - 1] * (1 - w) + planes[n] * w for n, w in zip(above, weight, strict=True)])
