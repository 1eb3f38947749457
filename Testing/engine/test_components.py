import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging.components import keep_largest, patient_midline_mm, split_sides
from AttentionUNetSegmentationLib.imaging.preprocessing import NetworkInput, preprocess
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms

GRID = phantoms.grid((50, 80, 120), (2, 2, 2))


def patient(x_mm: float = 0.0, spine: bool = True) -> NetworkInput:
    """A body, off-centre by ``x_mm``, with a spine in its back half."""
    body = phantoms.ball(GRID, (x_mm, 0, 0), 65)
    masks = [(body, 40.0)]
    if spine:
        masks.append((np.maximum.reduce([phantoms.ball(GRID, (x_mm, -35, z), 14) for z in (-30, 0, 30)]), 280.0))
    return preprocess(Volume(phantoms.hu_from(masks, -1000.0), GRID.ijk_to_ras), (2.0, 2.0, 2.0), phantoms.INTENSITY)


def kidneys(x_mm: float, *sides: float) -> np.ndarray:
    return np.maximum.reduce([phantoms.ball(GRID, (x_mm + side, -15, 0), 14) for side in sides]) > 0.5


def nothing(network_input: NetworkInput) -> np.ndarray:
    return np.zeros(network_input.hu.shape, bool)


def test_keep_largest_keeps_the_right_number():
    mask = np.zeros((3, 3, 20), bool)
    mask[1, 1, 0:5] = mask[1, 1, 7:10] = mask[1, 1, 15] = True
    assert np.flatnonzero(keep_largest(mask, 1)[1, 1]).tolist() == [0, 1, 2, 3, 4]
    assert np.count_nonzero(keep_largest(mask, 2)) == 8
    assert not keep_largest(np.zeros((2, 2, 2), bool), 1).any()


def test_crumbs_are_not_parts_however_many_components_are_kept():
    mask = np.zeros((10, 10, 60), bool)
    mask[:, :, :30] = True  # 3000 voxels
    mask[:3, :3, 35:46] = True  # 99: a second part
    mask[:2, :2, 50:60:2] = True  # crumbs of 4
    mask[3, 3, 46] = True  # one that touches a part diagonally
    for count in (2, 7, None):
        assert np.count_nonzero(keep_largest(mask, count)) == 3099


@pytest.mark.parametrize("spine", [True, False])
@pytest.mark.parametrize("x_mm", [-40.0, 0.0, 35.0])
def test_midline_follows_the_patient_not_the_field_of_view(x_mm, spine):
    network_input = patient(x_mm, spine)
    midline = patient_midline_mm(network_input, nothing(network_input), -10, 10)
    assert midline == pytest.approx(x_mm, abs=3.0)


def test_dense_organs_do_not_pull_the_midline():
    network_input = patient(0.0)
    bright = phantoms.ball(network_input.grid, (45, -30, 0), 16) > 0.5
    hu = np.where(bright, 300.0, network_input.hu).astype(np.float32)
    network_input = NetworkInput(hu, network_input.grid, network_input.intensity)
    assert abs(patient_midline_mm(network_input, nothing(network_input), -10, 10)) > 20  # the bait works
    assert patient_midline_mm(network_input, bright, -10, 10) == pytest.approx(0, abs=3)


@pytest.mark.parametrize("x_mm", [-40.0, 0.0, 35.0])
def test_two_kidneys_go_to_the_patients_sides(x_mm):
    mask = kidneys(x_mm, -30, 30)
    network_input = patient(x_mm)
    (right, left), reason = split_sides(mask, GRID, network_input, nothing(network_input))
    assert reason == ""
    assert phantoms.centroid_ras_mm(right, GRID)[0] == pytest.approx(x_mm + 30, abs=0.5)
    assert phantoms.centroid_ras_mm(left, GRID)[0] == pytest.approx(x_mm - 30, abs=0.5)
    np.testing.assert_array_equal(right | left, mask)


def test_two_parts_of_one_kidney_are_not_called_two_kidneys():
    mask = kidneys(0.0, 25) | (phantoms.ball(GRID, (45, -15, 30), 12) > 0.5)
    result, reason = split_sides(mask, GRID, patient(), nothing(patient()))
    assert result is None
    assert "only one was found, on the patient's right" in reason


def test_a_horseshoe_kidney_is_not_split_but_said():
    bridge = phantoms.ball(GRID, (0, -15, 0), 20) > 0.5
    result, reason = split_sides(kidneys(0.0, -24, 24) | bridge, GRID, patient(), nothing(patient()))
    assert result is None
    assert "both sides" in reason


def test_sides_do_not_depend_on_the_direction_of_the_axes():
    network_input = patient(10.0)
    mask = kidneys(10.0, -30, 30)
    for copy in phantoms.flipped_and_permuted(Volume(mask, GRID.ijk_to_ras)):
        (right, _), _ = split_sides(copy.voxels, copy.grid, network_input, nothing(network_input))
        assert phantoms.centroid_ras_mm(right, copy.grid)[0] == pytest.approx(40, abs=0.5)
