"""Which labels mean which organ, and how labels are placed on their CT: geometry, flips, content."""

from pathlib import Path

import numpy as np
import pytest

from attention_unet_training.preparation.agreement import agreed_turn, following, outvoted
from attention_unet_training.preparation.alignment import NOT_TURNED, Lie, align, on_same_places, turn_name
from attention_unet_training.preparation.case import resample_classes
from attention_unet_training.preparation.label_fit import AS_IS, TURNS, Turn, fits
from attention_unet_training.preparation.label_reading import read_classes
from attention_unet_training.preparation.layouts import find_source
from attention_unet_training.preparation.organ_names import labelled_organs, map_names, meaning
from attention_unet_training.preparation.records import IGNORED
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support import prepare_phantoms as made
from support.shared_data import DATA, reason

pytestmark = pytest.mark.slow

TUMOUR = {"pancreatic tumor": "pancreas"}
ORGANS = ("pancreas", "spleen", "kidney")
SAMPLE = Path(__file__).parents[2] / "AttentionUNetSegmentation" / "Resources" / "SampleData"
SLAB = DATA / "ct_dicom_slab"
ELSEWHERE = np.diag([1.0, 1, 1, 1])


@pytest.fixture(scope="module")
def sample() -> tuple[Volume, Volume]:
    """The synthetic CT that the extension carries, and its truth: 1 pancreas, 2 spleen, 3 kidneys."""
    return read_volume(SAMPLE / "SyntheticAbdomenCT.nrrd"), read_volume(SAMPLE / "SyntheticAbdomenCT.labels.nrrd")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["kidney_left", "kidney_right"], {"kidney_left": "kidney", "kidney_right": "kidney"}),
        (["Kidney (L)", "Right Kidney", "KIDNEYS"], dict.fromkeys(("Kidney (L)", "Right Kidney", "KIDNEYS"), "kidney")),
        (["rt kidney", "Spleen"], {"rt kidney": "kidney", "Spleen": "spleen"}),
        (["background", "liver", "kidney_cyst_left", "left adrenal gland"], {}),
        (["pancreas", "cancer"], {"pancreas": "pancreas", "cancer": "pancreas"}),
        (["pancreas", "spleen", "cancer"], {"pancreas": "pancreas", "spleen": "spleen"}),
        (["spleen", "Pancreas Tumour"], {"spleen": "spleen", "Pancreas Tumour": "pancreas"}),
        (["pancreas tumors", "spleen"], {"pancreas tumors": "pancreas", "spleen": "spleen"}),
        (["pancreas", "Lesions", "metastases"], dict.fromkeys(("pancreas", "Lesions", "metastases"), "pancreas")),
        (["pancreas", "spleen", "pancreatic tumor"], {"pancreas": "pancreas", "spleen": "spleen"} | TUMOUR),
        (["spleen metastasis", "spleen"], dict.fromkeys(("spleen metastasis", "spleen"), "spleen")),
    ],
)
def test_labels_are_mapped_by_name(names, expected):
    assert map_names(names, ORGANS) == expected


def test_a_tumour_that_is_wanted_is_not_the_rest_of_its_organ():
    names = ["pancreas", "cancer", "spleen", "kidney tumour"]
    assert map_names(names, ["pancreas tumour"]) == {"cancer": "pancreas tumour"}
    assert map_names(names, ["kidney tumor"]) == {"cancer": "kidney tumor", "kidney tumour": "kidney tumor"}
    both = map_names(names, ["pancreas", "pancreas tumour"])
    assert both == {"pancreas": "pancreas", "cancer": "pancreas tumour"}
    with pytest.raises(ValueError, match="'pancreas tumour' is wanted as an organ, and tumours as background"):
        map_names(names, ["pancreas tumour"], "background")


def test_tumours_can_be_background():
    mapping = map_names(["pancreas", "cancer", "spleen tumor", "lesions"], ORGANS, "background")
    tumours = dict.fromkeys(("cancer", "spleen tumor", "lesions"), "background")
    assert mapping == {"pancreas": "pancreas"} | tumours
    with pytest.raises(ValueError, match="must be one of organ, background, got 'ignore'"):
        map_names(["pancreas"], ORGANS, "ignore")


