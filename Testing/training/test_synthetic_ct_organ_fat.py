"""Tests of the fat that the generator leaves around the organs, on label maps made of a few boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attention_unet_training.synthetic_ct import generate
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import TARGET_ORGANS
from support.box_anatomy import BOXES, CLEAN, box_anatomy, centre_mm, still_config

pytestmark = pytest.mark.usefixtures("one_thread")

ORGANS = list(TARGET_ORGANS)
EVEN = {"organ_fat_variation": 0.0, "organ_fat_strand_probability": 0}


def crowded(anatomy, around, thickness_mm=12.0, **numbers):
    """A CT full of tissue without a label, which fat keeps away from some organs."""
    config = still_config(acquisition=CLEAN)
    clutter = dataclasses.replace(
        config.clutter,
        share_beta=(1000.0, 1.0),
        largest_share=0.999,
        lump_probability=0,
        organ_fat_probability={organ: float(organ in around) for organ in ORGANS},
        organ_fat_mm={organ: Range(thickness_mm, thickness_mm) for organ in ORGANS},
    )
    config = dataclasses.replace(config, clutter=dataclasses.replace(clutter, **(EVEN | numbers)))
    return generate(anatomy, config, 5, anatomy.labels.shape, 2.0, centre_mm(anatomy)).image_hu


def shell(anatomy, organ, low_mm, high_mm):
    """Voxels without label at a distance from an organ, away from the body's wall, bones and the other organs."""
    mask = (anatomy.labels == 0) & (anatomy.hull_distance_mm < -6) & (anatomy.bone_distance_mm > 16)
    mask &= (anatomy.organ_distance_mm[organ] > low_mm) & (anatomy.organ_distance_mm[organ] < high_mm)
    for other in set(ORGANS) - {organ}:
        mask &= anatomy.organ_distance_mm[other] > 14
    return mask


@pytest.mark.parametrize("organ", ORGANS)
def test_fat_keeps_tissue_without_a_label_away_from_an_organ(anatomy, organ):
    near, far = shell(anatomy, organ, 0, 8), shell(anatomy, organ, 16, 60)
    assert near.sum() > 100
    assert far.sum() > 100
    without, within = crowded(anatomy, around=()), crowded(anatomy, around=(organ,))
    assert (without[near] < -50).mean() < 0.2
    assert (within[near] < -50).mean() > 0.6  # vessels and ureters run through the rest
    assert (within[far] < -50).mean() < 0.3


@pytest.mark.parametrize("organ", ORGANS)
def test_fat_around_one_organ_leaves_the_others_as_they_are(anatomy, organ):
    changed = np.abs(crowded(anatomy, around=(organ,)) - crowded(anatomy, around=())) > 30
    assert changed.any()
    assert anatomy.organ_distance_mm[organ][changed].max() < 14
    assert (anatomy.labels[changed] == 0).all()


def test_strands_run_through_the_fat(anatomy):
    near = shell(anatomy, "kidney", 0, 8)
    plain = crowded(anatomy, around=("kidney",))
    dense = {"organ_fat_strand_half_width": Range(0.3, 0.3), "organ_fat_strand_above_fat_hu": Range(90, 90)}
    brighter = crowded(anatomy, around=("kidney",), organ_fat_strand_probability=1, **dense) - plain > 40
    assert 0.05 < brighter[near].mean() < 0.5
    assert (anatomy.labels[brighter] == 0).all()


def test_a_label_map_without_an_organ_has_no_fat_around_it():
    anatomy = box_anatomy({name: box for name, box in BOXES.items() if name != "spleen"})
    assert anatomy.organ_distance_mm["spleen"].min() == 60
    assert np.array_equal(crowded(anatomy, around=("spleen",)), crowded(anatomy, around=()))
