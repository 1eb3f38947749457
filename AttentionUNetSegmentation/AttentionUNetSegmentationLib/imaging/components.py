"""Connected components of organ masks: clean-up, and the split of a paired organ into the patient's right and left."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..volume import Grid, grown, nonzero_box
from .midline import patient_midline_mm
from .preprocessing import NetworkInput

MIN_SIDE_SHARE = 0.1  # of a component on its smaller side of the midline, from which it counts as crossing
MIN_CROSSING_ML = 5.0  # a smaller part is a fragment, which goes to the side of its centroid
MIN_PART_SHARE = 0.03  # of an organ's largest part; what is smaller is a crumb, not a part of an organ
MAX_GAP_MM = 100.0  # between parts of one organ: in 36 label maps, a field of 40 mm leaves parts at most 93 mm apart
SMALLEST_KIDNEY_ML = 10.0  # of the label maps, an atrophic one: from here on what lies beside a huge organ is no crumb


def smallest_kidney_vox(grid: Grid) -> float:
    """``SMALLEST_KIDNEY_ML`` in voxels of a grid."""
    return SMALLEST_KIDNEY_ML / grid.voxel_volume_ml


def keep_largest(
    mask: np.ndarray, count: int | None = 1, near: Grid | None = None, no_crumb_vox: float = math.inf
) -> np.ndarray:
    """Keep the largest connected components (face neighbours) of a boolean mask, without crumbs.

    Args:
        mask: (K, J, I) boolean.
        count: How many may be kept; None for any number.
        near: Where the mask lies, if parts further than ``MAX_GAP_MM`` from the largest are to go.
        no_crumb_vox: From how many voxels on a component is no crumb, however large the largest is; of paired organs
            ``smallest_kidney_vox``.

    Returns:
        The mask without crumbs (below ``MIN_PART_SHARE`` of the largest), without far ones if ``near`` is given, and of
        the rest the ``count`` largest.
    """
    kept = np.zeros_like(mask, dtype=bool)
    box = nonzero_box(mask)
    if box is not None:
        components = numbered_components(mask[box])
        sizes = np.bincount(components.ravel())[1:]  # falling
        parts = np.flatnonzero(sizes >= min(MIN_PART_SHARE * sizes[0], no_crumb_vox))
        if near is not None:
            components[components > len(parts)] = 0  # a noisy mask has hundreds of thousands of crumbs
            parts = parts[_gaps_mm(components, near.spacing_mm) <= MAX_GAP_MM]
        kept[box] = np.isin(components, 1 + parts[:count])
    return kept


def _gaps_mm(components: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """How far the box of each numbered component lies from that of the first."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.GetImageFromArray(components))
    boxes = np.array([shapes.GetBoundingBox(number) for number in shapes.GetLabels()])
    low, high = boxes[:, :3], boxes[:, :3] + boxes[:, 3:]
    return np.linalg.norm(np.maximum(0, np.maximum(low - high[0], low[0] - high)) * spacing_mm, axis=1)


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
    mask: np.ndarray, grid: Grid, network_input: NetworkInput, organs: np.ndarray, largest: bool = False
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """Split a paired organ's mask into the patient's right and left, component by component.

    Each component goes to the side of the midline (``patient_midline_mm``) that its centroid lies on; a side may stay
    empty. An organ that reaches across the midline is not split, nor one whose field does not show the midline's side.

    Args:
        mask: (K, J, I) boolean on ``grid``, not empty.
        grid: Where the mask lies.
        network_input: The CT on the network's grid.
        organs: (D, H, W) boolean on the network's grid, True where any organ was found.
        largest: Keep only the largest component on each side, without crumbs.

    Returns:
        (right mask, left mask) and "", or None and the reason.
    """
    components = numbered_components(mask)
    points = np.argwhere(components > 0)
    number = components[tuple(points.T)]
    ras_mm = grid.ras_of(points[:, ::-1])
    heights_mm = ras_mm[number <= 2, 2]  # of the pair, as the numbers fall in size
    midline_mm = patient_midline_mm(
        network_input.hu, network_input.grid, organs, float(heights_mm.min()), float(heights_mm.max())
    )
    if midline_mm is None:
        return None, "as the field shows neither the spine nor where the body ends"
    counts = np.maximum(1, np.bincount(number))
    right_share = np.bincount(number, weights=ras_mm[:, 0] > midline_mm) / counts
    on_right = np.bincount(number, weights=ras_mm[:, 0]) / counts > midline_mm
    kept = np.arange(len(counts)) > 0
    if largest:
        kept &= counts >= min(MIN_PART_SHARE * counts.max(), smallest_kidney_vox(grid))
        for side in (on_right, ~on_right):
            kept[np.flatnonzero(kept & side)[1:]] = False
    crossing = kept & (right_share > MIN_SIDE_SHARE) & (right_share < 1 - MIN_SIDE_SHARE)
    if (crossing & (counts * grid.voxel_volume_ml >= MIN_CROSSING_ML)).any():
        return None, "one connected part lies on both sides of the midline (horseshoe kidney?)"
    return ((kept & on_right)[components], (kept & ~on_right)[components]), ""


def numbered_components(mask: np.ndarray) -> np.ndarray:
    """Numbers of the connected components (face neighbours) of a boolean mask: 1 for the largest, 0 outside."""
    numbers = np.zeros(mask.shape, np.uint32)
    box = nonzero_box(mask)
    if box is not None:  # most of a volume is empty
        image = sitk.GetImageFromArray(np.ascontiguousarray(mask[box], dtype=np.uint8))
        components = sitk.RelabelComponent(sitk.ConnectedComponent(image), sortByObjectSize=True)
        numbers[box] = sitk.GetArrayFromImage(components)
    return numbers
