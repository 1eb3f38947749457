import dataclasses
import re

import numpy as np
import pytest
import torch

from AttentionUNetSegmentationLib.command import overview
from AttentionUNetSegmentationLib.formats.files import straightened
from AttentionUNetSegmentationLib.imaging.postprocessing import labels_on_input_grid
from AttentionUNetSegmentationLib.models.loading import Model
from AttentionUNetSegmentationLib.monitor import Cancelled, Monitor
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.volume import Grid, Volume
from support import phantoms

OBLIQUE = phantoms.rotation(17, -9, 28) @ np.diag([-1.0, 1, 1])
GRIDS = {
    "straight": phantoms.grid((60, 90, 90), (1.2, 1.2, 2.0)),
    "oblique, flipped, anisotropic": phantoms.grid((50, 100, 96), (0.9, 1.1, 2.5), OBLIQUE, (12, -30, 140)),
    "left-handed": phantoms.grid((60, 90, 90), (1.2, 1.2, 2.0), np.diag([1.0, 1, -1])),
    "thick slices": phantoms.grid((24, 110, 110), (1.0, 1.0, 5.0), np.diag([-1.0, -1, 1]), (0, 50, -900)),
}
CLASSES_HU = (0.0, 250.0)  # background, organ
ONE_ORGAN = phantoms.LABELS[:1]


def phantom(grid, offset_mm=(5.0, -3.0, 2.0), radius_mm=30.0) -> tuple[Volume, np.ndarray, np.ndarray]:
    """A CT with one ball, the ball's true mask, and its centre."""
    centre = grid.corners_ras_mm().mean(axis=0) + np.array(offset_mm)
    mask = phantoms.ball(grid, centre, radius_mm, edge_mm=3.0)
    return Volume(phantoms.hu_from([(mask, CLASSES_HU[1])], CLASSES_HU[0]), grid.ijk_to_ras), mask > 0.5, centre


def run(volume, labels=ONE_ORGAN, classes_hu=CLASSES_HU, **options):
    predictor = phantoms.ThresholdNetwork(classes_hu)
    spec = phantoms.spec(labels)
    return segment(volume, Model(spec, predictor), Options(**options))


@pytest.mark.parametrize("name", GRIDS)
def test_a_ball_comes_back_in_its_place(name):
    grid = GRIDS[name]
    volume, truth, centre = phantom(grid)
    result = run(volume)
    assert result.labels.shape == grid.shape_kji
    assert result.labels.dtype == np.uint8
    np.testing.assert_array_equal(result.ijk_to_ras, grid.ijk_to_ras)
    assert phantoms.dice(result.labels == 1, truth) > 0.99
    np.testing.assert_allclose(phantoms.centroid_ras_mm(result.labels == 1, grid), centre, atol=0.25)


def test_a_sheared_volume_is_segmented_in_its_own_frame():
    matrix = GRIDS["straight"].ijk_to_ras.copy()
    matrix[1, 2] = 0.5
    grid = type(GRIDS["straight"])(GRIDS["straight"].shape_kji, matrix)
    volume, truth, _ = phantom(grid)
    assert phantoms.dice(run(volume).labels == 1, truth) > 0.99


def test_no_organ_is_found_beyond_a_straightened_scan():
    """Beyond its slanted faces a straightened scan repeats its edge, so an organ at the edge would go on there."""
    matrix = GRIDS["straight"].ijk_to_ras.copy()
    matrix[1, 2] = 0.8
    grid = Grid(GRIDS["straight"].shape_kji, matrix)
    volume, truth, _ = phantom(grid, offset_mm=(0, -50, 0))
    assert truth[:, 0].any()  # it is cut by the anterior or posterior face
    straight = straightened(volume)
    result = run(straight, probabilities=True)
    organ, real = result.labels == 1, grid.contains(straight.grid)
    assert np.count_nonzero(organ) > 1000
    assert not (organ & ~real).any()
    assert not result.probabilities["pancreas"].voxels[~real].any()
    volume_ml = np.count_nonzero(organ) * straight.grid.voxel_volume_ml
    assert volume_ml == pytest.approx(np.count_nonzero(truth) * grid.voxel_volume_ml, rel=0.02)
    assert any("pancreas: reaches the edge" in warning for warning in result.warnings)


