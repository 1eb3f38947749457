"""A body with a spine, as a network gets it."""

from __future__ import annotations

import numpy as np

from AttentionUNetSegmentationLib.imaging.preprocessing import NetworkInput, preprocess
from AttentionUNetSegmentationLib.volume import Grid, Volume

from . import phantoms

BODY_GRID = phantoms.grid((50, 80, 120), (2, 2, 2))


def patient(x_mm: float = 0.0, spine: bool = True, grid: Grid = BODY_GRID, sagging_mm: float = 0.0) -> NetworkInput:
    """A body of 130 mm, off-centre by ``x_mm``, wider by ``sagging_mm`` to one side, with a spine in its back half."""
    masks = [(phantoms.ball(grid, (x_mm + shift_mm, 0, 0), 65), 40.0) for shift_mm in (0.0, sagging_mm)]
    if spine:
        masks.append((np.maximum.reduce([phantoms.ball(grid, (x_mm, -35, z), 14) for z in (-30, 0, 30)]), 280.0))
    return preprocess(Volume(phantoms.hu_from(masks, -1000.0), grid.ijk_to_ras), (2.0, 2.0, 2.0), phantoms.INTENSITY)
