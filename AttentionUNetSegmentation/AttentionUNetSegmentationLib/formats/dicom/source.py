"""Which DICOM images the voxels of a result lie on: what a DICOM SEG refers to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...volume import Grid
from .series import LPS_TO_RAS, find_scan, is_even, stack_matrix

if TYPE_CHECKING:
    from pydicom import Dataset

ROUNDING_MM = 0.1  # by which reading may move a voxel without resampling
UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
UNKNOWN_IF_EMPTY = (  # the standard lets these be empty, but not missing
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)


def source_images(folder: Path, grid: Grid) -> tuple[list[Dataset], list[int]]:
    """The images that the slices of a grid, which was read from a folder, are the voxels of.

    The headers are read again, so a folder that has changed since is noticed.

    Returns:
        Headers without pixels, of one file for each slice in the order of k, or of one multi-frame file; and the slice
        k that each image, or frame, is.

    Raises:
        ValueError: If the voxels are not those of the images, or the images cannot be referred to.
    """
    import pydicom

    scan = find_scan(folder)
    if not is_even(scan):
        raise ValueError("slices are missing or unevenly spaced, so the result lies between the images")
    if not Grid((len(scan), *scan[0].size[::-1]), stack_matrix(scan, len(scan))).same_as(grid, ROUNDING_MM):
        raise ValueError(
            "the scan is sheared (gantry tilt), or has changed, so the result is not on the images' voxels"
        )
    paths = list(dict.fromkeys(entry.path for entry in scan))
    headers: list[Dataset] = [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in paths]
    count = sum(int(header.get("NumberOfFrames") or 1) for header in headers)
    if len(paths) not in (1, len(scan)) or count > len(scan):
        raise ValueError("the scan is in several multi-frame files, or in one with other images")
    for path, header in zip(paths, headers, strict=True):
        if missing := [keyword for keyword in UIDS if not header.get(keyword)]:
            raise ValueError(f"{path} has no {missing[0]}, so nothing can refer to it")
    if len({header.SOPInstanceUID for header in headers}) < len(headers):
        raise ValueError("images share a SOPInstanceUID, so nothing can refer to one of them")
    return headers, [int(k) for k in np.argsort([entry.frame for entry in scan], kind="stable")]


def lay_on_grid(headers: list[Dataset], slices: list[int], grid: Grid) -> None:
    """Let headers, as ``source_images`` gives them, say what the result's even grid does, to the last digit.

    Programs that read a DICOM SEG refuse what rounding in the images' headers leaves uneven.

    Raises:
        AttributeError, IndexError: If a multi-frame file does not say the spacing once for all frames.
    """
    is_multi_frame = len(headers) < len(slices)
    places, measures = headers, headers
    if is_multi_frame:
        places = [frame.PlanePositionSequence[0] for frame in headers[0].PerFrameFunctionalGroupsSequence]
        measures = [headers[0].SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]]
    for place, k in zip(places, slices, strict=True):
        place.ImagePositionPatient = np.round(LPS_TO_RAS @ grid.ras_of(np.array([0, 0, k])), 6).tolist()
    for measure in measures:
        measure.SpacingBetweenSlices = round(grid.spacing_mm[2], 6)
        measure.SliceThickness = measure.get("SliceThickness") or measure.SpacingBetweenSlices
    for header in headers:
        if not is_multi_frame:
            header.ImageOrientationPatient = headers[0].ImageOrientationPatient
        for keyword in UNKNOWN_IF_EMPTY:
            header.setdefault(keyword, "")
