import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging import components
from AttentionUNetSegmentationLib.imaging.components import keep_largest, split_sides
from AttentionUNetSegmentationLib.imaging.preprocessing import NetworkInput
from AttentionUNetSegmentationLib.volume import Grid, Volume
from support import phantoms
from support.body_phantom import BODY_GRID, patient

GRID = BODY_GRID


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


def test_a_part_far_from_the_largest_goes_and_the_next_one_stays():
    grid = Grid((80, 20, 100), np.diag((1.0, 2.0, 3.0, 1.0)))  # 100 mm are 100 voxels of i, 50 of j, 33 of k
    mask = np.zeros(grid.shape_kji, bool)
    mask[20:30, :10, :10] = True
    far, near = mask.copy(), mask.copy()
    far[64:69, :10, :10] = True  # 34 slices between them
    near[63, :10, :5] = True  # 33
    for turn in (1, -1):  # the part above, and below
        np.testing.assert_array_equal(keep_largest(far[::turn], 2, grid), mask[::turn])
        np.testing.assert_array_equal(keep_largest(near[::turn], 2, grid), near[::turn])
    np.testing.assert_array_equal(keep_largest(far, 2), far)
    far[35, :10, :10] = True  # smaller than the far part
    assert keep_largest(far, 2, grid)[35].any()


def test_crumbs_are_gone_before_gaps_are_measured(monkeypatch):
    """Boxes of hundreds of thousands of crumbs took seconds in which nobody could cancel."""
    measured, gaps_mm = [], components._gaps_mm
    monkeypatch.setattr(
        components, "_gaps_mm", lambda numbers, *args: (measured.append(numbers.max()), gaps_mm(numbers, *args))[1]
    )
    grid = Grid((30, 30, 30), np.eye(4))
    mask = np.zeros(grid.shape_kji, bool)
    mask[:10, :10, :10] = mask[:5, :5, 15:20] = True
    organ = mask.copy()
    mask[20::2, ::2, ::2] = True
    np.testing.assert_array_equal(keep_largest(mask, 2, grid), organ)
    assert measured == [2]


def test_a_small_part_of_a_pair_is_no_crumb():
    mask = np.zeros((10, 10, 60), bool)
    mask[:, :, :30] = True  # 3000 voxels
    mask[0, :2, 40:] = True  # 40: below 3 %
    assert np.count_nonzero(keep_largest(mask, 2)) == 3000
    assert np.count_nonzero(keep_largest(mask, 2, no_crumb_vox=40)) == 3040
    assert np.count_nonzero(keep_largest(mask, 2, no_crumb_vox=41)) == 3000


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
    (right, left), reason = split_sides(mask, GRID, patient(), nothing(patient()))
    assert reason == ""
    np.testing.assert_array_equal(right, mask)
    assert not left.any()


def test_each_side_keeps_its_largest_part_whatever_the_other_side_has():
    """The right kidney is in two parts, each larger than the left one; a smaller blob crosses the midline."""
    part, left_kidney = (phantoms.ball(GRID, at, 12) > 0.5 for at in ((45, -15, 30), (-30, -15, 0)))
    blob = phantoms.ball(GRID, (0, 20, 0), 11) > 0.5
    mask = kidneys(0.0, 25) | part | left_kidney | blob
    (right, left), reason = split_sides(mask, GRID, patient(), nothing(patient()), largest=True)
    assert reason == ""
    np.testing.assert_array_equal(right, kidneys(0.0, 25))
    np.testing.assert_array_equal(left, left_kidney)
    assert "both sides" in split_sides(mask, GRID, patient(), nothing(patient()))[1]


def test_a_small_kidney_beside_a_huge_one_is_no_crumb():
    """As beside a hydronephrosis: 523 ml and 14 ml, which are less than 3 %; 6 ml would be a crumb."""
    for radius_mm, is_kept in ((15, True), (11, False)):
        huge, small = (
            phantoms.ball(GRID, at, radius) > 0.5 for at, radius in (((58, 0, 0), 50), ((-40, 0, 0), radius_mm))
        )
        (right, left), reason = split_sides(huge | small, GRID, patient(), nothing(patient()), largest=True)
        assert reason == ""
        np.testing.assert_array_equal(right, huge)
        assert left.any() == is_kept


@pytest.mark.parametrize("turn_deg", [0, 17])
@pytest.mark.parametrize(("low_mm", "high_mm", "side"), [(-5, 65, 0), (12, 80, 0), (-65, 5, 1), (-80, -12, 1)])
def test_a_kidney_in_a_part_of_the_body_has_its_side(low_mm, high_mm, side, turn_deg):
    """Half a body, with half of its spine or without it; also scanned obliquely."""
    grid = phantoms.grid((50, 80, (high_mm - low_mm) // 2), (2, 2, 2), phantoms.rotation(0, 0, turn_deg), (0, 0, 0))
    grid = grid.crop((0, 0, 0), grid.shape_kji)
    matrix = grid.ijk_to_ras.copy()
    matrix[:2, 3] += phantoms.rotation(0, 0, turn_deg)[:2, 0] * (low_mm + high_mm) / 2
    grid = Grid(grid.shape_kji, matrix)
    network_input = patient(grid=grid)
    mask = phantoms.ball(grid, (30 - 60 * side, -15, 0), 10) > 0.5
    result, reason = split_sides(mask, grid, network_input, nothing(network_input))
    assert reason == ""
    np.testing.assert_array_equal(result[side], mask)
    assert not result[1 - side].any()


def test_a_kidney_in_a_field_that_shows_no_side_is_not_split():
    grid = phantoms.grid((20, 20, 18), (2, 2, 2), centre_ras_mm=(30, -10, 0))
    network_input = patient(grid=grid)
    mask = phantoms.ball(grid, (30, -10, 0), 12) > 0.5
    result, reason = split_sides(mask, grid, network_input, nothing(network_input))
    assert result is None
    assert reason == "as the field shows neither the spine nor where the body ends"


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