def test_a_part_at_a_tilted_scans_face_does_not_grow_beyond_it():
    """Beyond the scan its edge is repeated, so a part of 36 ml at a face would look larger than the organ of 58 ml."""
    grid = phantoms.grid((32, 90, 90), (1.5, 1.5, 2.0), phantoms.rotation(30, 0, 0))
    middle = grid.ijk_to_ras[:3, :3] @ np.array([0, 0, 1.0])
    organ = phantoms.ball(grid, -30 * grid.directions[:, 0], 24, 1.0)
    part = phantoms.ball(grid, 30 * grid.directions[:, 0] + 16 * middle, 26, 1.0)
    volume = Volume(phantoms.hu_from([(organ, CLASSES_HU[1]), (part, CLASSES_HU[1])], CLASSES_HU[0]), grid.ijk_to_ras)
    result = run(volume)
    assert np.count_nonzero(part > 0.5) < 0.8 * np.count_nonzero(organ > 0.5)
    assert phantoms.dice(result.labels == 1, organ > 0.5) > 0.98
    assert phantoms.dice(run(volume, clean_up=False).labels == 1, (organ > 0.5) | (part > 0.5)) > 0.98


def test_an_organ_inside_a_straightened_scan_does_not_reach_its_edge():
    matrix = GRIDS["straight"].ijk_to_ras.copy()
    matrix[1, 2] = 0.5
    volume, _, _ = phantom(Grid(GRIDS["straight"].shape_kji, matrix))
    warnings = run(straightened(volume)).warnings
    assert any("sheared" in warning for warning in warnings)
    assert not any("reaches the edge" in warning for warning in warnings)


def test_flipped_and_permuted_copies_give_the_same_segmentation_in_the_world():
    grid = phantoms.grid((44, 70, 64), (1.5, 1.3, 2.2), phantoms.rotation(0, 0, 9), (4, 5, 6))
    volume, _, _ = phantom(grid, radius_mm=25.0)
    original = Volume((run(volume).labels).astype(np.uint8), grid.ijk_to_ras)
    expected = list(phantoms.flipped_and_permuted(original))
    for copy, wanted in zip(phantoms.flipped_and_permuted(volume), expected, strict=True):
        assert phantoms.dice(run(copy).labels == 1, wanted.voxels == 1) > 0.999, copy.name


@pytest.mark.parametrize("name", GRIDS)
def test_attention_maps_lie_where_the_organ_is_at_every_scale(name):
    volume, _, centre = phantom(GRIDS[name], radius_mm=28.0)
    result = run(volume)
    assert list(result.attention) == ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]
    for gate, attention in result.attention.items():
        factor = 2 ** (int(gate[1]) - 1)
        np.testing.assert_allclose(attention.spacing_mm, (2 * factor,) * 3)
        weights = attention.voxels.astype(float)
        k, j, i = np.meshgrid(*map(np.arange, weights.shape), indexing="ij")
        points = attention.grid.ras_of(np.stack([i, j, k], -1))
        mean = (points * weights[..., None]).sum(axis=(0, 1, 2)) / weights.sum()
        np.testing.assert_allclose(mean, centre, atol=0.5, err_msg=gate)


@pytest.mark.parametrize("edge", [0, 15, 175])
def test_a_tiles_edge_is_a_multiple_of_16(edge):
    with pytest.raises(ValueError, match=f"a tile's edge must be a multiple of 16 voxels, got {edge}"):
        Options(tile=edge)


def test_tiles_and_one_pass_agree():
    volume, _, _ = phantom(GRIDS["straight"])
    whole, tiled = run(volume), run(volume, tile=32)
    assert tiled.provenance["passes"] == "tiles of 32 voxels"
    assert tiled.provenance["versions"]["torch"] == str(torch.__version__)
    assert phantoms.dice(whole.labels == 1, tiled.labels == 1) > 0.999
    for gate, attention in whole.attention.items():
        np.testing.assert_allclose(tiled.attention[gate].voxels, attention.voxels, atol=1e-5)
        np.testing.assert_allclose(tiled.attention[gate].ijk_to_ras, attention.ijk_to_ras)


