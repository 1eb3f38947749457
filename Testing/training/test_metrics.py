"""Metrics against values computed by hand, and against an independent library."""

import math

import numpy as np
import pytest
import surface_distance

from attention_unet_training.evaluation.metrics import METRICS, OrganMetrics, dice, measure_organ
from attention_unet_training.evaluation.surfaces import Surface, distances_mm, surface_distances, surface_of
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.volume import Grid, Volume
from support import phantoms
from support.shared_data import DATA, reason

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning"),
]  # in surface-distance
OBLIQUE = phantoms.rotation(10, -20, 30)


def two_balls(spacing_mm, radius_mm, offset_mm, directions=None) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Masks of two balls, the second offset, and their grid."""
    reach_mm = radius_mm + np.linalg.norm(offset_mm) + 2
    shape = tuple(math.ceil(2 * reach_mm / length) | 1 for length in spacing_mm[::-1])
    grid = phantoms.grid(shape, spacing_mm, directions)
    return phantoms.ball(grid, (0, 0, 0), radius_mm) > 0.5, phantoms.ball(grid, offset_mm, radius_mm) > 0.5, grid


def one_voxel(shape, at_kji) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[at_kji] = True
    return mask


def test_a_voxel_is_an_octahedron():
    grid = phantoms.grid((5, 5, 5), (2, 1, 1), OBLIQUE, (100, -50, 1000))
    surface = surface_of(one_voxel(grid.shape_kji, (1, 2, 3)), grid)
    ijk = sorted(tuple(point) for point in np.round(grid.ijk_of(surface.points_ras_mm), 6))
    assert ijk == sorted([(2.5, 2, 1), (3.5, 2, 1), (3, 1.5, 1), (3, 2.5, 1), (3, 2, 0.5), (3, 2, 1.5)])
    assert surface.triangles.shape == (8, 3)
    # half axes 1, 0.5, 0.5 mm: eight triangles of 0.375 mm2, four of them at each vertex
    np.testing.assert_allclose(surface.point_areas_mm2, 0.5, rtol=1e-6)


def test_a_mask_at_the_edge_of_its_grid_is_closed():
    grid = phantoms.grid((3, 3, 3))
    assert surface_of(np.ones((3, 3, 3), bool), grid).points_ras_mm.min(axis=0).tolist() == [-1.5] * 3


def test_distance_to_a_triangle_by_hand():
    """Above its inside, beside an edge, beyond a corner."""
    triangle = Surface(np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]]), np.array([[0, 1, 2]]))
    points = np.array([[1.0, 1, 2], [2, -3, 0], [-3, -4, 0], [4, 4, 0]])
    np.testing.assert_allclose(distances_mm(points, triangle), [2, 3, 5, math.sqrt(8)], atol=1e-9)
    np.testing.assert_allclose(triangle.point_areas_mm2, 8 / 3)


def test_two_voxels_by_hand():
    grid = phantoms.grid((5, 5, 9), (2, 1, 1))
    a, b = one_voxel(grid.shape_kji, (2, 2, 1)), one_voxel(grid.shape_kji, (2, 2, 6))  # 10 mm apart along i
    measured = measure_organ(a, b, grid)
    # from each vertex of one octahedron to the nearest vertex of the other
    assert measured.surface_distance_mm == pytest.approx((8 + 10 + 4 * math.sqrt(9**2 + 0.5**2)) / 6)
    assert measured.hausdorff_95_mm == pytest.approx(10)
    assert (measured.dice, measured.precision, measured.recall) == (0, 0, 0)
    assert (measured.predicted_ml, measured.reference_ml) == (0.002, 0.002)


def test_a_shifted_cube_by_hand():
    """20 mm long, shifted by 3 mm: the edges of the mesh are chamfered by half a voxel, which is the tolerance."""
    grid = phantoms.grid((30, 30, 30))
    a, b = np.zeros((2, 30, 30, 30), bool)
    a[5:25, 5:25, 5:25] = b[8:28, 5:25, 5:25] = True
    measured = measure_organ(a, b, grid)
    side, back = 3**2 / (2 * 20), 3.0  # four sides lie in each other but for a strip; the back is 3 mm outside
    front = (14**2 * 3 + 4 * (20 * 3**2 / 2 - 2 * 3**3 / 3)) / 20**2  # inside, where the sides may be nearer
    assert measured.surface_distance_mm == pytest.approx((4 * side + back + front) / 6, abs=0.03)
    assert measured.hausdorff_95_mm == pytest.approx(3)
    assert measured.dice == measured.precision == measured.recall == pytest.approx(17 / 20)
    assert measured.volume_ratio == 1


@pytest.mark.parametrize("offset_mm", [(3, 0, 0), (0, 0, 3), (1, -2, 2)])
@pytest.mark.parametrize("directions", [None, OBLIQUE, np.diag([1.0, 1, -1]) @ OBLIQUE], ids=["", "oblique", "left"])
def test_two_balls_offset_by_3_mm_on_a_2_x_1_x_1_mm_grid(offset_mm, directions):
    radius, offset = 20.0, 3.0
    measured = measure_organ(*two_balls((2, 1, 1), radius, offset_mm, directions))
    lens = math.pi * (4 * radius + offset) * (2 * radius - offset) ** 2 / 12
    ball = 4 / 3 * math.pi * radius**3
    assert measured.dice == pytest.approx(lens / ball, abs=0.01)
    assert measured.precision == pytest.approx(lens / ball, abs=0.01)
    assert measured.recall == pytest.approx(lens / ball, abs=0.01)
    assert measured.reference_ml == pytest.approx(ball / 1000, rel=0.01)
    # A point at angle t from the axis lies 3 |cos t| mm from the other ball, and |cos t| is evenly spread in 0..1.
    # Meshes of voxels come out lower, by at most 0.16 mm here; see surfaces.py.
    assert 0 < offset / 2 - measured.surface_distance_mm < 0.16
    assert measured.hausdorff_95_mm == pytest.approx(0.95 * offset, abs=0.16)


def test_finer_grids_come_closer_to_the_exact_distance():
    errors = [
        1.5 - measure_organ(*two_balls([spacing] * 3, 8.0, (0, 0, 3))).surface_distance_mm for spacing in (1, 0.5, 0.25)
    ]
    assert errors[0] > errors[1] > errors[2] > 0
    assert errors[2] < 0.06


@pytest.mark.parametrize("spacing_mm", [(0.25, 0.25, 0.25), (0.3, 0.2, 0.25)])
@pytest.mark.parametrize("offset_mm", [(0, 0, 3), (1, 2, 2), (0, 0, 0.75)])
def test_an_independent_library_agrees_within_a_tenth_of_a_millimetre(spacing_mm, offset_mm):
    """On smooth shapes and small voxels: its distances run between voxels, and are too short by a third of one."""
    a, b, grid = two_balls(spacing_mm, 6.0, offset_mm)
    theirs = surface_distance.compute_surface_distances(a, b, spacing_mm[::-1])
    measured = measure_organ(a, b, grid)
    mean = np.mean(surface_distance.compute_average_surface_distance(theirs))
    assert measured.surface_distance_mm == pytest.approx(mean, abs=0.1)
    percentile = surface_distance.compute_robust_hausdorff(theirs, 95)
    assert measured.hausdorff_95_mm == pytest.approx(percentile, abs=0.15)  # half a voxel
    assert measured.dice == pytest.approx(surface_distance.compute_dice_coefficient(a, b))


def test_the_library_agrees_on_cubes_of_different_sizes():
    """Flat faces: voxels make no difference, but for the edges."""
    grid = phantoms.grid((44, 44, 44), (2, 1, 1))
    a, b = np.zeros((2, 44, 44, 44), bool)
    a[2:42, 2:42, 2:42] = b[5:39, 5:39, 5:39] = True
    theirs = surface_distance.compute_surface_distances(a, b, (1, 1, 2))
    measured = measure_organ(a, b, grid)
    mean = np.mean(surface_distance.compute_average_surface_distance(theirs))
    assert measured.surface_distance_mm == pytest.approx(mean, abs=0.1)
    assert (measured.precision, measured.recall) == (pytest.approx(34**3 / 40**3), 1)


def test_flipped_and_permuted_arrays_measure_the_same():
    """But for the diagonals along which four-sided pieces are cut into triangles."""
    a, b, grid = two_balls((2, 1, 1.5), 9.0, (2, 1, -2), OBLIQUE)
    expected = measure_organ(a, b, grid)
    copies = zip(*(phantoms.flipped_and_permuted(Volume(mask, grid.ijk_to_ras)) for mask in (a, b)), strict=True)
    for copy_a, copy_b in copies:
        measured = measure_organ(copy_a.voxels, copy_b.voxels, copy_a.grid)
        for metric in METRICS:
            wanted = getattr(expected, metric.key)
            assert getattr(measured, metric.key) == pytest.approx(wanted, rel=5e-3), copy_a.name


def test_sheared_grids_are_exact():
    """A cube sheared by 45 degrees: its flat faces stay 4 mm apart when shifted along the axis across them."""
    matrix = np.array([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    grid = Grid((30, 50, 50), matrix)
    a = np.zeros(grid.shape_kji, bool)
    a[5:15, 5:45, 5:45] = True
    surface = surface_of(a, grid)
    moved = Surface(surface.points_ras_mm + [0, 0, 4], surface.triangles)
    assert surface_distances(surface, moved).hausdorff_95_mm == pytest.approx(4)
    b = np.roll(a, (4, -4), axis=(0, 2))  # four voxels up along k and four back along i: 4 mm straight up
    assert measure_organ(a, b, grid).hausdorff_95_mm == pytest.approx(4)
    assert measure_organ(a, b, grid).surface_distance_mm == pytest.approx(surface_distances(surface, moved).mean_mm)


def test_distances_are_symmetric_and_zero_for_equal_masks():
    a, b, grid = two_balls((1, 1, 2), 8.0, (2, 2, 0))
    b[:, :, : b.shape[2] // 2] = False
    one, other = measure_organ(a, b, grid), measure_organ(b, a, grid)
    assert one.surface_distance_mm == pytest.approx(other.surface_distance_mm)
    assert one.hausdorff_95_mm == other.hausdorff_95_mm
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert one.volume_ratio == pytest.approx(1 / other.volume_ratio)
    volume = np.count_nonzero(a) * 0.002
    assert measure_organ(a, a, grid) == OrganMetrics(1, 1, 1, 0, 0, pytest.approx(volume), pytest.approx(volume), 0)


def test_empty_masks_have_defined_results():
    grid = phantoms.grid((4, 4, 4))
    empty, full = np.zeros((2, 4, 4, 4), bool)
    full[1:3, 1:3, 1:3] = True
    assert measure_organ(empty, empty, grid) == OrganMetrics(1, 1, 1, 0, 0, 0, 0, 0)
    assert math.isnan(measure_organ(empty, empty, grid).volume_ratio)
    missed, invented = measure_organ(empty, full, grid), measure_organ(full, empty, grid)
    for measured in (missed, invented):
        assert (measured.dice, measured.precision, measured.recall) == (0, 0, 0)
        assert math.isnan(measured.surface_distance_mm)
        assert math.isnan(measured.hausdorff_95_mm)
    assert (missed.predicted_ml, missed.reference_ml, missed.volume_ratio) == (0, pytest.approx(0.008), 0)
    assert (missed.false_island_ml, invented.false_island_ml) == (0, pytest.approx(0.008))
    assert math.isnan(invented.volume_ratio)


def test_false_islands_by_hand():
    grid = phantoms.grid((10, 10, 20), (2, 2, 2.5))  # 0.01 ml per voxel
    predicted, reference = np.zeros((2, 10, 10, 20), bool)
    reference[2:6, 2:6, 2:6] = True
    predicted[2:6, 2:6, 5:12] = True  # touches the organ by one layer and spills far: no island
    predicted[0, 0, 15:20] = True  # 5 voxels
    predicted[9, 9, 15:18] = True  # 3
    predicted[1, 1, 14] = True  # meets the five by an edge only: a piece of its own
    assert measure_organ(predicted, reference, grid).false_island_ml == pytest.approx(0.05)
    predicted[0, 0, 15] = False
    reference[0, 0, 19] = True  # now the five, four by now, belong to the organ
    assert measure_organ(predicted, reference, grid).false_island_ml == pytest.approx(0.03)


def test_ignored_voxels_count_in_no_metric():
    grid = phantoms.grid((12, 12, 24), (1, 2, 1.5))
    rng = np.random.default_rng(0)
    predicted, reference, ignored = np.zeros((3, 12, 12, 24), bool)
    reference[3:8, 3:8, 3:15], predicted[3:8, 4:8, 4:15] = True, True
    ignored[:, :, 10:16] = True
    plain = measure_organ(predicted & ~ignored, reference & ~ignored, grid)
    for _ in range(3):
        noise = rng.random(grid.shape_kji) > 0.5
        measured = measure_organ(predicted ^ (noise & ignored), reference ^ (noise & ignored), grid, ignored)
        assert measured == plain
    assert plain.predicted_ml == pytest.approx(5 * 4 * 6 * 0.003)
    assert plain.dice == pytest.approx(2 * 120 / (120 + 175))
    everything = measure_organ(predicted, reference, grid, np.ones_like(ignored))
    assert everything == OrganMetrics(1, 1, 1, 0, 0, 0, 0, 0)


def test_what_joins_the_organ_through_ignored_voxels_is_no_island():
    grid = phantoms.grid((4, 4, 20), (1, 1, 10))
    predicted, reference, ignored = np.zeros((3, 4, 4, 20), bool)
    reference[1, 1, :5], predicted[1, 1, :12], ignored[1, 1, 5:8] = True, True, True
    predicted[3, 3, 10:12], ignored[3, 3, 10] = True, True
    measured = measure_organ(predicted, reference, grid, ignored)
    assert measured.false_island_ml == pytest.approx(0.01)  # one counted voxel of the two in the corner
    assert measured.precision == pytest.approx(5 / 10)


def test_masks_must_fit_the_grid():
    grid = phantoms.grid((4, 4, 4))
    with pytest.raises(ValueError, match=r"the reference mask of shape \(4, 4, 3\) does not fit a grid of \(4, 4, 4\)"):
        measure_organ(np.ones((4, 4, 4), bool), np.ones((4, 4, 3), bool), grid)
    with pytest.raises(ValueError, match="an empty mask has no surface"):
        surface_of(np.zeros((4, 4, 4), bool), grid)


def test_dice_precision_and_recall_by_hand():
    predicted, reference = np.zeros((2, 1, 1, 6), bool)
    predicted[..., :2], reference[..., 1:5] = True, True
    measured = measure_organ(predicted, reference, phantoms.grid((1, 1, 6)))
    assert (measured.dice, measured.precision, measured.recall) == (pytest.approx(2 / 6), 1 / 2, 1 / 4)
    assert dice(predicted, reference) == pytest.approx(2 / 6)
    assert dice(predicted, ~predicted) == 0.0
    assert dice(predicted & ~predicted, predicted & ~predicted) == 1.0


@pytest.mark.skipif(not DATA.is_dir(), reason=reason(DATA))
@pytest.mark.parametrize("values", [[1], [2], [3, 4]], ids=["pancreas", "spleen", "kidneys"])
def test_real_organs_against_shifted_copies(values):
    reference = read_volume(DATA / "ct_abdomen_3mm" / "labels.nii.gz")
    organ = np.isin(reference.voxels, values)
    shifted = np.roll(organ, 1, axis=1)
    measured = measure_organ(shifted, organ, reference.grid)
    assert measured.volume_ratio == 1
    assert measured.dice == measured.recall == pytest.approx(dice(organ, shifted))
    assert measured.hausdorff_95_mm == pytest.approx(3.0, abs=1e-3)  # a shift by one voxel of 3 mm
    assert 0.5 < measured.surface_distance_mm < 2.0
    nearer = measure_organ(organ, organ & shifted, reference.grid)
    assert nearer.surface_distance_mm < measured.surface_distance_mm
    assert nearer.recall == 1
