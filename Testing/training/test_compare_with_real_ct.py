"""Tests of the script that compares synthetic with real CT, on tissue made of known noise."""

import numpy as np
import pytest
from scipy import ndimage

import compare_with_real_ct as compare
from AttentionUNetSegmentationLib.volume import Grid

SHAPE = (16, 48, 48)
INSIDE = np.zeros(SHAPE, dtype=bool)
INSIDE[:, 8:40, 8:40] = True


def noise(sigma_vox: float) -> np.ndarray:
    """Noise of SD 10, correlated in plane."""
    white = np.random.default_rng(3).normal(0, 1, SHAPE)
    smooth = ndimage.gaussian_filter(white, (0, sigma_vox, sigma_vox), mode="wrap")
    return 10 * smooth / smooth.std()


@pytest.mark.parametrize("sigma_vox", [0, 1, 2])
def test_the_correlation_of_smooth_noise_falls_as_its_kernel_says(sigma_vox):
    for lag in (1, 3):
        expected = np.exp(-(lag**2) / (4 * sigma_vox**2)) if sigma_vox else 0
        assert compare.correlation(noise(sigma_vox), INSIDE, lag) == pytest.approx(expected, abs=0.05)


def test_what_lies_outside_a_region_plays_no_part():
    hu = noise(1)
    outside = np.where(INSIDE, hu, -1000)
    assert compare.correlation(outside, INSIDE, 1) == pytest.approx(compare.correlation(hu, INSIDE, 1))


def test_rows_hold_the_hu_of_regions_and_the_edge_of_fat():
    hu = np.where(INSIDE, 60.0, -100.0)
    tiny = np.zeros(SHAPE, dtype=bool)
    tiny[0, 0, 0] = True
    rows = compare.measure(hu + noise(0) / 10, {"liver": INSIDE, "tiny": tiny})
    assert sorted(rows) == ["fat", "liver"]
    assert rows["liver"][:3] == pytest.approx([58.4, 60, 61.6], abs=0.2)
    assert rows["fat"][1] == pytest.approx(-100, abs=0.5)
    assert rows["fat"][-1] == pytest.approx(160 / 4, rel=0.1)  # a step, between two neighbours on either side
    assert rows["liver"][3] == pytest.approx(1, rel=0.05)
    assert np.isnan(rows["liver"][-1])


def test_a_sphere_lies_where_its_ras_centre_is():
    grid = Grid((20, 20, 20), np.array([[2.0, 0, 0, -30], [0, 2, 0, 40], [0, 0, 2, 500], [0, 0, 0, 1]]))
    mask = compare.sphere(grid, -20, 60, 530, 8)
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.1)
    assert ndimage.center_of_mass(mask) == pytest.approx((15, 10, 5))
