"""Masks on another grid."""

from __future__ import annotations

import numpy as np

from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.volume import Grid

MAX_OUTSIDE = 0.1  # share; judgement: organs at the edge of a thick slice differ by half of it


def check_inside(mask: np.ndarray, source: Grid, target: Grid, what: str, where: str) -> None:
    """Refuse a mask of which another grid covers too little: what is said of it there would be of a part.

    Args:
        mask: (K, J, I) bool, on ``source``.
        source: Where it lies.
        target: Where it is wanted.
        what: What the mask shows.
        where: What the target is.

    Raises:
        ValueError: If more than a tenth of it lies outside.
    """
    if source.same_as(target) or not mask.any():
        return
    ijk = target.ijk_of(source.ras_of(np.argwhere(mask)[:, ::-1]))
    outside = np.mean((ijk < -0.5).any(axis=1) | (ijk > np.array(target.shape_kji[::-1]) - 0.5).any(axis=1))
    if outside > MAX_OUTSIDE:
        raise ValueError(f"{outside:.0%} of the {what} lie outside {where}: do the two belong together?")


def resample_mask(mask: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """A mask on another grid, by linear interpolation; False outside of the source, whose edge is not continued.

    Args:
        mask: (K, J, I) bool, on ``source``.
        source: Where it lies.
        target: Where it is wanted.

    Returns:
        (K, J, I) bool of the target's shape.
    """
    return (resample(mask, source, target, antialias=False) > 0.5) & source.contains(target)