def abdomen() -> tuple[Volume, dict[str, np.ndarray]]:
    """Four organs of their own HU, a spine, and an island of pancreas."""
    grid = phantoms.grid((50, 90, 110), (2, 2, 2), np.diag([-1.0, -1, 1]))
    organs = {
        "pancreas": (phantoms.ball(grid, (0, 20, 10), 14, 1), 60.0),
        "island": (phantoms.ball(grid, (50, 40, -20), 8, 1), 60.0),
        "spleen": (phantoms.ball(grid, (-65, 10, 15), 22, 1), 120.0),
        "right kidney": (phantoms.ball(grid, (45, -30, 0), 18, 1), 180.0),
        "left kidney": (phantoms.ball(grid, (-45, -40, -15), 18, 1), 180.0),
        "spine": (phantoms.ball(grid, (0, -45, 0), 20, 1), 300.0),
    }
    masks = {name: mask > 0.5 for name, (mask, _) in organs.items()}
    return Volume(phantoms.hu_from(list(organs.values()), -150.0), grid.ijk_to_ras), masks


ABDOMEN_HU = (-150.0, 60.0, 120.0, 180.0)


class OrganNetwork(phantoms.ThresholdNetwork):
    """Scores by HU; what is denser than 240 HU is background."""

    def __call__(self, x):
        logits, attention = super().__call__(x)
        bone = x * self.intensity.std_hu + self.intensity.mean_hu > 230
        logits[:, :1] = torch.where(bone, 50.0, logits[:, :1])
        return logits, attention


def run_abdomen(**options):
    volume, masks = abdomen()
    network = OrganNetwork(ABDOMEN_HU)
    return segment(volume, Model(phantoms.spec(), network), Options(**options)), masks


def test_organs_get_their_values_and_kidneys_their_sides():
    result, masks = run_abdomen()
    assert {organ.name: organ.value for organ in result.organs} == {
        "pancreas": 1,
        "spleen": 2,
        "right kidney": 3,
        "left kidney": 4,
    }
    for organ in result.organs:
        # soft edges between organs and background pass through other organs' HU, so edges are not sharp here
        assert phantoms.dice(result.labels == organ.value, masks[organ.name]) > 0.85, organ.name
    assert not (result.labels == 1)[masks["island"]].any()


@pytest.mark.parametrize("spine", ["whole", "half", "none"])
def test_a_kidney_in_the_right_part_of_a_body_is_the_right_kidney(spine):
    volume, _ = abdomen()
    k, j, i = np.meshgrid(*map(np.arange, volume.voxels.shape), indexing="ij")
    right, front, _ = np.moveaxis(volume.grid.ras_of(np.stack([i, j, k], axis=-1)), -1, 0)
    hu = np.where((right / 100) ** 2 + (front / 75) ** 2 < 1, volume.voxels, -1000)
    columns = slice(0, {"whole": 70, "half": 55, "none": 44}[spine])  # i runs to the left
    part = Volume(np.ascontiguousarray(hu[:, :, columns]), volume.ijk_to_ras)
    result = segment(part, Model(phantoms.spec(), OrganNetwork(ABDOMEN_HU)), Options(attention=False))
    measures = {measure.organ.name: measure.volume_ml for measure in result.organ_measures}
    assert measures["right kidney"] == pytest.approx(24.4, rel=0.15)
    assert measures["left kidney"] == 0
    assert "left kidney: not found" in result.warnings
    assert not any("not split" in warning for warning in result.warnings)


def test_a_piece_at_the_edge_of_the_field_is_said_not_shown():
    volume, _ = abdomen()
    top = Volume(
        volume.voxels[35:], volume.grid.crop((35, 0, 0), (15, 90, 110)).ijk_to_ras
    )  # cuts the pancreas' cap off
    labels = tuple(dataclasses.replace(label, plausible_ml=(20.0, 700.0)) for label in phantoms.LABELS)
    model = Model(phantoms.spec(labels), OrganNetwork(ABDOMEN_HU))
    result = segment(top, model, Options(attention=False))
    (said,) = [warning for warning in result.warnings if warning.startswith("pancreas")]
    assert not (result.labels == 1).any()
    assert re.match(r"pancreas: [0-2]\.\d ml at the edge of the field are not shown, too little for an organ", said)
    assert (segment(top, model, Options(attention=False, clean_up=False)).labels == 1).any()


