"""What the registration compares: distances to the organs of two label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from . import structures
from .body_map import grid_points
from .pairing import TUBES
from .preparation import hull_distance_mm

SOLID = (*structures.BONES, *structures.MUSCLES, *structures.LUNGS, *structures.HEART, "costal_cartilages")
ORGANS = tuple(name for name in structures.STRUCTURES if name not in SOLID)
SOFT = (*structures.HOLLOW_ORGANS, *structures.VEINS, *structures.ADRENALS, "portal_vein_and_splenic_vein", "esophagus")
_WEIGHTS = {"stomach": 0.5, "gallbladder": 0.3}  # they differ from hour to hour; all others weigh 1
_BONE_BLUR_MM = 8.0


@dataclass(frozen=True)
class OrganDistances:
    """Points of the recipient with its distances, and the donor's distances on a grid of its own.

    Distances are signed, in mm, negative inside.

    Attributes:
        points_mm: (3, K, J, I), order z, y, x, in mm from the recipient's first voxel.
        here_mm: (N, K, J, I), the recipient's distance to each landmark.
        there: (N + 4, k, j, i) of the donor: distances to landmarks, solid structures, soft ones and the trunk's
            outline; the share of bone nearby.
        there_last_mm: (3,) position of the last voxel of that grid.
        weights: (N,) of the landmarks.
    """

    points_mm: torch.Tensor
    here_mm: torch.Tensor
    there: torch.Tensor
    there_last_mm: torch.Tensor
    weights: torch.Tensor

    @property
    def own(self) -> torch.Tensor:
        """(K, J, I) bool, inside a landmark of the recipient."""
        return (self.here_mm < 0).any(0)

    def every_second(self, turn: int) -> OrganDistances:
        """The same at every second point along each axis; eight turns have all points."""
        part = (slice(None), *[slice(turn >> axis & 1, None, 2) for axis in range(3)])
        return replace(self, points_mm=self.points_mm[part], here_mm=self.here_mm[part])

    def in_field(self, mapped_mm: torch.Tensor) -> torch.Tensor:
        """(K, J, I) bool, between the donor's first and last slice."""
        return (mapped_mm[0] >= 0) & (mapped_mm[0] <= self.there_last_mm[0])


def organ_distances(
    recipient: np.ndarray,
    donor: np.ndarray,
    landmarks: Sequence[str],
    spacing_mm: float,
    grid_mm: float,
    margin_mm: float,
) -> OrganDistances:
    """Measure two label maps.

    Args:
        recipient: (K, J, I) uint8 on RAS+ axes, numbers of `structures.STRUCTURES`.
        donor: The same of another person; another shape.
        landmarks: Structures that both show.
        spacing_mm: Edge of the voxels of both.
        grid_mm: Edge of the voxels at which distances are measured, about.
        margin_mm: How far around the recipient's landmarks.
    """
    stride = max(1, round(grid_mm / spacing_mm))
    step_mm = stride * spacing_mm
    part, first_vox = _around_organs(recipient, landmarks, round(margin_mm / spacing_mm))
    part = part[::stride, ::stride, ::stride]
    axes_mm = [(torch.arange(n) * stride + first) * spacing_mm for n, first in zip(part.shape, first_vox, strict=True)]
    sparse = donor[::stride, ::stride, ::stride]
    soft = [name for name in SOFT if name not in landmarks]
    bone = ndimage.gaussian_filter(is_one_of(sparse, structures.BONES).astype(np.float32), _BONE_BLUR_MM / step_mm)
    there = [
        *_distances_mm(sparse, [*([name] for name in landmarks), SOLID, soft], step_mm),
        hull_distance_mm(sparse, step_mm).astype(np.float32),
        (bone / 0.3).clip(0, 1),  # in the middle of a thin bone the blurred share is about 0.3
    ]
    return OrganDistances(
        points_mm=grid_points(axes_mm),
        here_mm=torch.from_numpy(np.stack(_distances_mm(part, [[name] for name in landmarks], step_mm))),
        there=torch.from_numpy(np.stack(there)),
        there_last_mm=(torch.tensor(sparse.shape) - 1) * step_mm,
        weights=torch.tensor([_WEIGHTS.get(name, 1.0) for name in landmarks]),
    )


def _around_organs(labels: np.ndarray, landmarks: Sequence[str], margin_vox: int) -> tuple[np.ndarray, list[int]]:
    """The part around the landmarks but tubes, beyond the map in plane too, and the index of its first voxel."""
    hits = np.argwhere(is_one_of(labels, [name for name in landmarks if name not in TUBES]))
    lows, highs = hits.min(0) - margin_vox, hits.max(0) + 1 + margin_vox
    lows[0], highs[0] = max(lows[0], 0), min(highs[0], len(labels))
    before = np.maximum(-lows, 0)
    padded = np.pad(labels, [(b, max(0, h - n)) for b, h, n in zip(before, highs, labels.shape, strict=True)])
    box = tuple(slice(low + b, high + b) for low, high, b in zip(lows, highs, before, strict=True))
    return padded[box], lows.tolist()


def _distances_mm(labels: np.ndarray, groups: Sequence[Sequence[str]], spacing_mm: float) -> list[np.ndarray]:
    masks = [is_one_of(labels, names) for names in groups]
    far = np.full(labels.shape, 1000.0, dtype=np.float32)
    return [signed_distance_mm(mask, spacing_mm) if mask.any() else far for mask in masks]


def signed_distance_mm(mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Distance to the surface of a mask (K, J, I), negative inside; the mask must be neither empty nor full.

    The surface runs between voxels; the edge of the array is none.
    """
    outside, inside = ndimage.distance_transform_edt(~mask), ndimage.distance_transform_edt(mask)
    return ((outside - inside + np.where(mask, 0.5, -0.5)) * spacing_mm).astype(np.float32)


def is_one_of(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Mask of the named structures."""
    return np.isin(labels, [structures.number_of(name) for name in names])
