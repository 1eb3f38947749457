import numpy as np
import pytest

from AttentionUNetSegmentationLib.volume import Grid, Volume, nonzero_box
from support import phantoms


def test_indices_and_positions_map_both_ways():
    grid = phantoms.grid((4, 5, 6), (0.5, 2, 3), phantoms.rotation(10, 20, 30), (7, 8, 9))
    points = np.array([[0, 0, 0], [5, 4, 3], [1.5, 2.5, 0.5]])
    np.testing.assert_allclose(grid.ijk_of(grid.ras_of(points)), points, atol=1e-9)
    np.testing.assert_allclose(grid.ras_of(np.array([2.5, 2, 1.5])), (7, 8, 9), atol=1e-9)


def test_spacing_volume_and_shear_of_a_sheared_grid():
    matrix = np.eye(4)
    matrix[:3, 2] = (3, 0, 4)
    grid = Grid((2, 2, 2), matrix)
    assert grid.spacing_mm == (1, 1, 5)
    assert grid.voxel_volume_ml == pytest.approx(0.004)
    assert not grid.is_orthogonal
    assert phantoms.grid((2, 2, 2), (1, 2, 3), phantoms.rotation(40, 50, 60)).is_orthogonal


def test_crop_keeps_positions():
    grid = phantoms.grid((8, 8, 8), (1, 2, 3), phantoms.rotation(5, 0, 0))
    cropped = grid.crop((1, -2, 3), (2, 2, 2))
    np.testing.assert_allclose(cropped.ras_of(np.array([0, 0, 0])), grid.ras_of(np.array([3, -2, 1])))
    assert cropped.shape_kji == (2, 2, 2)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((4, 4)), "last row"),
        (np.diag([1.0, 0, 1, 1]), "inverted"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "4x4"),
        (np.array([[1.0, 1, 0, 0], [0, 1e-9, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "inverted"),
    ],
)
def test_unusable_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        Grid((2, 2, 2), matrix)


def test_a_volume_needs_three_axes():
    with pytest.raises(ValueError, match=r"3 axes, got shape \(2, 2\)"):
        Volume(np.zeros((2, 2)), np.eye(4))


def test_the_grid_cannot_be_changed_from_outside():
    matrix = np.eye(4)
    volume = Volume(np.zeros((2, 2, 2)), matrix)
    matrix[0, 3] = 99
    assert volume.ijk_to_ras[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        volume.ijk_to_ras[0, 3] = 1


def test_nonzero_box():
    mask = np.zeros((5, 6, 7))
    assert nonzero_box(mask) is None
    mask[1, 2, 3] = mask[3, 2, 6] = 1
    assert nonzero_box(mask) == (slice(1, 4), slice(2, 3), slice(3, 7))


def test_a_grid_holds_the_centres_that_lie_among_its_voxels():
    outer = Grid((2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    finer = Grid((4, 1, 6), np.diag([1.0, 2.0, 1.5, 1.0]))
    expected = np.zeros((4, 1, 6), dtype=bool)
    expected[:3, :, :4] = True  # k: 0, 0.5, 1 of the outer grid; 1.5 lies on the edge; i: 0 to 3
    np.testing.assert_array_equal(outer.contains(finer), expected)


def test_a_grid_holds_itself_and_with_a_negative_margin_its_inside():
    oblique = phantoms.grid((4, 5, 6), (1, 2, 3), phantoms.rotation(10, 20, 30), (7, 8, 9))
    assert oblique.contains(oblique).all()
    inside = np.zeros((4, 5, 6), dtype=bool)
    inside[1:-1, 1:-1, 1:-1] = True
    np.testing.assert_array_equal(oblique.contains(oblique, margin_vox=-0.5), inside)


def test_a_grid_holds_what_lies_within_its_slant():
    matrix = np.eye(4)
    matrix[0, 2] = 1.0  # i moves by one voxel per slice
    held = Grid((3, 1, 3), matrix).contains(Grid((3, 1, 5), np.eye(4)))
    np.testing.assert_array_equal(held[:, 0], [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1]])


@pytest.mark.parametrize(
    ("change", "is_on_it"),
    [
        (np.eye(4), True),
        ([[1, 0, 0, -3], [0, 1, 0, 70], [0, 0, 1, 2], [0, 0, 0, 1]], True),  # another part of it
        ([[0, -1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], True),  # axes exchanged and flipped
        ([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], False),
        (np.diag([2.0, 1, 1, 1]), False),  # coarser: every voxel lies on it, but covers two
        (np.diag([0.5, 1, 1, 1]), False),
        (np.diag([1.002, 1, 1, 1]), False),
    ],
)
def test_a_grid_knows_whether_it_is_a_part_of_a_lattice(change, is_on_it):
    oblique = phantoms.grid((40, 50, 60), (1, 2, 3), phantoms.rotation(10, 20, 30), (7, 8, 9)).ijk_to_ras
    assert Grid((4, 5, 60), oblique @ np.array(change)).is_on_lattice_of(oblique) is is_on_it