@pytest.mark.parametrize(
    ("radius_mm", "said"), [(16.0, ["pancreas: a separate part of 17 ml is not shown"]), (11.0, []), (8.0, [])]
)
def test_a_large_part_that_the_clean_up_takes_away_is_said(radius_mm, said):
    """The organ has 38 ml; the smaller parts have 6 and 2 ml."""
    grid = GRIDS["straight"]
    parts = [phantoms.ball(grid, (side, 0, 0), radius, 3.0) for side, radius in ((-22, 21.0), (28, radius_mm))]
    volume = Volume(phantoms.hu_from([(part, CLASSES_HU[1]) for part in parts], CLASSES_HU[0]), grid.ijk_to_ras)
    labels = (dataclasses.replace(ONE_ORGAN[0], plausible_ml=(20.0, 700.0)),)
    assert [warning for warning in run(volume, labels).warnings if "separate" in warning] == said


def test_a_part_is_large_by_itself_whatever_the_organs_size():
    """14 ml beside 165 ml, the size of a lower pole, are less than a fifth."""
    grid = GRIDS["straight"]
    parts = [phantoms.ball(grid, (side, 0, 0), radius, 3.0) for side, radius in ((-18, 34.0), (36, 15.0))]
    volume = Volume(phantoms.hu_from([(part, CLASSES_HU[1]) for part in parts], CLASSES_HU[0]), grid.ijk_to_ras)
    assert "pancreas: a separate part of 14 ml is not shown" in run(volume).warnings


@pytest.mark.parametrize(("sides", "kept"), [(None, 1), (phantoms.KIDNEY_SIDES, 2)])
def test_a_far_part_goes_unless_the_organ_is_a_pair(sides, kept):
    grid = phantoms.grid((100, 30, 30), (2, 2, 2))
    parts = [phantoms.ball(grid, (0, 0, side), radius, 3.0) for side, radius in ((-75, 20.0), (75, 18.0))]
    volume = Volume(phantoms.hu_from([(part, CLASSES_HU[1]) for part in parts], CLASSES_HU[0]), grid.ijk_to_ras)
    result = run(volume, (dataclasses.replace(ONE_ORGAN[0], components=2, sides=sides),))
    assert [bool(((part > 0.5) & (result.labels > 0)).any()) for part in parts] == [True, kept == 2]
    assert any("a separate part of 24 ml is not shown" in warning for warning in result.warnings) == (kept == 1)


def test_a_ct_of_a_leg_is_noticed():
    grid = GRIDS["straight"]
    volume = Volume(phantoms.hu_from([(phantoms.ball(grid, (0, 0, 0), 40), 40.0)], -1000.0), grid.ijk_to_ras)
    assert any("this may be a head, a limb" in warning for warning in run(volume).warnings)
    cut = dataclasses.replace(volume, cut_faces=((2, 0),))  # a region of interest, which the user chose
    assert not any("this may be a head" in warning for warning in run(cut).warnings)


def test_clean_up_and_split_are_optional():
    result, masks = run_abdomen(clean_up=False, split_sides=False)
    assert [organ.name for organ in result.organs] == ["pancreas", "spleen", "kidney"]
    assert (result.labels == 1)[masks["island"]].mean() > 0.5
    assert (result.labels == 5)[masks["right kidney"] | masks["left kidney"]].mean() > 0.8


def test_probability_maps_on_request():
    result, masks = run_abdomen(probabilities=True, attention=False)
    assert not result.attention
    assert list(result.probabilities) == ["pancreas", "spleen", "kidney"]
    spleen = result.probabilities["spleen"]
    assert spleen.grid.same_as(result.grid)
    assert spleen.voxels[masks["spleen"]].mean() > 0.7
    assert spleen.voxels[masks["pancreas"]].mean() < 0.3
    assert 0 <= spleen.voxels.min() <= spleen.voxels.max() <= 1


def test_splitting_only_renames_kidney_voxels():
    split, _ = run_abdomen(split_sides=True)
    whole, _ = run_abdomen(split_sides=False)
    np.testing.assert_array_equal(np.isin(split.labels, (3, 4)), whole.labels == 5)


def test_nothing_found_is_said_and_not_an_error():
    grid = GRIDS["straight"]
    voxels = np.random.default_rng(0).normal(-300, 5, grid.shape_kji)
    result = run(Volume(voxels, grid.ijk_to_ras), phantoms.LABELS, (-300.0, 60.0, 120.0, 180.0))
    assert not result.labels.any()
    assert {"pancreas: not found", "spleen: not found", "kidney: not found"} <= set(result.warnings)


