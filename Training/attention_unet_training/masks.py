"""Masks on another grid."""

from __future__ import annotations

import numpy as np

from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.volume import Grid


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
