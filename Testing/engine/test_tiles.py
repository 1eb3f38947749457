import numpy as np
import pytest

from AttentionUNetSegmentationLib.inference.tiles import Blend, Tiling, tile_weights


@pytest.mark.parametrize("shape", [(16, 16, 16), (96, 112, 160), (32, 208, 16), (16, 16, 1024)])
@pytest.mark.parametrize("edge", [16, 32, 64, 100, 192])
def test_a_constant_comes_back_in_every_voxel_for_every_tiling(shape, edge):
    tiling = Tiling.of_at_most(shape, edge)
    blend = Blend(2, shape)
    for start in tiling.starts():
        assert all(first % 16 == 0 and first >= 0 for first in start)
        blend.add(np.broadcast_to(np.float32([[[[3.5]]], [[[-1.25]]]]), (2, *tiling.tile)), start)
    result = blend.result()
    np.testing.assert_allclose(result[0], 3.5, rtol=1e-6)
    np.testing.assert_allclose(result[1], -1.25, rtol=1e-6)


@pytest.mark.parametrize("size", [208, 304, 640, 1024])
@pytest.mark.parametrize("edge", [64, 96, 128, 192])
def test_neighbouring_tiles_overlap_by_a_quarter_or_more(size, edge):
    tiling = Tiling.of_at_most((16, 16, size), edge)
    starts = [start[2] for start in tiling.starts()]
    assert starts[0] == 0
    assert starts[-1] == size - tiling.tile[2]
    assert tiling.tile[2] <= edge
    assert max(np.diff(starts)) <= tiling.tile[2] * 3 / 4


def test_one_tile_where_it_fits():
    assert Tiling.of_at_most((48, 64, 80), 96).starts() == [(0, 0, 0)]


def test_weights_are_highest_in_the_middle_and_never_zero():
    weights = tile_weights((4, 1, 5))
    assert weights[1, 0, 2] == weights[2, 0, 2] == weights.max()
    bell = np.exp(-0.5 * (np.arange(-2, 3) / 5 / 0.15) ** 2)
    np.testing.assert_allclose(weights[1, 0] / weights[1, 0, 2], bell, rtol=1e-5)
    assert tile_weights((512, 16, 16)).min() > 1e-9


def test_two_tiles_blend_by_hand():
    blend = Blend(1, (1, 1, 3))
    blend.add(np.full((1, 1, 1, 2), 2.0, np.float32), (0, 0, 0))
    blend.add(np.full((1, 1, 1, 2), 4.0, np.float32), (0, 0, 1))
    np.testing.assert_allclose(blend.result()[0, 0, 0], [2, 3, 4])


def test_a_voxel_without_a_tile_is_an_error():
    blend = Blend(1, (1, 1, 3))
    blend.add(np.ones((1, 1, 1, 2), np.float32), (0, 0, 0))
    with pytest.raises(ValueError, match="do not cover"):
        blend.result()


@pytest.mark.parametrize(
    ("shape", "tile", "message"),
    [
        ((16, 16, 20), (16, 16, 16), "multiples of 16"),
        ((16, 16, 16), (16, 16, 32), "does not fit"),
        ((0, 16, 16), (16, 16, 16), "multiples of 16"),
    ],
)
def test_impossible_tilings_are_refused(shape, tile, message):
    with pytest.raises(ValueError, match=message):
        Tiling(shape, tile)