def test_constant_scores_win_everywhere_or_nowhere():
    network_grid, target = phantoms.grid((8, 9, 10), (2, 2, 2)), phantoms.grid((11, 12, 13), (1, 1.3, 1.2))
    for winner in range(3):
        scores = np.zeros((3, 8, 9, 10), np.float32)
        scores[winner] = 2.0
        labels = labels_on_input_grid(scores, (7, 9), network_grid, target, Monitor())
        assert (labels == (0, 7, 9)[winner]).all()


def test_progress_rises_and_names_the_steps():
    volume, _, _ = phantom(GRIDS["straight"])
    seen = []
    network = phantoms.ThresholdNetwork(CLASSES_HU)
    model = Model(phantoms.spec(ONE_ORGAN), network)
    segment(volume, model, progress=lambda f, step: seen.append((f, step)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    steps = list(dict.fromkeys(step for _, step in seen))
    assert steps == [*STEPS, "done"]


STEPS = ["preparing the CT", "running the network", "cleaning up", "writing labels to the CT's grid"]


@pytest.mark.parametrize("step", STEPS)
def test_cancel_inside_every_step(step):
    """Cancelled at the second question within a step: the first comes from the step's beginning."""
    volume, _, _ = phantom(GRIDS["straight"])
    current, questions = [""], []

    def cancel() -> bool:
        questions.append(current[-1] == step)
        return sum(questions) == 2

    network = phantoms.ThresholdNetwork(CLASSES_HU)
    with pytest.raises(Cancelled):
        segment(
            volume,
            Model(phantoms.spec(ONE_ORGAN), network),
            progress=lambda f, name: current.append(name),
            cancel=cancel,
        )
    assert current[-1] == step


def test_tiles_blend_a_network_that_looks_around():
    """The predictor blurs over 9 voxels: tiles must overlap and favour their middles, or seams appear."""
    volume, _, _ = phantom(GRIDS["straight"])

    class Blurring(phantoms.ThresholdNetwork):
        def __call__(self, x):
            logits, attention = super().__call__(x)
            return torch.nn.functional.avg_pool3d(logits, 9, stride=1, padding=4), attention

    results = []
    for tile in (None, 48):
        network = Blurring(CLASSES_HU)
        results.append(segment(volume, Model(phantoms.spec(ONE_ORGAN), network), Options(tile=tile)))
    assert phantoms.dice(results[0].labels == 1, results[1].labels == 1) > 0.99


def test_provenance_says_what_was_run():
    volume, _, _ = phantom(GRIDS["straight"])
    provenance = run(volume).provenance
    assert provenance["model"] == "test-model"
    assert provenance["device"] == "cpu" or torch.cuda.is_available()
    assert provenance["seconds"]["total"] >= provenance["seconds"]["running the network"] >= 0


def test_a_network_with_the_wrong_classes_is_refused():
    volume, _, _ = phantom(GRIDS["straight"])
    network = phantoms.ThresholdNetwork(CLASSES_HU)
    with pytest.raises(ValueError, match="gave 2 classes, the model describes 4"):
        segment(volume, Model(phantoms.spec(), network))


def test_scores_that_are_not_numbers_are_refused():
    volume, _, _ = phantom(GRIDS["straight"])
    with pytest.raises(RuntimeError, match="not finite"):
        segment(volume, Model(phantoms.spec(ONE_ORGAN), lambda x: (torch.full((1, 2, *x.shape[2:]), torch.nan), {})))


def test_the_untrained_network_runs_end_to_end():
    volume, _, _ = phantom(phantoms.grid((20, 33, 41), (3, 3, 3)))
    result = segment(volume, phantoms.model())
    assert list(result.attention) == ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]
    assert all(attention.voxels.min() > 0 for attention in result.attention.values())


def test_the_picture_is_black_beyond_a_straightened_scan():
    matrix = GRIDS["straight"].ijk_to_ras.copy()
    matrix[1, 2] = 0.8
    grid = Grid(GRIDS["straight"].shape_kji, matrix)
    straight = straightened(Volume(np.full(grid.shape_kji, 40.0, np.float32), matrix))
    picture = overview._slice(straight, "sagittal", straight.grid.corners_ras_mm().mean(axis=0)).hu[0]
    low = overview.WINDOW_HU[0]
    assert picture[0, 0] == pytest.approx(40) and picture[0, -1] == low  # the bottom of the scan lies further back
    assert picture[-1, 0] == low and picture[-1, -1] == pytest.approx(40)
