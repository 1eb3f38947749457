"""Tests of free fluid and of a left liver lobe that touches the spleen, on a label map made of a few boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from attention_unet_training.synthetic_ct import generate
from attention_unet_training.synthetic_ct.free_fluid import _rough_distance_mm
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import number_of
from support.box_anatomy import CLEAN, box_anatomy, centre_mm, still_config

pytestmark = pytest.mark.usefixtures("one_thread")


def painted(section, **numbers):
    anatomy = box_anatomy()
    config = still_config(acquisition=CLEAN)
    off = {"free_fluid": {"probability": 0, "effusion_probability": 0}, "solid_organs": {"left_lobe_probability": 0}}
    off[section] |= numbers
    for name, values in off.items():
        config = dataclasses.replace(config, **{name: dataclasses.replace(getattr(config, name), **values)})
    return generate(anatomy, config, 3, anatomy.labels.shape, 2.0, centre_mm(anatomy))


def fluid(reach_mm, cut=0.0):
    numbers = {"organ_cut_share": Range(cut, cut), "distension_share": Range(0, 0), "fluid_hu": Range(10, 10)}
    return painted("free_fluid", probability=1, reach_mm=Range(reach_mm, reach_mm), texture_hu=0.0, **numbers)


def test_free_fluid_is_as_dense_as_water_and_never_carries_a_label():
    plain, some, much = painted("free_fluid"), fluid(6), fluid(30)
    volumes = []
    for wet in (some, much):
        assert np.array_equal(plain.labels, wet.labels)
        changed = np.abs(wet.image_hu - plain.image_hu) > 15
        assert changed.sum() > 100
        assert (wet.labels[changed] == 0).all()
        assert np.median(wet.image_hu[changed]) == pytest.approx(10, abs=1)
        volumes.append(changed.sum())
    assert volumes[1] > volumes[0]


def test_fluid_between_wall_and_organ_takes_the_label_of_liver_and_spleen_only():
    plain, wet = painted("free_fluid"), fluid(20, cut=0.5)
    lost = plain.labels != wet.labels
    assert (wet.labels[lost] == 0).all()
    assert set(np.unique(plain.labels[lost])) <= {number_of("liver"), number_of("spleen")}
    assert 0.65 < (wet.target == 2).sum() / (plain.target == 2).sum() < 1


def test_a_left_lobe_touches_the_spleen_and_changes_no_target():
    plain = painted("solid_organs")
    wrapped = painted("solid_organs", left_lobe_probability=1, left_lobe_thickness_mm=Range(12, 12))
    assert np.array_equal(plain.target, wrapped.target)
    liver, spleen = (wrapped.labels == number_of(name) for name in ("liver", "spleen"))
    assert (ndimage.binary_dilation(spleen) & liver).sum() > 100
    assert liver.sum() > (plain.labels == number_of("liver")).sum()
    parts, count = ndimage.label(liver)
    assert np.bincount(parts.ravel())[1:].max() > 0.95 * liver.sum(), count


def test_the_distance_to_the_organs_is_measured_as_far_as_the_fluid_reaches():
    mask = torch.zeros(8, 8, 120, dtype=torch.bool)
    mask[:, :, :2] = True
    distance_mm = _rough_distance_mm(mask, 150.0, 2.0)[4, 4]
    voxels = torch.arange(2, 70)
    assert (distance_mm[voxels] - 2 * (voxels - 1)).abs().max() <= 5
    assert distance_mm[90:].min() >= 148
