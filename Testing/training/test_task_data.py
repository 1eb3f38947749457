"""Patches of prepared cases: what is drawn, what is repeated, what is never touched."""

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_unet_training.data.augmentation import (
    Augmentation,
    draw_matrix,
    draw_patch,
    draw_patch_of_volume,
    draw_start,
    read_window,
)
from attention_unet_training.data.case_patches import OrganMap, TrainingPatches, ValidationCases
from attention_unet_training.data.cases_data import CasesData, choose_validation
from attention_unet_training.data.sampling import EpochSampler
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.preparation.records import IGNORED
from attention_unet_training.preparation.volume_scaling import scaled_volume
from AttentionUNetSegmentationLib.inference.prediction import pad_to_multiple
from support import prepared_cases

STILL = Augmentation(affine_probability=0, flip_probability=0, organ_probability=0)
ORGANS = list(prepared_cases.ORGANS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return prepared_cases.write_dataset(tmp_path_factory.mktemp("data") / "dataset", count=6)


@pytest.fixture(scope="module")
def cases(folder):
    return PreparedDataset.open(folder).cases


def data(folder: Path, **changes) -> CasesData:
    module = CasesData(folder, ORGANS, **({"shape_kji": (16, 16, 16), "workers": 0, "validation_cases": 1} | changes))
    module.setup("fit")
    return module


def test_a_window_beyond_the_case_repeats_its_edge_as_the_engine_pads():
    array = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(read_window(array, (0, 0, 0), (16, 16, 16)), pad_to_multiple(array, 16))
    window = read_window(array, (-1, 1, 2), (2, 2, 4))
    assert np.array_equal(window[0], window[1])
    assert window[0].tolist() == [[6, 7, 7, 7], [10, 11, 11, 11]]


@pytest.mark.parametrize("start", [(5, 0, 0), (-9, 0, 0)])
def test_a_window_outside_the_case_holds_its_edge(start):
    array = np.array([1, 2], np.float32).reshape(2, 1, 1)
    assert read_window(array, start, (3, 1, 1)).ravel().tolist() == ([2] * 3 if start[0] > 0 else [1] * 3)


def test_without_augmentation_a_patch_is_a_piece_of_the_case(cases):
    image, labels = cases[0].image(), cases[0].labels()
    rng = np.random.default_rng(3)
    start = draw_start(labels, (8, 8, 8), 0, np.random.default_rng(3))
    patch, target = draw_patch(image, labels, (8, 8, 8), STILL, rng)
    piece = tuple(slice(first, first + 8) for first in start)
    assert np.array_equal(patch[0].numpy(), image[piece].astype(np.float32))
    assert np.array_equal(target[0].numpy(), labels[piece])
    assert (patch.dtype, target.dtype) == (torch.float32, torch.int64)


def test_an_affine_map_of_nothing_changes_nothing(cases):
    still = Augmentation(rotation_deg=(0, 0, 0), scale=(1 + 1e-9, 1 + 1e-9), flip_probability=0, organ_probability=0)
    image, labels = cases[0].image(), cases[0].labels()
    mapped, mapped_target = draw_patch(image, labels, (8, 10, 12), still, np.random.default_rng(5))
    plain, target = draw_patch(image, labels, (8, 10, 12), STILL, np.random.default_rng(5))
    torch.testing.assert_close(mapped, plain, rtol=0, atol=1e-4)
    assert torch.equal(mapped_target, target)


def test_a_magnified_cube_has_the_expected_size():
    """A cube of 8 voxels at twice its size is 16 voxels wide, and still in the middle."""
    labels = np.zeros((32, 32, 32), np.uint8)
    labels[12:20, 12:20, 12:20] = 1
    double = Augmentation((0, 0, 0), (2, 2), flip_probability=0, organ_probability=0)
    image, target = draw_patch(labels.astype(np.float32), labels, (32, 32, 32), double, np.random.default_rng(0))
    occupied = np.argwhere(target[0].numpy())
    assert occupied.min(axis=0).tolist() == [8, 8, 8]
    assert occupied.max(axis=0).tolist() == [23, 23, 23]
    assert image[0, 16, 16, 16] == 1


def test_rotations_turn_about_the_given_axis_within_the_given_angle():
    only_axial = Augmentation(rotation_deg=(15, 0, 0), scale=(1, 1))
    for seed in range(20):
        matrix = draw_matrix(only_axial, (8, 8, 8), np.random.default_rng(seed))
        assert matrix[0, :3].tolist() == [1, 0, 0]
        assert abs(np.degrees(np.arctan2(matrix[2, 1], matrix[1, 1]))) <= 15
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(4), atol=1e-12)


