"""Tests of jejunal loops and mesenteric veins around the pancreas, on a label map made of a few boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attention_unet_training.synthetic_ct import generate
from attention_unet_training.synthetic_ct.config import HollowOrganConfig
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import number_of
from support.box_anatomy import BOXES, CLEAN, box_anatomy, centre_mm, still_config

pytestmark = pytest.mark.usefixtures("one_thread")


def painted(anatomy, hollow_organs=None, **numbers):
    config = still_config(acquisition=CLEAN, hollow_organs=hollow_organs or HollowOrganConfig())
    numbers = {"jejunum_probability": 0, "vein_branch_probability": 0} | numbers
    clutter = dataclasses.replace(config.clutter, trunk_probability=1)
    config = dataclasses.replace(config, clutter=clutter, mesentery=dataclasses.replace(config.mesentery, **numbers))
    return generate(anatomy, config, 3, anatomy.labels.shape, 2.0, centre_mm(anatomy))


def test_jejunal_loops_look_like_the_pancreas_and_carry_no_label():
    anatomy = box_anatomy()
    exact = {"jejunum_of_pancreas_sd_hu": 0.0, "jejunum_texture_hu": Range(0, 0), "jejunum_filled_probability": 0}
    plain, loops = painted(anatomy), painted(anatomy, jejunum_probability=1, jejunum_max_loops=6, **exact)
    assert np.array_equal(plain.labels, loops.labels)
    changed = np.abs(loops.image_hu - plain.image_hu) > 20
    assert changed.sum() > 200
    assert (loops.labels[changed] == 0).all()
    pancreas = loops.labels == number_of("pancreas")
    assert np.median(loops.image_hu[changed]) == pytest.approx(np.median(loops.image_hu[pancreas]), abs=5)
    middle = np.argwhere(pancreas).mean(0) * 2
    assert np.linalg.norm(np.argwhere(changed) * 2 - middle, axis=1).min() < 30


def test_vein_branches_leave_the_trunk_through_unlabelled_tissue():
    boxes = BOXES | {"portal_vein_and_splenic_vein": ((22, 26), (24, 28), (26, 34))}
    anatomy = box_anatomy(boxes)
    plain = painted(anatomy)
    branched = painted(anatomy, vein_branch_probability=1, vein_branch_radius_mm=Range(4, 4))
    assert np.array_equal(plain.labels, branched.labels)
    changed = np.abs(branched.image_hu - plain.image_hu) > 20
    assert changed.sum() > 30
    assert (branched.labels[changed] == 0).all()


def pancreas_with(**numbers):
    config = still_config(acquisition=CLEAN)
    off = {
        "pancreas_gradient_hu": Range(0, 0),
        "lobulated_pancreas_probability": 0,
        "dilated_duct_probability": 0,
        "pancreas_fat_share": Range(0, 0),
        "pancreas_duct_probability": 0,
    }
    organs = dataclasses.replace(config.solid_organs, **(off | numbers))
    anatomy = box_anatomy()
    sample = generate(
        anatomy, dataclasses.replace(config, solid_organs=organs), 4, anatomy.labels.shape, 2.0, centre_mm(anatomy)
    )
    return sample.image_hu[sample.target == 1], sample.target


def test_lobules_and_a_wide_duct_change_the_pancreas_but_not_its_label():
    plain_hu, plain = pancreas_with()
    share = Range(0.4, 0.4)
    fatty_hu, fatty = pancreas_with(lobulated_pancreas_probability=1, lobulated_pancreas_fat_share=share)
    duct_hu, duct = pancreas_with(dilated_duct_probability=1, pancreas_duct_hu=Range(-60, -60))
    assert np.array_equal(plain, fatty)
    assert np.array_equal(plain, duct)
    assert (fatty_hu < plain_hu - 25).mean() == pytest.approx(0.4, abs=0.15)
    assert 0.01 < (duct_hu == -60).mean() < 0.3


def test_an_even_pancreas_has_neither_fat_nor_a_duct():
    diseased = {
        "lobulated_pancreas_probability": 1,
        "lobulated_pancreas_fat_share": Range(0.4, 0.4),
        "dilated_duct_probability": 1,
        "pancreas_fat_share": Range(0.2, 0.2),
        "pancreas_gradient_hu": Range(20, 20),
    }
    plain_hu, plain = pancreas_with()
    even_hu, even = pancreas_with(even_pancreas_probability=1, **diseased)
    uneven_hu, _ = pancreas_with(**diseased)
    assert np.array_equal(plain, even)
    assert np.array_equal(plain_hu, even_hu)
    assert uneven_hu.std() > 3 * even_hu.std()


def test_a_closed_gap_is_filled_by_the_neighbours_alone():
    boxes = {name: box for name, box in BOXES.items() if name not in ("aorta", "vertebrae_L1")}
    anatomy = box_anatomy(boxes | {"inferior_vena_cava": ((0, 40), (10, 14), (27, 31))})  # 4 mm behind the pancreas
    plain = painted(anatomy)
    closed = painted(anatomy, closed_gap_probability=1, closed_gap_mm=Range(6, 6))
    cava, stomach = (number_of(name) for name in ("inferior_vena_cava", "stomach"))
    assert (plain.labels[16:26, 14:16, 27:31] == 0).all()
    assert (closed.labels[16:26, 14:16, 27:31] == cava).all()
    filled = plain.labels != closed.labels
    assert (plain.labels[filled] == 0).all()
    assert set(np.unique(closed.labels[filled])) == {cava, stomach}
    (lowest, back, left), (highest, front, right) = (np.argwhere(filled).min(0), np.argwhere(filled).max(0))
    assert lowest >= 16 - 3
    assert highest < 26 + 3
    assert back >= 16 - 3
    assert front < 24 + 3
    assert left >= 18 - 3
    assert right < 32 + 3


def test_only_gaps_up_to_the_drawn_width_are_closed():
    boxes = {name: box for name, box in BOXES.items() if name not in ("aorta", "vertebrae_L1", "stomach")}
    for voxels, closed in ((3, True), (4, False)):  # 6 and 8 mm behind the pancreas
        anatomy = box_anatomy(boxes | {"inferior_vena_cava": ((0, 40), (12 - voxels, 16 - voxels), (27, 31))})
        sample = painted(anatomy, closed_gap_probability=1, closed_gap_mm=Range(6, 6))
        between = sample.labels[16:26, 16 - voxels : 16, 27:31]
        assert (between == (number_of("inferior_vena_cava") if closed else 0)).all(), voxels


def test_a_closed_gap_holds_wall_not_contents_of_the_stomach():
    boxes = {name: box for name, box in BOXES.items() if name != "stomach"}
    anatomy = box_anatomy(boxes | {"stomach": ((14, 30), (27, 38), (16, 34))})  # 6 mm in front of the pancreas
    hollow = HollowOrganConfig(
        wall_mm=Range(2, 2),
        collapsed_probability={"stomach": 0.0, "colon": 0.0},
        fold_probability={"stomach": 0.0, "colon": 0.0},
        content_weights={"stomach": {"gas": 0.5, "fluid": 0.5}, "colon": {"fluid": 1.0}},
        fluid_hu=Range(-500, -500),
    )
    sample = painted(anatomy, hollow, closed_gap_probability=1, closed_gap_mm=Range(6, 6))
    gap = np.s_[16:26, 24:27, 18:32]
    assert (sample.labels[gap] == number_of("stomach")).all()
    assert sample.image_hu[gap].min() > -50
    assert (sample.image_hu[16:26, 29:36, 18:32] < -400).all()