@pytest.mark.parametrize(
    ("names", "tumour", "expected"),
    [
        (("kidney",), "organ", "kidney"),
        (("tumour", "kidney", "masses"), "organ", "kidney"),  # a region says more than the tumour's own name
        (("tumour", "kidney"), "background", ""),
        (("masses",), "organ", ""),
        (("kidney", "kidney_left"), "organ", "kidney"),
        (("Ignore",), "organ", "ignore"),
    ],
)
def test_a_value_means_what_all_its_names_say(names, tumour, expected):
    everything = ["kidney", "kidney_left", "masses", "spleen", "pancreas", "tumour", "Ignore"]
    assert meaning(2, names, map_names(everything, ORGANS, tumour)) == expected


def test_a_value_of_two_organs_is_refused():
    mapping = map_names(["kidney", "spleen", "ignore"], ORGANS)
    with pytest.raises(ValueError, match="the label value 3 belongs to kidney and to spleen: spleen, kidney"):
        meaning(3, ("spleen", "kidney"), mapping)
    with pytest.raises(ValueError, match="belongs to ignore and to kidney"):
        meaning(3, ("ignore", "kidney"), mapping)
    assert labelled_organs(["ignore", "spleen"], ORGANS, required=False) == ("spleen",)


def test_an_organ_with_a_side_takes_that_side_only():
    mapping = map_names(["kidney_left", "kidney_right"], ["right kidney", "left kidney"])
    assert mapping == {"kidney_left": "left kidney", "kidney_right": "right kidney"}


def test_an_organ_that_cannot_be_mapped_is_told_with_the_labels_found():
    assert labelled_organs(["Pancreas", "liver"], ORGANS, required=False) == ("pancreas",)
    with pytest.raises(ValueError, match="no label means spleen or kidney; the labels are: Pancreas, liver"):
        labelled_organs(["Pancreas", "liver"], ORGANS, required=True)
    with pytest.raises(ValueError, match="no label means pancreas or spleen or kidney; the labels are: liver"):
        labelled_organs(["liver"], ORGANS, required=False)


def test_labels_in_another_order_of_axes_are_put_in_place():
    ct, labels = made.abdomen()
    for turned in phantoms.flipped_and_permuted(labels):
        np.testing.assert_array_equal(on_same_places(turned, ct.grid), labels.voxels)
        aligned = align(turned, ct)
        np.testing.assert_array_equal(aligned.classes, labels.voxels)
        assert aligned.notes == ()


def test_labels_a_fraction_of_a_voxel_away_are_in_place_and_further_away_not():
    ct, labels = made.abdomen()
    for moved_vox, in_place in ((0.2, True), (0.3, False), (1.0, False)):
        matrix = labels.ijk_to_ras.copy()
        matrix[:3, 3] += matrix[:3, 1] * moved_vox
        assert (on_same_places(Volume(labels.voxels, matrix), ct.grid) is not None) == in_place
    oblique = labels.ijk_to_ras.copy()
    oblique[:3, :3] = phantoms.rotation(0, 0, 5) @ oblique[:3, :3]
    assert on_same_places(Volume(labels.voxels, oblique), ct.grid) is None


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("organs", [(1,), (2,), (3,), (1, 2, 3)])
def test_turns_of_the_sample_cts_labels_are_found(sample, turn, organs):
    ct, labels = sample
    wanted = made.only(labels, {value: value for value in organs}).voxels
    found = np.flip(wanted, turn.flip)
    found = np.ascontiguousarray(found.swapaxes(1, 2) if turn.transposed else found)
    for matrix in (ct.ijk_to_ras, ELSEWHERE):
        aligned = align(Volume(found, matrix), ct)
        np.testing.assert_array_equal(aligned.classes, wanted)
        told = " ".join(aligned.notes)
        if turn != AS_IS:
            assert turn_name(turn, ct.grid) in told
        else:
            assert "labels flipped" not in told
            assert "exchanged" not in told


