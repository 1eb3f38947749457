"""How well a mask fits its reference: overlap, surface distances, volumes.

Empty masks: if both are empty the organ is rightly absent, so Dice, precision and recall are 1 and distances 0. If only
one is empty, Dice, precision and recall are all 0 (also the one whose denominator is 0, so that no model gains by
finding nothing), and distances are undefined: NaN, left out of means, and counted. The ratio of volumes is undefined
without a reference volume. A false island is a connected piece of the prediction (by face neighbours, as in the
engine's clean-up) that shares no voxel with the reference.

Voxels that the reference says nothing about ("ignored") count neither as prediction nor as reference in any metric:
both masks and their surfaces end where these begin. A piece of the prediction is looked at as a whole, so that what
joins the organ through ignored voxels is no island.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from AttentionUNetSegmentationLib.volume import Grid, nonzero_box

from .surfaces import surface_distances, surface_of


@dataclass(frozen=True)
class Metric:
    """One metric of an organ.

    Attributes:
        key: Name of the attribute in ``OrganMetrics``.
        name: Its name in a model's list of measurements.
        heading: Its name in tables, as in the paper where the paper has it.
        higher_is_better: Which way is better.
    """

    key: str
    name: str
    heading: str
    higher_is_better: bool


METRICS = (
    Metric("dice", "Dice", "DSC", True),
    Metric("precision", "precision", "precision", True),
    Metric("recall", "recall", "recall", True),
    Metric("surface_distance_mm", "surface distance (mm)", "S2S distance (mm)", False),
    Metric("hausdorff_95_mm", "95% Hausdorff distance (mm)", "95% Hausdorff (mm)", False),
)


@dataclass(frozen=True)
class OrganMetrics:
    """Metrics of one organ of one case; NaN where undefined.

    Attributes:
        dice: 2 |P and R| / (|P| + |R|), with P the prediction's voxels and R the reference's.
        precision: |P and R| / |P|.
        recall: |P and R| / |R|.
        surface_distance_mm: See ``SurfaceDistances.mean_mm``.
        hausdorff_95_mm: See ``SurfaceDistances.hausdorff_95_mm``.
        predicted_ml: Volume of the prediction.
        reference_ml: Volume of the reference.
        false_island_ml: Volume of the largest false island; 0 if there is none.
    """

    dice: float
    precision: float
    recall: float
    surface_distance_mm: float
    hausdorff_95_mm: float
    predicted_ml: float
    reference_ml: float
    false_island_ml: float

    @property
    def volume_ratio(self) -> float:
        """Predicted volume over reference volume."""
        return self.predicted_ml / self.reference_ml if self.reference_ml else math.nan


def measure_organ(
    predicted: np.ndarray, reference: np.ndarray, grid: Grid, ignored: np.ndarray | None = None
) -> OrganMetrics:
    """All metrics of one organ.

    Args:
        predicted: (K, J, I) bool.
        reference: (K, J, I) bool.
        grid: Where the voxels of both lie.
        ignored: (K, J, I) bool, voxels to leave out; None for none.

    Raises:
        ValueError: If a mask does not have the grid's shape.
    """
    for name, mask in (("predicted", predicted), ("reference", reference), ("ignored", ignored)):
        if mask is not None and mask.shape != grid.shape_kji:
            raise ValueError(f"the {name} mask of shape {mask.shape} does not fit a grid of {grid.shape_kji}")
    known = np.True_ if ignored is None else ~ignored
    reference = reference & known
    island = _largest_false_island(predicted, reference, predicted & known)
    predicted = predicted & known
    found, true = int(np.count_nonzero(predicted)), int(np.count_nonzero(reference))
    volumes_ml = [voxels * grid.voxel_volume_ml for voxels in (found, true, island)]
    if not found and not true:
        return OrganMetrics(1.0, 1.0, 1.0, 0.0, 0.0, *volumes_ml)
    if not found or not true:
        return OrganMetrics(0.0, 0.0, 0.0, math.nan, math.nan, *volumes_ml)
    both = int(np.count_nonzero(predicted & reference))
    distances = surface_distances(surface_of(predicted, grid), surface_of(reference, grid))
    return OrganMetrics(
        dice(predicted, reference),
        both / found,
        both / true,
        distances.mean_mm,
        distances.hausdorff_95_mm,
        *volumes_ml,
    )


def _largest_false_island(predicted: np.ndarray, reference: np.ndarray, counted: np.ndarray) -> int:
    """Counted voxels of the largest connected piece of the prediction without any voxel of the reference."""
    box = nonzero_box(predicted)
    if box is None:
        return 0
    pieces, count = ndimage.label(predicted[box])
    sizes = np.bincount(pieces[counted[box]], minlength=count + 1)
    sizes[0] = 0
    sizes[np.unique(pieces[reference[box]])] = 0
    return int(sizes.max())


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two boolean masks; 1 if both are empty."""
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2.0 * int(np.count_nonzero(a & b)) / total if total else 1.0
