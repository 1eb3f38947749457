"""Mean and standard deviation from counts and sums: by hand, whatever the order, constant, empty, far from zero."""

import itertools
import math

import numpy as np
import pytest

from attention_unet_training.preparation.intensity import IntensityToMeasure, Moments, moments_of
from AttentionUNetSegmentationLib.models.description import IntensitySpec

BOTH = IntensityToMeasure((0.0, 3000.0), None, None)


def test_by_hand():
    cases = [moments_of(np.array([[[1, 2], [3, 4]]], np.float32)), moments_of(np.full((2, 1, 1), 10, np.float32))]
    assert cases == [Moments(4, 10.0, 30.0), Moments(2, 20.0, 200.0)]
    assert BOTH.settle(cases) == IntensitySpec((0.0, 3000.0), 5.0, 3.651)  # sqrt(230 / 6 - 25)
    assert IntensityToMeasure((0.0, 3000.0), 7.0, None).settle(cases) == IntensitySpec((0.0, 3000.0), 7.0, 3.651)
    assert IntensityToMeasure((0.0, 3000.0), None, 2.0).settle(cases) == IntensitySpec((0.0, 3000.0), 5.0, 2.0)


def test_float32_images_are_summed_without_loss_and_in_any_order():
    hu = np.random.default_rng(0).normal(2000, 0.25, (4, 40, 300, 300)).astype(np.float32)
    cases = [moments_of(image) for image in hu]
    expected = IntensitySpec(BOTH.clip_hu, round(float(hu.mean(dtype=float)), 3), round(float(hu.std(dtype=float)), 3))
    assert {BOTH.settle(order) for order in itertools.permutations(cases)} == {expected}


def test_a_constant_has_a_mean_but_no_deviation():
    cases = [moments_of(np.full((3, 200, 200), 2047.3, np.float32))]
    with pytest.raises(ValueError, match=r"all voxels have 2047.3 HU after clipping to 0..3000 HU, so there is no"):
        BOTH.settle(cases)
    assert IntensityToMeasure((0.0, 3000.0), None, 5.0).settle(cases).mean_hu == 2047.3


def test_rules_are_checked_before_anything_is_measured():
    with pytest.raises(ValueError, match="without any voxel"):
        BOTH.settle([])
    with pytest.raises(ValueError, match="nothing to measure"):
        IntensityToMeasure((0.0, 1.0), 0.0, 1.0)
    for wrong in (((1.0, 0.0), None, None), ((0.0, 1.0), None, 0.0), ((0.0, 1.0), math.nan, None)):
        with pytest.raises(ValueError, match="intensity"):
            IntensityToMeasure(*wrong)


def test_what_is_given_tells_whether_a_rule_can_be_the_measured_one():
    rule = IntensityToMeasure((0.0, 1.0), None, 2.0)
    assert rule.allows(IntensitySpec((0.0, 1.0), 0.3, 2.0))
    assert not rule.allows(IntensitySpec((0.0, 1.0), 0.3, 2.5))
    assert not rule.allows(IntensitySpec((0.0, 1.5), 0.3, 2.0))
