import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging.preprocessing import body_box, network_grid, preprocess, scale_intensity
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms

SPACING = (2.0, 2.0, 2.0)


def body(grid, radius_mm=30.0, hu=40.0) -> Volume:
    return Volume(phantoms.hu_from([(phantoms.ball(grid, (0, 0, 0), radius_mm), hu)], -1000.0), grid.ijk_to_ras)


def test_intensity_rule_by_hand():
    rule = IntensitySpec((-200.0, 300.0), 50.0, 250.0)
    hu = np.array([-1000, -200, 50, 300, 3000], np.int16)
    np.testing.assert_allclose(scale_intensity(hu, rule), [-1, -1, 0, 1, 1])
    assert scale_intensity(hu, rule).dtype == np.float32


def test_the_network_grid_covers_the_volume_from_edge_to_edge():
    source = phantoms.grid((10, 20, 40), (1.0, 2.0, 4.0), centre_ras_mm=(5, 6, 7))
    grid = network_grid(source, SPACING)
    assert grid.shape_kji == (20, 20, 20)
    np.testing.assert_allclose(grid.corners_ras_mm().mean(axis=0), (5, 6, 7))
    np.testing.assert_allclose(grid.directions, np.eye(3))


def test_flipped_and_permuted_copies_get_the_same_network_input():
    grid = phantoms.grid((40, 45, 50), (1.7, 1.3, 2.1), centre_ras_mm=(3, -40, 200))
    volume = body(grid)
    volume = Volume(volume.voxels + np.random.default_rng(0).normal(0, 9, volume.voxels.shape), grid.ijk_to_ras)
    expected = preprocess(volume, SPACING, phantoms.INTENSITY)
    for copy in phantoms.flipped_and_permuted(volume):
        result = preprocess(copy, SPACING, phantoms.INTENSITY)
        assert result.grid.same_as(expected.grid)
        np.testing.assert_allclose(result.image, expected.image, atol=1e-4)


def test_air_around_the_body_is_cropped_with_a_margin():
    volume = body(phantoms.grid((60, 70, 80), (2, 2, 2)), radius_mm=20.0)
    result = preprocess(volume, SPACING, phantoms.INTENSITY)
    low, high = result.grid.corners_ras_mm().min(axis=0), result.grid.corners_ras_mm().max(axis=0)
    assert (low <= -28).all() and (low >= -34).all()
    assert (high >= 28).all() and (high <= 34).all()


def test_a_volume_without_a_body_is_kept_whole():
    assert body_box(np.full((5, 6, 7), -1000.0), SPACING) == ((0, 0, 0), (5, 6, 7))


def test_positions_survive_an_oblique_grid():
    source = phantoms.grid(
        (60, 60, 60), (1.5, 1.2, 1.4), phantoms.rotation(20, 10, 30) @ np.diag([-1, 1, 1]), (9, 8, 7)
    )
    centre = np.array([15.0, 5.0, 0.0])
    mask = phantoms.ball(source, centre, 12.0)
    volume = Volume(phantoms.hu_from([(mask, 100.0)], 0.0), source.ijk_to_ras)
    result = preprocess(volume, SPACING, phantoms.INTENSITY)
    found = phantoms.centroid_ras_mm(result.hu > 50, result.grid)
    np.testing.assert_allclose(found, centre, atol=0.2)


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.zeros((1, 50, 50)), "at least 4 voxels .* got 50 x 50 x 1"),
        (np.zeros((9, 9, 9)), "all voxels have the value 0"),
        (np.full((9, 9, 9), np.nan), "NaN or infinite"),
        (np.where(np.arange(729).reshape(9, 9, 9) == 5, np.inf, 0.0), "NaN or infinite"),
        (
            np.where(np.arange(729).reshape(9, 9, 9) == 5, 1e300, 0.0),
            r"of 1e\+300 HU, beyond 1e\+06; .* to -1024",
        ),
        (np.where(np.arange(729).reshape(9, 9, 9) == 5, np.float32(-3.3e38), 0), r"voxels of -3.3e\+38 HU"),
        (np.where(np.arange(729).reshape(9, 9, 9) == 5, -(2**31), 0).astype(np.int32), r"voxels of -2.15e\+09 HU"),
        (np.zeros((9, 9, 9), bool), "real numbers"),
        (np.zeros((9, 9, 9), complex), "real numbers"),
    ],
)
def test_what_cannot_be_a_ct_is_refused_with_its_name(voxels, message):
    with pytest.raises(ValueError, match=f"case 7.*{message}"):
        preprocess(Volume(voxels, np.eye(4), name="case 7"), SPACING, phantoms.INTENSITY)


def test_what_fills_a_scan_up_is_no_absurd_value():
    for darkest in (np.int16(-32768), np.float32(-1e6)):
        voxels = np.zeros((9, 9, 9), darkest.dtype)
        voxels[0] = darkest
        assert preprocess(Volume(voxels, np.eye(4)), SPACING, phantoms.INTENSITY).hu.max() == 0


def test_an_absurd_spacing_is_refused():
    grid = phantoms.grid((9, 9, 9), (1000, 1000, 1000))
    with pytest.raises(ValueError, match="9000 x 9000 x 9000 mm is too large for 2 mm voxels"):
        network_grid(grid, SPACING)
    for spacing_mm, extent in (((300, 1, 1), "2700 x 9 x 9"), ((1, 150, 200), "9 x 1350 x 1800")):
        volume = Volume(np.zeros((9, 9, 9)), np.diag([*map(float, spacing_mm), 1]), name="case 7")
        with pytest.raises(ValueError, match=f"case 7: {extent} mm is larger than a patient; its spacing is wrong"):
            preprocess(volume, SPACING, phantoms.INTENSITY)
