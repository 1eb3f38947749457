import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging.resampling import linear_weights, resample
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms

OBLIQUE = phantoms.rotation(12, -7, 25)


def ramp(grid: "phantoms.Grid", gradient=(0.3, -0.7, 1.1), offset=5.0) -> np.ndarray:
    """A linear function of position, which linear interpolation must return exactly."""
    k, j, i = np.meshgrid(*map(np.arange, grid.shape_kji), indexing="ij")
    return (grid.ras_of(np.stack([i, j, k], -1)) @ np.array(gradient) + offset).astype(np.float32)


@pytest.mark.parametrize("directions", [np.eye(3), -np.eye(3), OBLIQUE, np.eye(3)[[1, 2, 0]]])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.7, 0.8, 3.1)])
def test_a_linear_ramp_comes_back_exactly_inside(directions, spacing):
    source = phantoms.grid((40, 44, 48), (1.5, 1.2, 1.1), directions)
    target = phantoms.grid((6, 7, 8), spacing)
    np.testing.assert_allclose(resample(ramp(source), source, target), ramp(target), atol=2e-3)


@pytest.mark.parametrize("directions", [np.eye(3), OBLIQUE])
@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (3.0, 4.0, 5.0)])
def test_a_constant_stays_constant_even_outside(directions, spacing):
    source = phantoms.grid((9, 10, 11), (1, 1, 2), directions)
    target = phantoms.grid((30, 12, 13), spacing, centre_ras_mm=(8, 0, 0))
    np.testing.assert_allclose(resample(np.full((9, 10, 11), 7, np.int16), source, target), 7.0, atol=1e-5)


def test_the_same_grid_returns_the_same_voxels():
    grid = phantoms.grid((5, 6, 7), (1, 2, 3), np.diag([-1, 1, 1.0]))
    voxels = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    np.testing.assert_array_equal(resample(voxels, grid, grid), voxels)


def test_coarsening_averages_noise_instead_of_picking_voxels():
    source = phantoms.grid((64, 64, 64), (0.5, 0.5, 0.5))
    noise = np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
    for directions in (np.eye(3), OBLIQUE):
        target = phantoms.grid((10, 10, 10), (2, 2, 2), directions)
        assert resample(noise, source, target).std() < 0.25
        assert resample(noise, source, target, antialias=False).std() > 0.32


def test_flipped_and_permuted_copies_give_identical_results():
    source = phantoms.grid((12, 13, 14), (1.5, 1.1, 0.9))
    voxels = np.random.default_rng(0).normal(size=(12, 13, 14)).astype(np.float32)
    target = phantoms.grid((8, 8, 8), (2, 2, 2))
    expected = resample(voxels, source, target)
    for copy in phantoms.flipped_and_permuted(Volume(voxels, source.ijk_to_ras)):
        np.testing.assert_allclose(resample(copy.voxels, copy.grid, target), expected, atol=1e-5)


def test_sheared_grids_are_resampled_through_the_full_matrix():
    source = phantoms.grid((40, 40, 40), (1, 1, 1))
    matrix = source.ijk_to_ras.copy()
    matrix[1, 2] = 0.4
    sheared = type(source)(source.shape_kji, matrix)
    target = phantoms.grid((8, 8, 8), (1, 1, 1), centre_ras_mm=(0, 3, 0))
    np.testing.assert_allclose(resample(ramp(sheared), sheared, target), ramp(target), atol=2e-3)


def test_weights_by_hand():
    first, weights = linear_weights(4, 2, scale=2.0, shift=0.5, antialias=False)
    assert first == 0
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    _, weights = linear_weights(4, 1, scale=2.0, shift=1.5, antialias=True)  # triangle of half width 2 at 1.5
    np.testing.assert_allclose(weights, [[0.125, 0.375, 0.375, 0.125]])
    _, weights = linear_weights(3, 3, scale=-1.0, shift=2.0, antialias=True)
    np.testing.assert_allclose(weights, np.eye(3)[::-1])


def test_a_shape_that_does_not_fit_is_refused():
    grid = phantoms.grid((5, 6, 7))
    with pytest.raises(ValueError, match="do not fit"):
        resample(np.zeros((7, 6, 5)), grid, grid)
