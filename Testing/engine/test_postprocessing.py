import dataclasses

import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging import postprocessing
from AttentionUNetSegmentationLib.imaging.postprocessing import (
    cleared_beyond,
    drop_crumbs,
    labels_on_input_grid,
    organ_scores,
    probability_maps,
)
from AttentionUNetSegmentationLib.imaging.preprocessing import NetworkInput
from AttentionUNetSegmentationLib.models.loading import Model
from AttentionUNetSegmentationLib.monitor import Cancelled, Monitor
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.volume import Grid, Volume
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


def cancelled_at(question: int) -> tuple[Monitor, list[None]]:
    """A monitor that is cancelled at a question, the first being 1, and as many entries as it was asked."""
    asked: list[None] = []
    return Monitor(None, lambda: (asked.append(None), len(asked) == question)[1]), asked


def random_logits(classes: int, grid: Grid) -> np.ndarray:
    """Small whole numbers, so that many are equal."""
    return np.random.default_rng(0).integers(-3, 4, (classes, *grid.shape_kji)).astype(np.float32)


def test_scores_beyond_a_tilted_scan_are_cleared_channel_by_channel():
    grid = phantoms.grid((20, 22, 24), (2, 2, 2))
    scanned = phantoms.grid((16, 18, 20), (2.1, 2.1, 2.1), phantoms.rotation(20, 0, 10))
    logits = random_logits(4, grid)
    monitor, asked = cancelled_at(0)
    cleared = cleared_beyond(logits, grid, scanned, monitor)
    inside = scanned.crop((-1, -1, -1), (18, 20, 22)).contains(grid)
    assert 0.2 < inside.mean() < 0.9
    np.testing.assert_array_equal(cleared[:, inside], logits[:, inside])
    np.testing.assert_array_equal(cleared[:, ~inside], np.broadcast_to([[3], [-3], [-3], [-3]], (4, (~inside).sum())))
    assert len(asked) == 4
    for question in range(1, 5):
        with pytest.raises(Cancelled):
            cleared_beyond(logits, grid, scanned, cancelled_at(question)[0])


def test_organ_scores_can_be_cancelled_before_the_first_organ_and_after_the_last():
    grid = phantoms.grid((6, 7, 8), (2, 2, 2))
    logits, network_input = random_logits(4, grid), NetworkInput(np.zeros(grid.shape_kji), grid, phantoms.INTENSITY)
    asked: list[None] = []
    steps: list[int] = []  # questions before each organ
    monitor = Monitor(lambda done, step: steps.append(len(asked)), lambda: asked.append(None) is not None)
    scores, _, _ = organ_scores(logits, phantoms.LABELS, network_input, monitor, clean_up=False, split=False)
    np.testing.assert_array_equal(scores, logits)
    assert steps[0] - 1 >= 3  # each class but the background, on the way to the best one
    assert len(asked) - steps[-1] >= 4  # each channel that is put together
    np.testing.assert_array_equal(postprocessing._best_classes(logits, Monitor()), logits.argmax(axis=0))


@pytest.mark.parametrize("split", [False, True])
def test_a_small_kidney_beside_a_huge_one_stays_where_sides_are_not_known(split):
    """523 and 14 ml, less than 3 %, in a field that shows no midline; of an organ that is no pair 14 ml are a crumb."""
    grid = phantoms.grid((60, 60, 100), (2, 2, 2))
    huge, small = (phantoms.ball(grid, (x, 0, 0), radius, 1.0) for x, radius in ((-35, 50), (60, 15)))
    volume = Volume(phantoms.hu_from([(huge, 250.0), (small, 250.0)], 0.0), grid.ijk_to_ras)
    options = Options(split_sides=split, attention=False)
    pair = phantoms.LABELS[2]
    for label, kept in ((pair, True), (dataclasses.replace(pair, sides=None), False)):
        model = Model(phantoms.spec([label]), phantoms.ThresholdNetwork((0.0, 250.0)))
        result = segment(volume, model, options)
        assert (result.labels == pair.value)[huge > 0.9].all()
        assert (result.labels == pair.value)[small > 0.9].mean() == kept


def test_probabilities_do_not_depend_on_slabs(monkeypatch):
    """Of thick oblique slices, for which the network's grid is thinned."""
    grid = phantoms.grid((40, 40, 40), (2, 2, 2))
    thick = phantoms.grid((12, 30, 30), (2.5, 2.5, 7), phantoms.rotation(12, -8, 5))
    logits = np.random.default_rng(0).normal(0, 3, (2, *grid.shape_kji)).astype(np.float32)
    maps = []
    for voxels in (1 << 20, 2 * 30 * 30):
        monkeypatch.setattr(postprocessing, "SLAB_VOXELS", voxels)
        maps.append(probability_maps(logits, phantoms.LABELS[:1], grid, thick, Monitor())["pancreas"].voxels)
    assert maps[0].std() > 0.05
    np.testing.assert_allclose(maps[1], maps[0], rtol=0, atol=1e-5)
