"""How much attention lies in the organs: its share there against theirs of the volume, inside the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .case import CaseOnGrid
from .recording import Recording


@dataclass(frozen=True)
class OrganAttention:
    """One coefficient map in one organ.

    Attributes:
        share: Share in [0, 1] of the attention mass (sum of coefficients) in the body that lies in the organ.
        volume_share: Share of the body's volume that the organ takes: what a flat map would give.
        auc: How often a voxel of the organ has a higher coefficient than another one of the body (ties count half):
            0.5 for a map that knows nothing of the organ. Unlike the enrichment it does not depend on how far the
            coefficients spread, so that a control whose maps are almost flat can compete.
    """

    share: float
    volume_share: float
    auc: float

    @property
    def enrichment(self) -> float:
        """``share / volume_share``: the mean coefficient in the organ against that in the body; 1 for a flat map."""
        return self.share / self.volume_share


@dataclass(frozen=True)
class MapMetrics:
    """One coefficient map.

    Attributes:
        mean: Mean coefficient over the body.
        std: Its standard deviation over the body.
        organs: Organ -> metrics.
    """

    mean: float
    std: float
    organs: dict[str, OrganAttention]


def measure(recording: Recording, case: CaseOnGrid) -> dict[str, MapMetrics]:
    """Metrics of every coefficient map.

    Every voxel of the network's grid that lies in the body counts once, with the coefficient of the gate's voxel that
    it lies in; outside of the body nothing counts.

    Args:
        recording: What a network did on the case.
        case: The case on that network's grid.
    """
    results = {}
    for name, volume in recording.coefficients.items():
        alpha, strides = volume.voxels.astype(np.float64), recording.strides[name]
        body = voxels_per_cell(case.body, strides)
        mass, count = float((alpha * body).sum()), int(body.sum())
        mean = mass / count
        std = float(np.sqrt((body * (alpha - mean) ** 2).sum() / count))
        organs = {}
        for organ, mask in case.organs.items():
            inside = voxels_per_cell(mask, strides)
            share = float((alpha * inside).sum()) / mass if mass > 0 else 0.0
            organs[organ] = OrganAttention(share, int(inside.sum()) / count, separation(alpha, inside, body - inside))
        results[name] = MapMetrics(mean, std, organs)
    return results


def separation(alpha: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> float:
    """The area under the ROC curve of a map: the chance that a voxel inside has a higher value than one outside.

    Args:
        alpha: Values.
        inside: How many voxels of the organ have each value, same shape.
        outside: How many others.

    Returns:
        A chance in [0, 1], ties counted half; 0.5 if there is nothing inside or nothing outside.
    """
    # Mann and Whitney's U without sorting pairs: equal values share a rank, so few values make few bins
    _, rank = np.unique(alpha, return_inverse=True)
    a = np.bincount(rank.ravel(), inside.ravel())
    b = np.bincount(rank.ravel(), outside.ravel())
    pairs = a.sum() * b.sum()
    return float((a * (np.cumsum(b) - b / 2)).sum() / pairs) if pairs else 0.5


def voxels_per_cell(mask: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """How many voxels of a mask lie in each voxel of a coarser grid that begins at the same edge.

    Args:
        mask: (D, H, W) bool.
        strides: Voxels per coarse voxel, along D, H, W.

    Returns:
        (ceil(D / f), ...) int counts.
    """
    padded = np.pad(mask, [(0, -size % stride) for size, stride in zip(mask.shape, strides, strict=True)])
    d, h, w = (size // stride for size, stride in zip(padded.shape, strides, strict=True))
    a, b, c = strides
    return padded.reshape(d, a, h, b, w, c).sum(axis=(1, 3, 5))
