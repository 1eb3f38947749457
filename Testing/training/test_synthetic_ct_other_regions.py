"""Tests of heads and thighs, in which no organ is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attention_unet_training.data.synthetic_options import VariationOptions
from attention_unet_training.synthetic_ct import SyntheticCTConfig, generate
from support.box_anatomy import CLEAN, box_anatomy

SHAPE = (60, 96, 120)


def other_region(head_probability, seed=1):
    config = SyntheticCTConfig()
    regions = dataclasses.replace(
        config.other_regions, probability=1, head_probability=head_probability, off_centre_mm=(0.0, 0.0, 0.0)
    )
    view = dataclasses.replace(config.field_of_view, circle_probability=0, thin_slab_probability=0)
    config = dataclasses.replace(config, acquisition=CLEAN, other_regions=regions, field_of_view=view)
    return generate(box_anatomy(), config, seed, SHAPE)


@pytest.mark.parametrize("seed", range(3))
def test_a_head_has_brain_inside_bone_and_no_organ(seed):
    sample = other_region(head_probability=1, seed=seed)
    assert not sample.target.any()
    assert not sample.labels.any()
    k, j, i = (size // 2 for size in SHAPE)
    brain = sample.image_hu[k - 5 : k + 5, j - 15 : j + 15, i - 15 : i + 15]
    assert 10 < np.median(brain) < 60
    across = sample.image_hu[k, j]
    assert (across[: i - 20] > 300).any()
    assert (across[i + 20 :] > 300).any()


@pytest.mark.parametrize("seed", range(3))
def test_thighs_have_a_bone_each_and_no_organ(seed):
    sample = other_region(head_probability=0, seed=seed)
    assert not sample.target.any()
    bone = (sample.image_hu > 300).any((0, 1))
    assert bone[: SHAPE[2] // 2].any()
    assert bone[SHAPE[2] // 2 :].any()
    assert ((sample.image_hu > 10) & (sample.image_hu < 120)).mean() > 0.1  # muscle


def test_other_regions_are_made_as_often_as_training_asks_for_and_change_no_other_patch():
    config = VariationOptions(other_region_probability=0.5).generator_config()
    plain = VariationOptions().generator_config()
    anatomy = box_anatomy()
    same = []
    for seed in range(30):
        mixed, usual = (generate(anatomy, each, seed, (12, 14, 16)) for each in (config, plain))
        same.append(np.array_equal(mixed.image_hu, usual.image_hu))
        assert same[-1] or not mixed.labels.any()
    assert 5 < sum(same) < 25