def test_magnification_and_shift_stay_on_their_axes():
    in_plane = Augmentation((0, 0, 0), (0.7, 1.3), scaled_axes=(1, 2), translation=(0, 0.1, 0.1))
    matrices = [draw_matrix(in_plane, (90, 100, 200), np.random.default_rng(seed)) for seed in range(50)]
    factors, shifts = np.array([np.diag(m)[:3] for m in matrices]), np.array([m[:3, 3] for m in matrices])
    assert (factors[:, 0] == 1).all()
    assert np.ptp(factors[:, 1]) > 0.5
    assert (np.abs(shifts).max(axis=0) <= [0, 10, 20]).all()
    assert (np.abs(shifts).max(axis=0) > [-1, 8, 16]).all()


def test_a_shifted_patch_holds_what_lies_beside_it():
    image = np.arange(40, dtype=np.float32).reshape(1, 1, 40) * np.ones((8, 8, 1), np.float32)
    shifted = Augmentation((0, 0, 0), (1, 1), translation=(0, 0, 0.5), flip_probability=0, organ_probability=0)
    labels = np.zeros(image.shape, np.uint8)
    for seed in range(5):
        patch, _ = draw_patch(image, labels, (8, 8, 8), shifted, np.random.default_rng(seed))
        inside = patch[0, 0, 0][(patch[0, 0, 0] > 0.5) & (patch[0, 0, 0] < 38.5)]
        assert np.allclose(np.diff(inside.numpy()), 1, atol=1e-4)


def test_a_patch_beyond_the_case_repeats_the_image_and_is_ignored_there():
    image, labels = np.full((4, 8, 8), 3, np.float32), np.ones((4, 8, 8), np.uint8)
    patch, target = draw_patch(image, labels, (8, 8, 8), STILL, np.random.default_rng(0))
    assert (patch == 3).all()
    assert sorted((target[0] == 1).all(dim=(1, 2)).tolist()) == [False] * 4 + [True] * 4
    assert set(target.unique().tolist()) == {1, IGNORED}
    turned = Augmentation((15, 0, 0), (1.3, 1.3), organ_probability=0)
    _, target = draw_patch(image, labels, (4, 8, 8), turned, np.random.default_rng(0))
    assert set(target.unique().tolist()) <= {1, IGNORED}


def test_ignored_voxels_are_no_organ_to_centre_on_and_keep_their_value():
    labels = np.full((40, 40, 40), IGNORED, np.uint8)
    labels[3, 4, 5] = 2
    for seed in range(10):
        assert draw_start(labels, (8, 8, 8), 1.0, np.random.default_rng(seed)) == (0, 0, 1)
    assert OrganMap(["spleen", "liver"], ["spleen"]).classes(np.array([0, 1, 2, IGNORED])).tolist() == [
        0,
        1,
        0,
        IGNORED,
    ]


