"""What a reader of DICOM folders should find: points in the patient with their HU, and a verdict on what was read.

HU of the phantoms rise linearly along R, A and S, so interpolation is exact on any grid, and a slice in the wrong place
is wrong by as many HU as it is displaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from AttentionUNetSegmentationLib.volume import Grid, Volume

HU_PER_MM = np.array([4.0, 6.0, 5.0])  # along R, A, S
CENTRE_RAS_MM = np.array([10.0, -20.0, 300.0])
TOLERANCE_HU = 3.0  # stored values are rounded, and those of a straightened tilt twice
POINTS_PER_SLICE = 200
MARGIN_VOX = 0.02


def hu_at(ras_mm: np.ndarray) -> np.ndarray:
    """HU of the phantom at points (..., 3)."""
    return np.round((np.asarray(ras_mm) - CENTRE_RAS_MM) @ HU_PER_MM)


@dataclass(frozen=True)
class Truth:
    """Points in each slice of a scan, its four corners first, and their HU.

    Attributes:
        ras_mm: (K, N, 3), slices in the order of their places.
        hu: (K, N).
        voxel_count: Of all slices.
    """

    ras_mm: np.ndarray
    hu: np.ndarray
    voxel_count: int

    @classmethod
    def of_slices(cls, planes: Sequence[np.ndarray], matrices: Sequence[np.ndarray]) -> Truth:
        """Truth from the HU (J, I) of each slice and the matrix that places it (its k is 0)."""
        rows, columns = planes[0].shape
        picked = np.random.default_rng(0).integers(0, (columns, rows), (POINTS_PER_SLICE, 2))
        i, j = np.concatenate([np.array(list(product((0, columns - 1), (0, rows - 1)))), picked]).T
        indices = np.stack([i, j, np.zeros_like(i)], axis=-1)
        points = [Grid((1, rows, columns), matrix).ras_of(indices) for matrix in matrices]
        return cls(np.array(points), np.array([plane[j, i] for plane in planes]), len(planes) * rows * columns)

    def is_grid(self, grid: Grid) -> bool:
        """Whether a grid has exactly the scan's own voxels, in whatever order."""
        ijk = grid.ijk_of(self.ras_mm)
        return int(np.prod(grid.shape_kji)) == self.voxel_count and bool(np.abs(ijk - np.round(ijk)).max() < MARGIN_VOX)


def fault(volume: Volume, truths: Sequence[Truth]) -> str:
    """What is wrong with a volume that was read; empty if it agrees with one of the truths."""
    if not truths:
        return "is read, and should not be"
    faults = [_fault(volume, truth) for truth in truths]
    return "" if "" in faults else faults[0]


def _fault(volume: Volume, truth: Truth) -> str:
    if extra := _slices_beyond(volume.grid, truth):
        return f"{extra} slices too many"
    # halfway between slices too: other phases' slices may lie there
    ras_mm, hu = (np.concatenate([values, (values[1:] + values[:-1]) / 2]) for values in (truth.ras_mm, truth.hu))
    found, is_inside = _interpolated(volume, ras_mm)
    faults = []
    if is_inside.mean() < 0.98:
        faults.append(f"lacks {100 * (1 - is_inside.mean()):.0f} % of the scan")
    errors = np.abs(found - hu)[is_inside]
    is_wrong = errors > TOLERANCE_HU
    if is_wrong.mean() > 0.005:
        if np.corrcoef(found[is_inside], hu[is_inside])[0, 1] < -0.9:
            return "HU inverted"
        usual, most = np.median(errors[is_wrong]), errors.max()
        faults.append(f"{100 * is_wrong.mean():.0f} % off by {usual:.0f} HU (median), at most {most:.0f}")
    return ", ".join(faults)


def _slices_beyond(grid: Grid, truth: Truth) -> int:
    """How many slices a grid has below and above the scan."""
    corners = truth.ras_mm[0, :3]
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    scanned, found = truth.ras_mm[:, 0] @ normal, grid.corners_ras_mm() @ normal
    beyond_mm = max(found.max() - scanned.max(), 0) + max(scanned.min() - found.min(), 0)
    return round(beyond_mm / np.median(np.abs(np.diff(scanned))))


def _interpolated(volume: Volume, ras_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trilinear values at points, and which points lie among the voxels."""
    kji = volume.grid.ijk_of(ras_mm)[..., ::-1]
    last = np.array(volume.voxels.shape) - 1
    is_inside = ((kji > -MARGIN_VOX) & (kji < last + MARGIN_VOX)).all(axis=-1)
    low = np.clip(np.floor(kji), 0, np.maximum(last - 1, 0)).astype(int)
    weight = np.clip(kji - low, 0, 1)
    values = np.zeros(ras_mm.shape[:-1])
    for corner in product((0, 1), repeat=3):
        at = np.minimum(low + corner, last)
        share = np.where(corner, weight, 1 - weight).prod(axis=-1)
        values += np.where(share > 0, share * volume.voxels[tuple(np.moveaxis(at, -1, 0))], 0)
    return values, is_inside
