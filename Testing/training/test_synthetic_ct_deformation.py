"""Tests of how the generator deforms anatomy organ by organ, on a label map made of a few boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attention_unet_training.synthetic_ct.deformation import source_coordinates_mm
from attention_unet_training.synthetic_ct.randomness import Randomness
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import number_of
from attention_unet_training.synthetic_ct.warping import warp_labels
from support.box_anatomy import BOXES, NO_DEFORMATION, box_anatomy, centre_mm

SHAPE = (60, 40, 60)  # higher than the label map, so that a longer spleen has room


def coordinates(anatomy, seed=0, **numbers):
    """Nothing moves but what is asked for; the grid of the sample has the label map's voxels."""
    still = dataclasses.replace(
        NO_DEFORMATION,
        organ_log_growth=Range(0, 0),
        spleen_log_growth=Range(0, 0),
        organ_shift_sd_mm=(0.0, 0.0, 0.0),
    )
    config = dataclasses.replace(still, **numbers)
    return source_coordinates_mm(anatomy, config, Randomness(seed), SHAPE, 2.0, centre_mm(anatomy))


def extent_mm(anatomy, source, organ):
    voxels = np.argwhere(warp_labels(anatomy, source).numpy() == number_of(organ))
    return (voxels.max(0) - voxels.min(0) + 1) * 2


def spleen_of(length_mm, **numbers):
    return {"organ_probability": 1, "spleen_length_mm": Range(length_mm, length_mm)} | numbers


def test_a_spleen_is_stretched_and_shortened_from_head_to_foot_only(anatomy):
    plain = extent_mm(anatomy, coordinates(anatomy), "spleen")
    assert plain.tolist() == [40, 32, 20]
    long, short = (extent_mm(anatomy, coordinates(anatomy, **spleen_of(mm)), "spleen") for mm in (90, 35))
    assert 50 <= long[0] <= 66  # the push fades towards the tips
    assert 26 <= short[0] <= 34
    assert long[1:].tolist() == short[1:].tolist() == plain[1:].tolist()


def test_what_lies_far_from_the_spleen_stays_when_its_length_changes(anatomy):
    plain, long = coordinates(anatomy), coordinates(anatomy, **spleen_of(90))
    assert float((long - plain)[1:].abs().max()) == 0
    at_right_kidney = warp_labels(anatomy, plain).numpy() == number_of("kidney_right")
    assert float((long - plain)[0].abs().numpy()[at_right_kidney].max()) < 2


def test_the_length_of_a_spleen_changes_within_the_limit(anatomy):
    plain = coordinates(anatomy)
    assert np.array_equal(plain, coordinates(anatomy, **spleen_of(500, spleen_log_lengthening_limit=0.0)))
    long, longest = (coordinates(anatomy, **spleen_of(mm)) for mm in (200, 500))
    assert np.array_equal(long, longest)


@pytest.mark.parametrize("length_mm", [1, 500])
def test_no_length_folds_the_anatomy(anatomy, length_mm):
    z_mm = coordinates(anatomy, **spleen_of(length_mm))[0].numpy()
    assert np.diff(z_mm, axis=0).min() > 0.5


def test_the_length_of_the_spleen_changes_no_other_draw(anatomy):
    moving = {"organ_log_growth": Range(-0.3, 0.3), "organ_shift_sd_mm": (5.0, 4.0, 4.0)}
    unchanged = coordinates(anatomy, 3, **moving, **spleen_of(90, spleen_log_lengthening_limit=0.0))
    assert float((coordinates(anatomy, 3, **moving, **spleen_of(90)) - unchanged)[1:].abs().max()) == 0


def test_a_label_map_without_a_spleen_is_deformed_too():
    anatomy = box_anatomy({name: box for name, box in BOXES.items() if name != "spleen"})
    assert np.array_equal(coordinates(anatomy, **spleen_of(90)), coordinates(anatomy))


def test_a_spleen_that_shows_in_one_slice_is_lengthened_within_the_limit():
    anatomy = box_anatomy(BOXES | {"spleen": ((20, 21), (8, 24), (4, 14))})
    moved = coordinates(anatomy, **spleen_of(90))
    assert moved.isfinite().all()
    assert not np.array_equal(moved, coordinates(anatomy))