def test_the_public_codes_patches_are_cut_from_a_volume_of_mean_0_and_deviation_1(cases):
    image, labels = cases[0].image(), cases[0].labels()
    whole, target = draw_patch_of_volume(image, labels, image.shape, STILL, np.random.default_rng(0))
    assert float(whole.mean()) == pytest.approx(0, abs=1e-5)
    assert float(whole.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(target[0].numpy(), labels)
    part, _ = draw_patch_of_volume(image, labels, (8, 8, 8), STILL, np.random.default_rng(0))
    assert part.shape == (1, 8, 8, 8)
    larger, beyond = draw_patch_of_volume(image, labels, (64, 64, 64), STILL, np.random.default_rng(0))
    assert larger.shape == (1, 64, 64, 64)
    assert (beyond == IGNORED).sum() == 64**3 - labels.size
    assert not scaled_volume(np.full((2, 2, 2), 7)).any()


def test_axial_flips_reverse_rows_and_columns_never_slices(cases):
    always = Augmentation(affine_probability=0, flip_probability=1, organ_probability=0)
    image, labels = cases[0].image(), cases[0].labels()
    flipped, _ = draw_patch(image, labels, image.shape, always, np.random.default_rng(0))
    assert np.array_equal(flipped[0].numpy(), image[:, ::-1, ::-1].astype(np.float32))


def test_patches_centred_on_organs_hold_them():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[3, 4, 5] = 1
    labels[20, 21, 22] = 2
    seen = set()
    for seed in range(30):
        start = draw_start(labels, (8, 8, 8), 1.0, np.random.default_rng(seed))
        seen |= set(np.unique(labels[tuple(slice(first, first + 8) for first in start)])) - {0}
        assert min(start) >= 0
        assert max(start) <= 32
    assert seen == {1, 2}
    assert draw_start(labels[:1, :1, :1], (8, 8, 8), 1.0, np.random.default_rng(0))[0] <= 0  # no organ, smaller case


def test_a_sample_depends_on_seed_epoch_and_number_only(cases):
    def patches(seed):
        return TrainingPatches(cases, OrganMap(ORGANS, ORGANS), (8, 8, 8), Augmentation(), seed, per_epoch=6)

    first = patches(1)
    [first[n] for n in (4, 2, 0)]  # what was drawn before does not matter
    assert torch.equal(first[13][0], patches(1)[13][0])
    assert not torch.equal(first[13][0], patches(2)[13][0])
    assert not torch.equal(first[13][0], first[7][0])


@pytest.mark.parametrize("per_epoch", [6, 4, 15])
def test_every_epoch_walks_through_all_cases_in_a_new_order(cases, per_epoch):
    patches = TrainingPatches(cases, OrganMap(ORGANS, ORGANS), (8, 8, 8), STILL, 0, per_epoch)
    epochs = [[patches.case_of(e * per_epoch + n).id for n in range(per_epoch)] for e in range(4)]
    for epoch in epochs:
        assert len(set(epoch[:6])) == min(6, per_epoch)
        assert {epoch.count(name) for name in set(epoch)} <= {per_epoch // 6, per_epoch // 6 + 1}
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_processes_share_every_step_of_an_epoch():
    alone, halves = EpochSampler(8), [EpochSampler(8, 2, rank) for rank in range(2)]
    for sampler in (alone, *halves):
        sampler.set_epoch(3)
    assert list(alone) == list(range(24, 32))
    steps = [sorted(list(halves[0])[2 * n : 2 * n + 2] + list(halves[1])[2 * n : 2 * n + 2]) for n in range(2)]
    assert steps == [list(range(24, 28)), list(range(28, 32))]
    assert [len(EpochSampler(7, 2, rank)) for rank in range(2)] == [3, 3]
    assert [list(EpochSampler(3, 2, rank, every_epoch_anew=False)) for rank in range(2)] == [[0, 2], [1]]
    with pytest.raises(ValueError, match="each of the 4 processes, got 3"):
        EpochSampler(3, 4)


def test_organs_are_matched_by_name(tmp_path):
    organs = OrganMap(["liver", "kidney", "pancreas"], ["pancreas", "spleen", "kidney"])
    assert organs.classes(np.array([0, 1, 2, 3], np.uint8)).tolist() == [0, 0, 3, 1]
    labelled = [["pancreas"], ["pancreas", "kidney"]]
    folder = prepared_cases.write_dataset(tmp_path / "d", 2, organs=("pancreas", "kidney"), labelled=labelled)
    first, second = PreparedDataset.open(folder).cases
    assert organs.labelled(first).tolist() == [True, False, False]
    assert organs.labelled(second).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="labels none of the network's organs: it has liver, the network pancreas"):
        OrganMap(["liver"], ["pancreas"])


def test_the_test_part_is_never_touched_and_validation_is_held_out(folder):
    module = data(folder, split="half", validation_cases=1)
    training, validation = ({case.id for case in part} for part in (module.training_cases, module.validation_cases))
    assert len(validation) == 1
    assert training | validation == {"c0", "c1", "c2"}
    assert not training & validation
    other = data(folder, split="folds-2", fold=1, validation_cases=1)
    assert {case.id for case in (*other.training_cases, *other.validation_cases)} == {"c3", "c4", "c5"}
    everything = data(folder, validate_on="train", validation_cases=2)
    assert len(everything.training_cases) == 6
    assert [case.id for case in everything.validation_cases] == ["c0", "c1"]


def test_scans_of_a_patient_stay_on_one_side(tmp_path):
    patients = ["a", "a", "a", "b", "c", "c"]
    cases = PreparedDataset.open(prepared_cases.write_dataset(tmp_path / "d", 6, patients=patients)).cases
    for seed in range(5):
        training, validation = choose_validation(cases, 2, "held_out", seed)
        assert not {case.patient for case in training} & {case.patient for case in validation}
        assert len(training) + len(validation) == 6
        assert len(validation) >= 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "nothing"}, "has no split 'nothing'; it has: folds-2, half"),
        ({"split": "folds-2", "fold": 2}, "has the folds 0..1, got 2"),
        ({"validation_cases": 0}, "validation_cases must be at least 1, got 0"),
        ({"validation_cases": 6}, "6 of 6 cases leave none for training"),
    ],
)
def test_what_does_not_exist_is_refused(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        data(folder, **changes)


def test_a_wrong_folder_and_an_anisotropic_dataset_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a prepared dataset"):
        data(tmp_path)
    folder = prepared_cases.write_dataset(tmp_path / "d", 2, spacing_mm=(1.0, 1.0, 3.0))
    with pytest.raises(ValueError, match="isotropic voxels"):
        data(folder)


@pytest.mark.parametrize("side", ["left kidney", "kidney_R", "KidneyLeft", "kidneyL", "rightkidney"])
@pytest.mark.parametrize(("axes", "probability"), [((1,), 0.5), ((1, 2), 0.0)])
def test_patients_are_not_mirrored_where_left_and_right_are_told_apart(tmp_path, side, axes, probability):
    organs = ("pancreas", "spleen", side)
    folder = prepared_cases.write_dataset(tmp_path / "sided", 4, organs=organs)
    data = CasesData(folder, organs=organs, validation_cases=1)
    with pytest.raises(ValueError, match="flip_axes must leave out 2: it would mirror the " + side):
        data.setup("fit")
    augmentation = Augmentation(flip_axes=axes, flip_probability=probability)
    CasesData(folder, organs=organs, augmentation=augmentation, validation_cases=1).setup("fit")


@pytest.mark.parametrize("pair", [("rkid", "lkid"), ("LAG", "RAG"), ("Renleft", "Renright"), ("lad", "rad")])
def test_two_names_that_differ_in_left_and_right_are_sides(tmp_path, pair):
    folder = prepared_cases.write_dataset(tmp_path / "sided", 4, organs=("spleen", *pair))
    with pytest.raises(ValueError, match="flip_axes must leave out 2: it would mirror the " + pair[0]):
        CasesData(folder, organs=("spleen", *pair), validation_cases=1).setup("fit")
    both = ("liver", "colon", "portal vein and splenic vein", "rib 1", "rib 2")
    folder = prepared_cases.write_dataset(tmp_path / "other", 4, organs=both)
    CasesData(folder, organs=both, validation_cases=1).setup("fit")


def test_an_epoch_shorter_than_a_batch_is_refused(folder):
    with pytest.raises(ValueError, match="set data.samples_per_epoch"):
        data(folder, batch_size=8).train_dataloader()


def test_validation_gives_whole_cases_or_the_part_around_the_organs(cases):
    organs = OrganMap(ORGANS, ORGANS)
    image, target, labelled = ValidationCases(cases, organs, None)[1]
    assert np.array_equal(image[0].numpy(), cases[1].image().astype(np.float32))
    assert np.array_equal(target[0].numpy(), cases[1].labels())
    assert labelled.tolist() == [True] * 3
    part, part_target, _ = ValidationCases(cases, organs, (32, 16, 16))[1]
    assert part.shape == part_target.shape == (1, 32, 16, 16)
    assert (part_target > 0).sum() > 0.8 * (target > 0).sum()


def test_checkpoints_learn_spacing_and_intensity_rule(folder):
    hparams = data(folder).hparams
    rule = {"clip_hu": [-200.0, 300.0], "mean_hu": -25.0, "std_hu": 130.0}
    assert (hparams.spacing_mm, hparams.intensity) == (2.0, rule)
    assert hparams.dataset_name == "tiny"
    assert isinstance(hparams.dataset, str)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": (1.2, 0.9)}, "scale must rise"),
        ({"flip_axes": (3,)}, "flip_axes may hold 0, 1 and 2"),
        ({"organ_probability": 1.5}, "organ_probability must lie in 0..1, got 1.5"),
    ],
)
def test_augmentation_refuses_nonsense(changes, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**changes)


@pytest.mark.slow
def test_a_thousand_cases_start_in_seconds(tmp_path):
    shape = (4, 5, 6)
    cases = [prepared_cases.voxels(0, shape)] * 1000
    folder = prepared_cases.write_dataset(tmp_path / "d", 1000, cases=cases)
    began = time.perf_counter()
    module = data(folder, batch_size=4, shape_kji=(4, 4, 4), samples_per_epoch=1000)
    first = next(iter(module.train_dataloader()))
    assert time.perf_counter() - began < 10
    assert first[0].shape == (4, 1, 4, 4, 4)
    assert len(module.training_cases) == 999


def test_memory_does_not_grow_with_the_number_of_cases(tmp_path):
    """40 cases hold 40 x 48^3 x 3 bytes = 13 MB; reading patches of them all never keeps more than a few."""
    shape = (48, 48, 48)
    folder = prepared_cases.write_dataset(tmp_path / "d", 40, cases=[prepared_cases.voxels(0, shape)] * 40)
    patches = data(folder, samples_per_epoch=40).train_dataloader().dataset
    patches[0]
    tracemalloc.start()
    for n in range(40):
        patches[n]
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200_000
    assert peak < 4_000_000
