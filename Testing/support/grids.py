"""Grids of every kind, and volumes on them."""

import numpy as np

from AttentionUNetSegmentationLib.volume import Grid, Volume
from support import phantoms

GRIDS = {
    "LPS": phantoms.grid((5, 6, 7), (1, 2, 3), np.diag([-1.0, -1, 1]), (10, 20, -300)),
    "RAS": phantoms.grid((5, 6, 7), (1, 2, 3)),
    "left-handed": phantoms.grid((5, 6, 7), (1, 2, 3), np.diag([1.0, -1, -1])),
    "sagittal": phantoms.grid((5, 6, 7), (1, 2, 3), np.eye(3)[[2, 0, 1]]),
    "oblique": phantoms.grid((5, 6, 7), (0.7, 0.9, 2.5), phantoms.rotation(11, 22, 33), (5, 5, 5)),
}


def volume(grid: Grid, dtype=np.int16) -> Volume:
    voxels = np.random.default_rng(0).integers(-1024, 3000, grid.shape_kji).astype(dtype)
    return Volume(voxels, grid.ijk_to_ras, name="phantom")
