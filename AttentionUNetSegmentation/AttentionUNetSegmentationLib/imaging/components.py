"""Connected components of organ masks: clean-up, and the split of a paired organ into the patient's right and left."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..volume import Grid, grown, nonzero_box
from .preprocessing import NetworkInput

SPINE_ABOVE_HU = 150.0
SPINE_SMOOTHING_MM = 15.0
MIN_SPINE_ML = 5.0
MIN_SIDE_SHARE = 0.1  # of a component on its smaller side of the midline, from which it counts as crossing
MIN_SIDE_ML = 5.0  # a side smaller than this is a fragment, not a kidney
MIN_PART_SHARE = 0.03  # of an organ's largest part; what is smaller is a crumb, not a part of an organ


def keep_largest(mask: np.ndarray, count: int | None = 1) -> np.ndarray:
    """Keep the largest connected components (face neighbours) of a boolean mask, without crumbs.

    Args:
        mask: (K, J, I) boolean.
        count: How many may be kept; None for any number.

    Returns:
        The mask without components beyond ``count``, and without those below ``MIN_PART_SHARE`` of the largest.
    """
    kept = np.zeros_like(mask, dtype=bool)
    box = nonzero_box(mask)
    if box is not None:
        components = _components(mask[box])
        sizes = np.bincount(components.ravel())[1:]  # falling
        parts = np.count_nonzero(sizes >= MIN_PART_SHARE * sizes[0])
        kept[box] = (components > 0) & (components <= (parts if count is None else min(count, parts)))
    return kept


def dilate(mask: np.ndarray, radius_vox: int) -> np.ndarray:
    """Dilate a boolean mask by a ball."""
    dilated = np.zeros_like(mask, dtype=bool)
    box = nonzero_box(mask)
    if box is not None:
        box = grown(box, radius_vox, mask.shape)
        image = sitk.GetImageFromArray(mask[box].astype(np.uint8))
        dilated[box] = sitk.GetArrayFromImage(sitk.BinaryDilate(image, [radius_vox] * 3)).astype(bool)
    return dilated


def split_sides(
    mask: np.ndarray, grid: Grid, network_input: NetworkInput, organs: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """Split a paired organ's mask into the patient's right and left, component by component.

    Each component goes to the side of the midline that its centroid lies on; the midline is that of the spine at the
    organ's height (of the body where no bone is seen), so a patient who lies off-centre is split correctly. An organ
    that reaches across the midline, or that is on one side only, is not split.

    Args:
        mask: (K, J, I) boolean on ``grid``.
        grid: Where the mask lies.
        network_input: The CT on the network's grid.
        organs: (D, H, W) boolean on the network's grid, True where any organ was found.

    Returns:
        (right mask, left mask) and "", or None and the reason.
    """
    components = _components(mask)
    points = np.argwhere(components > 0)
    sides_mm = grid.ras_of(points[:, ::-1])
    number = components[tuple(points.T)]
    heights_mm = sides_mm[:, 2]
    midline_mm = patient_midline_mm(network_input, organs, float(heights_mm.min()), float(heights_mm.max()))
    offset_mm = sides_mm[:, 0] - midline_mm  # positive: patient's right
    counts = np.maximum(1, np.bincount(number))
    right_share = np.bincount(number, weights=offset_mm > 0) / counts
    crossing = (right_share > MIN_SIDE_SHARE) & (right_share < 1 - MIN_SIDE_SHARE)
    if (crossing & (counts * grid.voxel_volume_ml >= MIN_SIDE_ML)).any():
        return None, "one connected part lies on both sides of the midline (horseshoe kidney?)"
    on_right = (np.bincount(number, weights=offset_mm) > 0)[number]
    volumes_ml = [np.count_nonzero(side) * grid.voxel_volume_ml for side in (on_right, ~on_right)]
    if min(volumes_ml) < MIN_SIDE_ML:
        side = "right" if volumes_ml[0] > volumes_ml[1] else "left"
        return None, f"only one was found, on the patient's {side}"
    right = np.zeros_like(mask, dtype=bool)
    right[tuple(points[on_right].T)] = True
    left = np.zeros_like(right)
    left[tuple(points[~on_right].T)] = True
    return (right, left), ""


def patient_midline_mm(network_input: NetworkInput, organs: np.ndarray, low_mm: float, high_mm: float) -> float:
    """R coordinate (mm) of the patient's midline between two heights.

    It is the column with the most bone in the back half of the body, away from the organs found (which may be as dense
    as bone after contrast); where no bone is seen, the middle of the body.

    Args:
        network_input: The CT on the network's grid.
        organs: (D, H, W) boolean on the same grid, True where an organ was found.
        low_mm: Lowest height (S) of the organ in mm.
        high_mm: Its greatest height.
    """
    grid = network_input.grid
    bottom_mm, step_mm = float(grid.ijk_to_ras[2, 3]), grid.spacing_mm[2]  # the network's grid is patient-aligned
    first = int(np.clip((low_mm - bottom_mm) / step_mm, 0, len(network_input.hu) - 1))
    last = int(np.clip((high_mm - bottom_mm) / step_mm, first, len(network_input.hu) - 1))
    hu = network_input.hu[first : last + 1]
    body = hu > network_input.hu.min()  # HU are clipped from below, so air and fat's dark end have the lowest value
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    middle_row = int(rows.mean()) if len(rows) else hu.shape[1] // 2
    bone = (hu > SPINE_ABOVE_HU) & ~organs[first : last + 1]
    bone_per_column = np.count_nonzero(bone[:, :middle_row], axis=(0, 1)).astype(float)
    if bone_per_column.sum() * grid.voxel_volume_ml >= MIN_SPINE_ML:
        kernel = _gaussian(SPINE_SMOOTHING_MM / grid.spacing_mm[0])
        column = float(_smoothed(bone_per_column, kernel).argmax())
    else:
        columns = np.flatnonzero(body.any(axis=(0, 1)))
        column = float(columns[0] + columns[-1]) / 2 if len(columns) else (hu.shape[2] - 1) / 2
    return float(grid.ras_of(np.array([column, 0, 0]))[0])


def _smoothed(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    radius = len(kernel) // 2
    return np.convolve(np.pad(values, radius), kernel, mode="valid")


def _gaussian(sigma_vox: float) -> np.ndarray:
    radius = int(np.ceil(3 * sigma_vox))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_vox) ** 2)
    return kernel / kernel.sum()


def _components(mask: np.ndarray) -> np.ndarray:
    """Component numbers, 1 for the largest; 0 outside."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask, dtype=np.uint8))
    return sitk.GetArrayFromImage(sitk.RelabelComponent(sitk.ConnectedComponent(image), sortByObjectSize=True))
