"""Tests of what the generator paints in the hollow organs, on label maps made of a few boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attention_unet_training.synthetic_ct import generate
from attention_unet_training.synthetic_ct.config import ContrastConfig
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import number_of
from support.box_anatomy import CLEAN, centre_mm, still_config

pytestmark = pytest.mark.usefixtures("one_thread")


def stomach_with(anatomy, phase: str, mucosa_probability: float):
    """Return HU and depth of a stomach without lumen, whose mucosa starts about 5 mm below the surface."""
    still = still_config(
        acquisition=CLEAN,
        contrast=dataclasses.replace(ContrastConfig(), phases={phase: ContrastConfig().phases[phase]}),
    )
    hollow = dataclasses.replace(
        still.hollow_organs,
        wall_mm=Range(60, 60),
        collapsed_probability=dict.fromkeys(still.hollow_organs.collapsed_probability, 0),
        wall_texture_hu=Range(0, 0),
        bright_mucosa_probability=mucosa_probability,
        mucosa_depth_mm=Range(5, 5),
        mucosa_above_wall_hu=Range(40, 40),
    )
    config = dataclasses.replace(still, hollow_organs=hollow)
    sample = generate(anatomy, config, 3, anatomy.labels.shape, 2.0, centre_mm(anatomy))
    stomach = sample.labels == number_of("stomach")
    return sample.image_hu[stomach], anatomy.border_depth_mm[stomach]


def test_with_contrast_the_middle_of_a_collapsed_stomach_is_bright(anatomy):
    plain_hu, depth_mm = stomach_with(anatomy, "portal_venous", 0)
    bright_hu, _ = stomach_with(anatomy, "portal_venous", 1)
    gain_hu = bright_hu - plain_hu
    middle, surface = depth_mm > 8.5, depth_mm < 1.5
    assert min(middle.sum(), surface.sum()) > 50
    np.testing.assert_allclose(gain_hu[middle], 40, atol=1)
    np.testing.assert_allclose(gain_hu[surface], 0, atol=1)


def test_without_contrast_the_mucosa_is_like_the_wall(anatomy):
    plain_hu, _ = stomach_with(anatomy, "none", 0)
    assert plain_hu.size
    assert np.array_equal(stomach_with(anatomy, "none", 1)[0], plain_hu)
