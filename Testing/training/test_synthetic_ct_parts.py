"""Tests of the generator's parts: randomness, filters, configuration, label files and their preparation."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from attention_unet_training.synthetic_ct import generate, prepare_anatomy
from attention_unet_training.synthetic_ct.config import SyntheticCTConfig
from attention_unet_training.synthetic_ct.randomness import Randomness
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.separable import (
    apply_separable,
    gaussian_blur_matrix,
    linear_matrix,
    thick_slice_matrix,
)
from attention_unet_training.synthetic_ct.structures import KIDNEYS, number_of
from support.box_anatomy import RAS_2MM, box_anatomy, box_labels, own_names

pytestmark = pytest.mark.usefixtures("one_thread")


def test_smooth_noise_has_unit_variance_and_the_asked_correlation():
    noise = Randomness(3).smooth_noise((64, 64, 64), 6.0)
    assert float(noise.mean()) == pytest.approx(0, abs=0.12)
    assert float(noise.std()) == pytest.approx(1, abs=0.08)
    near = float((noise[:, :, 1:] * noise[:, :, :-1]).mean())
    far = float((noise[:, :, 12:] * noise[:, :, :-12]).mean())
    assert near > 0.9
    assert abs(far) < 0.15


def test_randomness_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the state that must not change
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()  # noqa: NPY002
    generate(box_anatomy(), SyntheticCTConfig(), seed=1, shape_kji=(8, 9, 10))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_a_branch_repeats_and_disturbs_nothing():
    branched, plain = Randomness(3), Randomness(3)
    draws = [branched.branch(name).uniform(0, 1) for name in ("a", "b", "a")]
    assert draws[0] == draws[2] != draws[1]
    assert Randomness(4).branch("a").uniform(0, 1) != draws[0]
    assert branched.uniform(0, 1) == plain.uniform(0, 1)


def test_filters_keep_constants():
    volume = torch.full((7, 9, 11), 5.0)
    matrices = (
        thick_slice_matrix(7, 2.6, 0.4, nearest=True),
        gaussian_blur_matrix(9, 1.3),
        linear_matrix(torch.linspace(-1, 12, 5), 11),
    )
    filtered = apply_separable(volume, matrices)
    assert filtered.shape == (7, 9, 5)
    assert torch.allclose(filtered, torch.tensor(5.0))


def test_thick_slices_average_pairs_of_fine_slices():
    ramp = torch.arange(8.0).view(8, 1, 1)
    thick = apply_separable(ramp, (thick_slice_matrix(8, 2.0, 0.5, nearest=True), None, None)).flatten()
    assert thick.tolist() == [0.0, 1.5, 1.5, 3.5, 3.5, 5.5, 5.5, 7.0]
    with_one = apply_separable(ramp, (thick_slice_matrix(8, 1.0, 0.5, nearest=False), None, None))
    assert torch.allclose(with_one, ramp, atol=0.51)


def test_linear_matrix_hits_the_hand_computed_values():
    values = linear_matrix(torch.tensor([0.0, 0.25, 2.0, 9.0]), 3) @ torch.tensor([10.0, 20.0, 40.0])
    assert values.tolist() == [10.0, 12.5, 40.0, 40.0]


def test_configuration_rejects_impossible_numbers():
    with pytest.raises(ValueError, match=r"low <= high, got \[2, 1\]"):
        Range(2, 1)
    with pytest.raises(ValueError, match="finite"):
        Range(0, float("nan"))
    config = SyntheticCTConfig()
    with pytest.raises(ValueError, match=r"acquisition.streak_probability .* got 1.5"):
        dataclasses.replace(config, acquisition=dataclasses.replace(config.acquisition, streak_probability=1.5))


def test_configuration_survives_pickling():
    config = SyntheticCTConfig()
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own bytes


def test_every_range_names_its_source():
    def ranges(value):
        if isinstance(value, Range):
            yield value
        elif dataclasses.is_dataclass(value):
            for item in dataclasses.fields(value):
                yield from ranges(getattr(value, item.name))
        elif isinstance(value, dict):
            for item in value.values():
                yield from ranges(item)

    found = list(ranges(SyntheticCTConfig()))
    assert len(found) > 150
    assert all(item.source for item in found)
    assert any(item.source != "judgement" for item in found)


def test_preparation_turns_any_orientation_to_ras(anatomy):
    labels = box_labels()
    # The same voxels stored as LPI with the first two axes swapped.
    stored = labels.transpose(0, 2, 1)[::-1, ::-1, ::-1]
    matrix = np.array([[0, -2.0, 0, 118], [-2.0, 0, 0, 78], [0, 0, -2.0, 78], [0, 0, 0, 1]])
    prepared = prepare_anatomy(stored, own_names(), matrix)
    assert np.array_equal(prepared.labels, anatomy.labels)
    assert prepared.organs["liver"].centroid_mm[2] > prepared.organs["spleen"].centroid_mm[2]


def test_preparation_resamples_to_isotropic_voxels():
    labels = np.zeros((10, 30, 30), dtype=np.uint8)
    labels[2:8, 6:24, 6:24] = number_of("liver")
    prepared = prepare_anatomy(labels, own_names(), np.diag([1.0, 1.0, 5.0, 1.0]), spacing_mm=2.0)
    assert prepared.labels.shape[0] == 25
    volume_ml = (prepared.labels == number_of("liver")).sum() * 8 / 1000
    assert volume_ml == pytest.approx(18 * 18 * 30 / 1000, rel=0.1)


def test_distances_of_the_preparation_are_right(anatomy):
    labels = anatomy.labels
    inside = anatomy.hull_distance_mm < 0
    assert inside[labels > 0].mean() > 0.99
    assert float(anatomy.bone_distance_mm[labels == number_of("vertebrae_L1")].max()) == 0
    to_organ_mm = anatomy.organ_distance_mm
    assert sorted(to_organ_mm) == ["kidney", "pancreas", "spleen"]
    assert float(to_organ_mm["kidney"][np.isin(labels, [number_of(kidney) for kidney in KIDNEYS])].max()) == 0
    assert float(to_organ_mm["kidney"][20, 10, 43]) == 2  # a voxel above the right one
    assert float(to_organ_mm["spleen"][20, 16, 16]) == 6  # three voxels beside it
    assert float(to_organ_mm["pancreas"][20, 20, 20]) == 0
    k, j, i = (labels == number_of("liver")).nonzero()
    middle = (k.min() + 13, j.min() + 11, i.min() + 10)
    assert float(anatomy.border_depth_mm[middle]) == pytest.approx(19, abs=3)


def test_preparation_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="at least one known structure"):
        prepare_anatomy(np.ones((4, 4, 4), np.uint8), {1: "left_ear"}, RAS_2MM)
    with pytest.raises(ValueError, match="singular"):
        prepare_anatomy(box_labels(), own_names(), np.diag([1.0, 0.0, 1.0, 1.0]))
