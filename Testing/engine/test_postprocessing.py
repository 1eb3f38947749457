import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging.postprocessing import drop_crumbs, labels_on_input_grid
from AttentionUNetSegmentationLib.monitor import Monitor
from AttentionUNetSegmentationLib.volume import Grid
from support import phantoms


@pytest.mark.parametrize("tilt", [0, 8])
@pytest.mark.parametrize("slice_mm", [3, 5, 8])
def test_organs_keep_their_volume_on_thick_slices(slice_mm, tilt):
    network_grid = phantoms.grid((40, 40, 40), (2, 2, 2))
    thick = phantoms.grid((80 // slice_mm, 60, 60), (1.2, 1.2, slice_mm), phantoms.rotation(tilt, 0, 0))
    volumes = []
    for share in (0, 0.25, 0.5, 0.75):  # where the ball lies between two slices
        depth_mm = 12 - np.linalg.norm(centres(network_grid) - [0, 0, share * slice_mm], axis=-1)
        scores = np.stack([-depth_mm, depth_mm]).astype(np.float32)
        volumes.append(np.count_nonzero(labels_on_input_grid(scores, [1], network_grid, thick, Monitor())))
    ball_ml = 4 / 3 * np.pi * 1.2**3
    assert np.mean(volumes) * thick.voxel_volume_ml == pytest.approx(ball_ml, rel=0.04)


def centres(grid: Grid) -> np.ndarray:
    return grid.ras_of(np.stack(np.meshgrid(*map(np.arange, grid.shape_kji), indexing="ij"), -1)[..., ::-1])


def test_crumbs_that_thick_slices_cut_off_are_cleared_and_second_parts_stay():
    labels = np.zeros((6, 40, 40), np.uint8)
    labels[:4, 5:15, 5:15] = 1  # the organ
    labels[4:, 15:20, 15:20] = 1  # 50 of 400 voxels in the slices above, which touch it by an edge only
    labels[0, 15, 15] = labels[1, 4, 4] = labels[2, 30, 30] = 1  # crumbs
    labels[0, 20:30, 20:30] = 2
    labels[0, 16, 16] = 2
    drop_crumbs(labels, [1, 2, 3], Monitor())
    assert np.count_nonzero(labels == 1) == 450
    assert np.count_nonzero(labels == 2) == 100
    assert set(np.unique(labels)) == {0, 1, 2}
