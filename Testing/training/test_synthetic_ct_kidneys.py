"""Tests of what the generator paints in and beside the kidneys, on label maps made of a few boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attention_unet_training.synthetic_ct import generate
from attention_unet_training.synthetic_ct.config import ContrastConfig, TissueConfig
from attention_unet_training.synthetic_ct.contrast import draw_tissue_values
from attention_unet_training.synthetic_ct.masses import draw_masses
from attention_unet_training.synthetic_ct.randomness import Randomness
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import KIDNEYS, number_of
from support.box_anatomy import BOXES, CLEAN, box_anatomy, centre_mm, still_config

pytestmark = pytest.mark.usefixtures("one_thread")

KIDNEY_NUMBERS = [number_of(name) for name in KIDNEYS]


def kidneys_with(anatomy, contrast=None, acquisition=None, **numbers):
    still = still_config()
    still = dataclasses.replace(
        still, contrast=contrast or still.contrast, acquisition=acquisition or still.acquisition
    )
    organs = dataclasses.replace(still.solid_organs, **({"kidney_stone_probability": 0} | numbers))
    return generate(
        anatomy, dataclasses.replace(still, solid_organs=organs), 3, anatomy.labels.shape, 2.0, centre_mm(anatomy)
    )


def test_a_wide_pelvis_is_no_part_of_the_kidney_and_looks_like_urine(anatomy):
    contrast = dataclasses.replace(ContrastConfig(), phases={"none": ContrastConfig().phases["none"]})
    plain = kidneys_with(anatomy, contrast)
    for name, medial in (("kidney_left", 1), ("kidney_right", -1)):
        wide = kidneys_with(
            anatomy, contrast, wide_pelvis_probability=1, pelvis_radius_mm=Range(10, 10), pelvis_medial_mm=Range(14, 14)
        )
        kidney = plain.labels == number_of(name)
        taken = kidney & (wide.labels == 0)
        assert 30 < taken.sum() < 0.7 * kidney.sum(), name
        assert medial * (np.argwhere(taken).mean(0) - np.argwhere(kidney).mean(0))[2] > 1, name
        assert -20 < np.median(wide.image_hu[taken]) < 40, name
    others = ~np.isin(plain.labels, [number_of("kidney_left"), number_of("kidney_right")])
    assert np.array_equal(plain.labels[others], wide.labels[others])


def test_stones_are_bright_and_leave_labels_and_far_tissue_alone(anatomy):
    plain = kidneys_with(anatomy)
    stones = kidneys_with(
        anatomy, kidney_stone_probability=1, kidney_stone_radius_mm=Range(6, 6), kidney_stone_radius_share=Range(1, 1)
    )
    assert np.array_equal(plain.labels, stones.labels)
    changed = np.abs(stones.image_hu - plain.image_hu) > 100
    assert changed.sum() > 20
    assert np.isin(plain.labels[changed], [0, number_of("kidney_left"), number_of("kidney_right")]).mean() > 0.9
    spleen = plain.labels == number_of("spleen")
    assert np.abs(stones.image_hu - plain.image_hu)[spleen].mean() < 1  # other draws are the same


def test_wide_calyces_and_sinus_fat_are_no_part_of_the_kidney(anatomy):
    contrast = dataclasses.replace(ContrastConfig(), phases={"none": ContrastConfig().phases["none"]})
    plain = kidneys_with(anatomy)
    for numbers in (
        {"hydronephrosis_probability": 1, "hydronephrosis_depth_mm": Range(5, 5)},
        {"sinus_fat_probability": 1, "sinus_depth_mm": Range(5, 5)},
    ):
        hollow = kidneys_with(anatomy, contrast=contrast, acquisition=CLEAN, **numbers)
        taken = np.isin(plain.labels, KIDNEY_NUMBERS) & (hollow.labels == 0)
        assert 30 < taken.sum() < 0.7 * np.isin(plain.labels, KIDNEY_NUMBERS).sum(), numbers
        assert np.median(hollow.image_hu[taken]) < 25, numbers
        others = ~np.isin(plain.labels, KIDNEY_NUMBERS)
        assert np.array_equal(plain.labels[others], hollow.labels[others]), numbers


def test_excreted_contrast_in_the_sinus_is_no_part_of_the_kidney(anatomy):
    delayed = dataclasses.replace(ContrastConfig().phases["delayed"], excretion_probability=1.0)
    contrast = dataclasses.replace(ContrastConfig(), phases={"delayed": delayed})
    shallow = {"sinus_depth_mm": Range(5, 5), "excreted_contrast_hu": Range(900, 900)}
    filled = kidneys_with(anatomy, contrast=contrast, acquisition=CLEAN, **shallow)
    bright = filled.image_hu[np.isin(anatomy.labels, KIDNEY_NUMBERS) & (filled.labels == 0)]
    assert len(bright) > 30
    assert np.median(bright) > 800
    assert filled.image_hu[np.isin(filled.labels, KIDNEY_NUMBERS)].max() < 500


def test_ureters_run_down_beside_the_middle_of_the_body(anatomy):
    narrow = {"ureter_radius_mm": Range(0.01, 0.01), "pelvis_tube_radius_mm": Range(0.01, 0.01)}
    wide = {"ureter_radius_mm": Range(5, 5), "pelvis_tube_radius_mm": Range(5, 5), "ureter_length_mm": Range(40, 40)}
    without = kidneys_with(anatomy, acquisition=CLEAN, **narrow)
    drawn = kidneys_with(anatomy, acquisition=CLEAN, **wide)
    assert np.array_equal(without.labels, drawn.labels)
    changed = np.abs(drawn.image_hu - without.image_hu) > 20
    assert changed.sum() > 30
    assert (drawn.labels[changed] == 0).all()
    slices, _, columns = np.argwhere(changed).T
    left, right = (np.argwhere(anatomy.labels == number_of(f"kidney_{side}")).mean(0) for side in ("left", "right"))
    assert left[2] < columns.min()
    assert columns.max() < right[2]
    assert slices.min() < min(left[0], right[0]) - 5  # down from the kidneys
    assert slices.max() < max(left[0], right[0]) + 4


def test_a_mass_beside_a_kidney_lies_further_out_than_one_that_bulges_out_of_it(anatomy):
    config = dataclasses.replace(
        still_config().masses,
        probability=1,
        max_count=1,
        organ_weights={"kidney_right": 1.0},
        radius_mm=Range(10, 10),
        radius_share=Range(1, 1),
        exophytic_cyst_probability=0,
        kind_weights={"hypodense": 1.0},
    )
    for seed in range(10):
        bulging, beside = (
            draw_masses(anatomy, dataclasses.replace(config, place_weights={place: 1.0}), Randomness(seed))[0]
            for place in ("exophytic", "beside")
        )
        assert (bulging.owner, beside.owner) == (number_of("kidney_right"), 0)
        moved_mm = np.linalg.norm(np.subtract(beside.centre_mm, bulging.centre_mm))
        assert 8 - 1e-3 <= moved_mm <= 12 + 1e-3
        kidney_mm = np.argwhere(anatomy.labels == number_of("kidney_right")) * 2.0
        assert np.linalg.norm(kidney_mm - beside.centre_mm, axis=1).min() > 4


def test_below_the_kidneys_the_vena_cava_holds_less_contrast():
    boxes = BOXES | {"inferior_vena_cava": ((0, 40), (12, 16), (30, 34))}
    anatomy = box_anatomy(boxes)
    portal = ContrastConfig().phases["portal_venous"]
    bright = dataclasses.replace(portal, vena_cava_hu=Range(160, 160))
    contrast = dataclasses.replace(
        ContrastConfig(), phases={"portal_venous": bright}, vein_like_pancreas_probability={}
    )
    late = {"late_leg_blood_share": Range(0, 0), "unenhanced_blood_hu": Range(40, 40)}
    means = []
    for probability in (0, 1):
        sample = kidneys_with(anatomy, contrast, CLEAN, late_leg_blood_probability=probability, **late)
        cava = sample.labels == number_of("inferior_vena_cava")
        slices = [sample.image_hu[k][cava[k]].mean() for k in range(len(cava)) if cava[k].any()]
        means.append((slices[0], slices[-1]))
    (plain_low, plain_high), (low, high) = means
    assert plain_low == pytest.approx(plain_high, abs=25)  # texture
    assert high == pytest.approx(plain_high, abs=30)
    assert low < plain_low - 60


@pytest.mark.parametrize("vein", ["vena_cava", "portal_vein"])
def test_veins_are_often_as_dense_as_the_pancreas(vein):
    portal = dataclasses.replace(
        ContrastConfig(),
        phases={"portal_venous": ContrastConfig().phases["portal_venous"]},
        fatty_pancreas_probability=0.5,  # a vein as dense as the pancreas is as dense as a fatty one
        vein_like_pancreas_sd_hu=5,
    )

    def share_alike(probability: float) -> float:
        config = dataclasses.replace(portal, vein_like_pancreas_probability={vein: probability})
        drawn = [draw_tissue_values(config, TissueConfig(), Randomness(seed)).hu for seed in range(100)]
        return np.mean([abs(hu[vein] - hu["pancreas"]) < 15 for hu in drawn])

    assert ContrastConfig().vein_like_pancreas_probability[vein] > 0.1
    assert share_alike(0) < 0.3
    assert share_alike(1) > 0.95