@pytest.mark.parametrize("shape_kji", [(24, 36, 44), (24, 44, 44)])
def test_labels_with_x_and_y_exchanged_are_found(shape_kji):
    ct, labels = made.abdomen(grid=phantoms.grid(shape_kji, (1.5, 1.5, 1.5)))
    for voxels in (labels.voxels.swapaxes(1, 2), np.flip(labels.voxels, 1).swapaxes(1, 2)):
        aligned = align(Volume(np.ascontiguousarray(voxels), ct.ijk_to_ras), ct)
        np.testing.assert_array_equal(aligned.classes, labels.voxels)
        assert "with x and y exchanged" in aligned.notes[0]


def test_ignored_voxels_are_turned_along_and_do_not_decide():
    ct, labels = made.abdomen()
    labels.voxels[:4] = IGNORED
    aligned = align(Volume(np.flip(labels.voxels, 2), ct.ijk_to_ras), ct)
    np.testing.assert_array_equal(aligned.classes, labels.voxels)
    only_ignored = np.where(labels.voxels == IGNORED, labels.voxels, 0)
    assert "too small to check" in align(Volume(only_ignored, ct.ijk_to_ras), ct).notes[0]


@pytest.mark.skipif(not SLAB.is_dir(), reason=reason(SLAB))
@pytest.mark.parametrize("organ", [1, 2])
def test_turns_of_a_real_cts_labels_are_found(organ):
    """DICOM whose label file has another order of rows; pancreas and spleen are cut by the field of view."""
    ct, labels = read_volume(SLAB / "dicom"), read_volume(SLAB / "labels.nii.gz")
    assert not labels.grid.same_as(ct.grid)
    aligned = align(made.only(labels, {organ: 1}), ct)
    assert aligned.notes == ()
    for turn in TURNS:
        found = np.flip(aligned.classes, turn.flip)
        found = found.swapaxes(1, 2) if turn.transposed else found
        turned = align(Volume(np.ascontiguousarray(found), ELSEWHERE), ct)
        np.testing.assert_array_equal(turned.classes, aligned.classes)


def test_the_fit_of_labels_in_place_is_far_above_that_of_flipped_ones(sample):
    ct, labels = sample
    for value in (1, 2, 3):
        found = fits(made.only(labels, {value: value}).voxels, ct)
        assert found[AS_IS] > 0.2
        assert max(fit for turn, fit in found.items() if turn != AS_IS) < 0.05


def test_the_fit_has_the_value_that_two_normal_distributions_give():
    grid = phantoms.grid((20, 20, 20), (4, 4, 4))
    classes = np.zeros(grid.shape_kji, dtype=np.uint8)
    classes[5:15, 5:15, 5:15] = 1
    ct = Volume(np.where(classes, 100.0, 0.0), grid.ijk_to_ras)
    # spread 0 + noise 10 on both sides, pooled variance (100 - 0)^2 / 4 + 10^2
    assert fits(classes, ct)[AS_IS] == pytest.approx(0.5 * np.log(2600) - 0.5 * np.log(100))
    assert fits(classes, Volume(np.zeros(grid.shape_kji), grid.ijk_to_ras))[AS_IS] == 0
    assert fits(classes * 0, ct) == {}


