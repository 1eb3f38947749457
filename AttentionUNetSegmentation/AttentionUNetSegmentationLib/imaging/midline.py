"""Where the patient's midline lies: told by the spine, else by where the body ends in air."""

from __future__ import annotations

import math

import numpy as np

from ..volume import Grid
from .hounsfield import BONE_ABOVE_HU
from .preprocessing import BODY_ABOVE_HU

MIN_BONE_MM2 = 100.0  # of bone per slice in a spine's column, if the middle of a whole or wide body is searched
DENSE_BONE_ABOVE_HU = 200.0  # where a narrower body is cut, bright liver and ribs must not pass for a spine
MIN_DENSE_BONE_MM2 = 250.0  # likewise; real spines have 280 to 840, the ribs of a flank up to 220
FAT_HU = -90.0  # nothing in a field that has no darker voxel is air
SPINE_WIDTH_MM = 30.0  # of the column in which bone is counted
MARGIN_MM = 30.0  # above and below an organ, where the spine is looked for too: a disc shows little bone
TRUNK_SHARE = 0.25  # of the body's deepest column or row, from which one counts as trunk rather than arm or table
CUT_SHARE = 0.25  # of the body's rows that end at the field's edge, from which that side counts as cut
SPINE_THIRD = 1 / 3  # of the trunk's width on each side, where no spine lies
SPINE_DEPTH = 0.45  # of the trunk's depth: a spine lies at least this far from the one flank that is seen
WIDE_MM = 300.0  # from this width on a body that is cut shows its spine, and perhaps an arm at the edge
ARM_SHARE = 0.2  # of the width of a wide body on a side that is cut, where no spine lies
WHOLE_WIDTH = 0.8  # of the trunk's depth; what is narrower is not a whole trunk, what is wider is more than a half
HALF_WIDTH_MM = 150.0  # no wider is a half at any rate, as the field may cut the depth


def patient_midline_mm(hu: np.ndarray, grid: Grid, organs: np.ndarray, low_mm: float, high_mm: float) -> float | None:
    """R coordinate (mm) of the patient's midline between two heights.

    It is the middle of the spine: the column with the most bone in the back half of the body, away from the skin and
    from the organs found (which may be as dense as bone after contrast). Where no spine is seen, it is the middle of a
    body that is whole. A field without spine that shows one flank lies on that flank's side altogether. A part of a
    body with air in place of the rest tells nothing.

    Args:
        hu: (D, H, W) in HU on a patient-aligned grid; may be clipped from below.
        grid: The grid: i runs to the right, j to the front, k upwards.
        organs: (D, H, W) boolean, True where an organ was found.
        low_mm: Lowest height (S) of interest in mm.
        high_mm: The greatest height of interest.

    Returns:
        The coordinate; -inf if all of the field lies on the patient's right, inf if all lies on the left; None if
        nothing tells.
    """
    heights = _slices(grid, low_mm - MARGIN_MM, high_mm + MARGIN_MM)
    hu, organs = hu[heights], organs[heights]
    body = _body(hu)
    columns, rows = _trunk(body, (0, 1)), _trunk(body, (0, 2))
    if not len(columns):
        return None
    step_mm = grid.spacing_mm
    depth_mm, width_mm = (np.ptp(rows) + 1) * step_mm[1], (np.ptp(columns) + 1) * step_mm[0]
    left_seen, right_seen = _sides_seen(body)
    whole, wide = left_seen and right_seen, width_mm >= WIDE_MM
    if whole and width_mm < WHOLE_WIDTH * depth_mm:
        return None
    margin = round((SPINE_THIRD * width_mm if whole else SPINE_DEPTH * depth_mm) / step_mm[0])
    bone = (hu > (BONE_ABOVE_HU if whole or wide else DENSE_BONE_ABOVE_HU)) & ~organs
    bone[:, int(rows[0] + rows[-1]) // 2 + 1 :] = False
    arm = round(ARM_SHARE * width_mm / step_mm[0]) if wide else 0
    bone[:, :, : columns[0] + (margin if left_seen else arm)] = False
    bone[:, :, columns[-1] - (margin if right_seen else arm) + 1 :] = False
    column = _spine_column(bone, grid, MIN_BONE_MM2 if whole or wide else MIN_DENSE_BONE_MM2)
    if column is None and whole:
        column = (columns[0] + columns[-1]) / 2
    if column is not None:
        return float(grid.ras_of(np.array([column, 0, 0]))[0])
    if left_seen != right_seen and width_mm <= max(WHOLE_WIDTH * depth_mm, HALF_WIDTH_MM):
        return -math.inf if right_seen else math.inf
    return None


def _slices(grid: Grid, low_mm: float, high_mm: float) -> slice:
    bottom_mm, step_mm, size = float(grid.ijk_to_ras[2, 3]), grid.spacing_mm[2], grid.shape_kji[0]
    first = int(np.clip((low_mm - bottom_mm) / step_mm, 0, size - 1))
    return slice(first, int(np.clip((high_mm - bottom_mm) / step_mm, first, size - 1)) + 1)


def _body(hu: np.ndarray) -> np.ndarray:
    """What is not air; HU that are clipped from below have it at their lowest value."""
    darkest = float(hu.min())
    return hu > max(darkest, BODY_ABOVE_HU) if darkest < FAT_HU else np.ones(hu.shape, dtype=bool)


def _trunk(body: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    counts = np.count_nonzero(body, axis=axes)
    return np.flatnonzero(counts > TRUNK_SHARE * counts.max())


def _sides_seen(body: np.ndarray) -> tuple[bool, bool]:
    """Whether the body ends in air, rather than at the field's edge, on the patient's left and right."""
    rows = np.count_nonzero(body.any(axis=2))
    left, right = (bool(np.count_nonzero(body[:, :, end]) <= CUT_SHARE * rows) for end in (0, -1))
    return left, right


def _spine_column(bone: np.ndarray, grid: Grid, least_mm2: float) -> float | None:
    """Middle of the column of ``SPINE_WIDTH_MM`` with the most bone, if that is enough for a spine."""
    width = max(1, round(SPINE_WIDTH_MM / grid.spacing_mm[0]))
    per_column = np.count_nonzero(bone, axis=(0, 1)).astype(float)
    in_window = np.convolve(per_column, np.ones(width))  # of the window that ends at each column, or beyond
    if in_window.max() / len(bone) * grid.spacing_mm[0] * grid.spacing_mm[1] < least_mm2:
        return None
    stop = int(in_window.argmax()) + 1
    window = np.arange(max(0, stop - width), min(stop, len(per_column)))
    return float(np.average(window, weights=per_column[window]))
