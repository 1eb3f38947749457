import numpy as np

from AttentionUNetSegmentationLib.imaging.postprocessing import drop_crumbs
from AttentionUNetSegmentationLib.monitor import Monitor


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