def test_turns_are_named_by_the_patients_directions():
    standing = phantoms.grid((4, 5, 6))
    assert turn_name(AS_IS, standing) == "not flipped"
    assert turn_name(Turn((0,)), standing) == "flipped up-down"
    assert turn_name(Turn((1, 2)), standing) == "flipped left-right and front-back"
    assert turn_name(Turn((1,), True), standing) == "with x and y exchanged and flipped front-back"
    sagittal = phantoms.grid((4, 5, 6), directions=np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    named = [turn_name(Turn((axis,)), sagittal) for axis in (0, 1, 2)]
    assert named == ["flipped left-right", "flipped up-down", "flipped front-back"]


def test_what_stays_ambiguous_is_refused():
    """A ball in the middle looks the same however it is flipped."""
    ct, _ = made.abdomen()
    ball = phantoms.ball(ct.grid, ct.grid.corners_ras_mm().mean(axis=0), 8) > 0.5
    hu = np.where(ball, 60.0, -90.0)
    labels = Volume(ball.astype(np.uint8), ELSEWHERE)
    with pytest.raises(ValueError, match="content does not tell how they lie"):
        align(labels, Volume(hu, ct.ijk_to_ras))
    in_place = align(Volume(labels.voxels, ct.ijk_to_ras), Volume(hu, ct.ijk_to_ras))
    assert in_place.notes == ()


def test_labels_that_fit_two_flips_but_not_their_own_geometry_are_refused():
    ct, _ = made.abdomen()
    spot = np.zeros(ct.voxels.shape, dtype=bool)
    spot[2:7, 4:12, 4:12] = True
    hu = np.where(np.flip(spot, 0) | np.flip(spot, 1), 60.0, -90.0)
    with pytest.raises(ValueError, match="do not fit the CT where their geometry puts them"):
        align(Volume(spot.astype(np.uint8), ct.ijk_to_ras), Volume(hu, ct.ijk_to_ras))


def test_labels_that_content_cannot_judge_keep_their_geometry_with_a_note():
    ct, _ = made.abdomen()
    even = Volume(np.random.default_rng(0).normal(40, 5, ct.voxels.shape), ct.ijk_to_ras)
    block = np.zeros(ct.voxels.shape, dtype=np.uint8)
    block[4:9, 5:15, 5:15] = 1
    assert "fit the CT weakly" in align(Volume(block, ct.ijk_to_ras), even).notes[0]
    dot = np.zeros(ct.voxels.shape, dtype=np.uint8)
    dot[3, 3, 3] = 1
    assert "too small to check" in align(Volume(dot, ct.ijk_to_ras), even).notes[0]
    with pytest.raises(ValueError, match="too small to tell"):
        align(Volume(dot, ELSEWHERE), even)


FLIPPED, OTHER = "flipped up-down", "flipped left-right"


@pytest.mark.parametrize(
    ("turns", "sure", "agreed", "left_out", "follow"),
    [
        ([NOT_TURNED] * 3, "yyy", NOT_TURNED, [], []),
        ([NOT_TURNED, NOT_TURNED, FLIPPED], "yyy", NOT_TURNED, [2], []),  # chance, or another flip: a person looks
        ([FLIPPED, FLIPPED, OTHER, NOT_TURNED], "yyny", FLIPPED, [], [2]),
        ([FLIPPED, FLIPPED, FLIPPED, OTHER], "yyyy", FLIPPED, [3], []),
        ([FLIPPED, FLIPPED, NOT_TURNED, ""], "yynn", FLIPPED, [], [2]),  # too small to be asked; refused already
        ([FLIPPED, FLIPPED, NOT_TURNED], "yyy", FLIPPED, [], []),  # geometry and content are one
        ([FLIPPED, FLIPPED, OTHER, OTHER], "yyyy", "", [], []),
        ([FLIPPED], "y", "", [], []),
        ([], "", "", [], []),
    ],
)
def test_cases_agree_how_labels_lie(turns, sure, agreed, left_out, follow):
    lies = {n: Lie(True, turn, word == "y") for n, (turn, word) in enumerate(zip(turns, sure, strict=True))}
    assert agreed_turn(lies) == agreed
    assert list(outvoted(lies)) == left_out
    assert following(lies) == dict.fromkeys(follow, agreed)
    assert all(f"but most of this source's lie {agreed}" in reason for reason in outvoted(lies).values())


def test_labels_without_a_place_on_the_ct_neither_vote_nor_follow():
    found, placed = Lie(False, FLIPPED, True), Lie(True, NOT_TURNED, True)
    lies = dict(enumerate([found, found, found, Lie(False, "", False), placed]))
    assert (agreed_turn(lies), outvoted(lies), following(lies)) == ("", {}, {})


@pytest.mark.parametrize("turn", TURNS)
def test_labels_are_turned_as_agreed_whatever_content_says(turn):
    ct, labels = made.abdomen(grid=phantoms.grid((24, 44, 44), (1.5, 1.5, 1.5)))
    agreed = turn_name(turn, ct.grid)
    aligned = align(labels, ct, agreed)
    np.testing.assert_array_equal(aligned.classes, turn.applied(labels.voxels))
    assert aligned.lie == Lie(True, agreed, False)
    assert aligned.notes == (f"labels taken as most of this source's lie, {agreed}; in themselves they do not tell",)


def test_labels_that_cannot_be_turned_as_agreed_are_refused():
    ct, labels = made.abdomen()
    with pytest.raises(ValueError, match="lie as most of their source's do, with x and y exchanged: their CT has ano"):
        align(labels, ct, "with x and y exchanged")
    cube, of_cube = made.abdomen(grid=phantoms.grid((44, 44, 44), (1.5, 1.5, 1.5)))
    with pytest.raises(ValueError, match="lie as most of their source's do, flipped up-front"):
        align(of_cube, cube, "flipped up-front")  # which no turn of this CT is


def test_geometry_can_be_trusted(sample):
    ct, labels = sample
    flipped = Volume(np.ascontiguousarray(np.flip(labels.voxels, 2)), ct.ijk_to_ras)
    aligned = align(flipped, ct, trust_geometry=True)
    np.testing.assert_array_equal(aligned.classes, flipped.voxels)
    assert (aligned.lie, aligned.notes) == (Lie(True, NOT_TURNED, False), ())
    elsewhere = align(Volume(flipped.voxels, ELSEWHERE), ct, trust_geometry=True)
    np.testing.assert_array_equal(elsewhere.classes, labels.voxels)  # geometry says nothing


def test_overlapping_masks_are_told(tmp_path):
    source = made.write_totalsegmentator(tmp_path, ["s1"], ())
    spleen = made.only(made.abdomen(0)[1], {2: 1})
    spleen.voxels[np.nonzero(made.abdomen(0)[1].voxels == 1)[0][0]] = 1  # a whole slice, with some of the pancreas
    made.save(spleen, source / "s1" / "segmentations" / "spleen.nii.gz")
    (case,) = find_source(source).cases
    found = read_classes(case, {"pancreas": "pancreas", "spleen": "spleen"}, ("pancreas", "spleen"))
    overlap = np.count_nonzero((made.abdomen(0)[1].voxels == 1) & (spleen.voxels == 1))
    assert overlap > 0
    assert found.notes == (f"{overlap} voxels are marked as spleen and as another organ, and were taken as spleen",)
    np.testing.assert_array_equal(found.voxels == 2, spleen.voxels == 1)


def test_labels_with_other_voxels_than_the_ct_are_a_geometry_mismatch():
    ct, labels = made.abdomen()
    with pytest.raises(ValueError, match="the labels have 44 x 36 x 20 voxels, the CT has 44 x 36 x 24"):
        align(Volume(labels.voxels[:20], labels.ijk_to_ras), ct)


def test_resampled_classes_keep_their_places_and_volumes():
    ct, labels = made.abdomen()
    coarse = phantoms.grid((20, 30, 36), (2, 2, 2), centre_ras_mm=ct.grid.corners_ras_mm().mean(axis=0))
    result = resample_classes(labels.voxels, labels.grid, coarse, 4)
    for value in (1, 2, 3, 4):
        before, after = labels.voxels == value, result == value
        centres = phantoms.centroid_ras_mm(after, coarse), phantoms.centroid_ras_mm(before, labels.grid)
        np.testing.assert_allclose(*centres, atol=0.5)  # a quarter of a voxel
        assert np.count_nonzero(after) * 2.0**3 == pytest.approx(np.count_nonzero(before) * 1.5**3, rel=0.15)
    np.testing.assert_array_equal(resample_classes(labels.voxels, labels.grid, labels.grid, 4), labels.voxels)


def test_resampling_keeps_ignored_voxels():
    fine, coarse = phantoms.grid((12, 12, 12)), phantoms.grid((6, 6, 6), (2, 2, 2))
    classes = np.zeros(fine.shape_kji, dtype=np.uint8)
    classes[:, :6], classes[:, 6:8] = 1, IGNORED
    expected = np.zeros(coarse.shape_kji, dtype=np.uint8)
    expected[:, :3], expected[:, 3] = 1, IGNORED
    np.testing.assert_array_equal(resample_classes(classes, fine, coarse, 1), expected)


def test_resampled_blocks_of_whole_voxels_stay_exact():
    fine, coarse = phantoms.grid((12, 12, 12)), phantoms.grid((6, 6, 6), (2, 2, 2))
    expected = np.zeros(coarse.shape_kji, dtype=np.uint8)
    expected[1:3, 1:4, 2:5], expected[3:5, 1:4, 2:5] = 1, 2
    classes = expected.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(resample_classes(classes, fine, coarse, 2), expected)
