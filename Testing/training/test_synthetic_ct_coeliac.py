"""Tests of the coeliac trunk's branches and of veins around the stomach, on a label map made of a few boxes."""

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

STEADY = {
    "artery_of_aorta": Range(1, 1),
    "winding_sd_mm": 0.0,
    "calcified_probability": 0,
    "gastric_vein_probability": 0,
}


def painted(anatomy, **numbers):
    config = still_config(acquisition=CLEAN)
    numbers = {"branches_probability": 0, "varices_probability": 0} | numbers
    hollow = HollowOrganConfig(bright_mucosa_probability=0)
    config = dataclasses.replace(config, hollow_organs=hollow, coeliac=dataclasses.replace(config.coeliac, **numbers))
    return generate(anatomy, config, 3, anatomy.labels.shape, 2.0, centre_mm(anatomy))


def changes(plain, sample, least_hu=20):
    assert np.array_equal(plain.labels, sample.labels)
    return np.abs(sample.image_hu - plain.image_hu) > least_hu


def distance_mm(points, labels, name):
    organ = np.argwhere(labels == number_of(name))
    return np.linalg.norm(points[:, None] - organ[None], axis=2).min(1) * 2


def test_arteries_run_from_the_aorta_to_spleen_and_stomach_as_dense_as_the_aorta():
    anatomy = box_anatomy()
    plain, arteries = painted(anatomy), painted(anatomy, branches_probability=1, **STEADY)
    changed = changes(plain, arteries)
    assert changed.sum() > 100
    assert (plain.labels[changed] == 0).all()
    aorta_hu = np.median(plain.image_hu[plain.labels == number_of("aorta")])
    assert np.median(arteries.image_hu[changed]) == pytest.approx(aorta_hu, abs=5)
    points = np.argwhere(changed)
    for name in ("aorta", "spleen", "stomach", "pancreas"):
        assert distance_mm(points, plain.labels, name).min() < 6, name
    at_aorta = points[distance_mm(points, plain.labels, "aorta") < 5]
    assert at_aorta[:, 0].min() >= 22  # the upper border of the pancreas is at 25
    assert points[:, 2].max() > 33  # towards the liver
    above_pancreas = points[:, 0] > 30
    assert points[above_pancreas, 2].min() >= 25  # the lesser curvature


def test_the_splenic_artery_lies_at_the_upper_back_border_of_the_pancreas():
    anatomy = box_anatomy({name: box for name, box in BOXES.items() if name not in ("stomach", "kidney_left")})
    changed = changes(painted(anatomy), painted(anatomy, branches_probability=1, **STEADY))
    z, y, x = np.argwhere(changed).T
    body = (x >= 19) & (x < 24)  # left of the aorta, still in the pancreas
    assert body.sum() > 10
    assert z[body].mean() > 22
    assert y[body].mean() < 18


def test_calcified_arteries_hold_denser_pieces_and_veins_join_them():
    anatomy = box_anatomy(BOXES | {"portal_vein_and_splenic_vein": ((22, 26), (24, 28), (26, 34))})
    dense = STEADY | {"calcified_hu": Range(1500, 1500)}
    arteries = painted(anatomy, branches_probability=1, **dense)
    calcified = painted(anatomy, branches_probability=1, **dense | {"calcified_probability": 1})
    assert (arteries.image_hu < 1400).all()
    assert 3 < (calcified.image_hu > 1400).sum() < changes(painted(anatomy), arteries).sum()
    wide = {"gastric_vein_probability": 1, "gastric_vein_radius_mm": Range(5, 5)}
    with_vein = painted(anatomy, branches_probability=1, **STEADY | wide)
    vein = changes(arteries, with_vein)
    assert vein.sum() > 50
    assert distance_mm(np.argwhere(vein), arteries.labels, "stomach").min() < 4
    portal_hu = np.median(with_vein.image_hu[with_vein.labels == number_of("portal_vein_and_splenic_vein")])
    assert np.median(with_vein.image_hu[vein]) == pytest.approx(portal_hu, abs=10)


def test_varices_wind_over_the_stomach_or_under_its_mucosa():
    anatomy = box_anatomy()
    plain = painted(anatomy)
    for inside, allowed in ((0, {0}), (1, {number_of("stomach")})):
        varices = painted(anatomy, varices_probability=1, submucosal_probability=inside)
        changed = changes(plain, varices)
        assert set(np.unique(plain.labels[changed])) == allowed
        assert distance_mm(np.argwhere(changed), plain.labels, "stomach").max() < 15


def test_a_varix_takes_small_steps_along_the_stomach():
    anatomy = box_anatomy()
    one = {"varices_max_count": 1, "submucosal_probability": 1, "varix_radius_mm": Range(2, 2)}
    varix = painted(anatomy, varices_probability=1, varix_step_mm=Range(2, 2), **one)
    points = np.argwhere(changes(painted(anatomy), varix))
    assert len(points) > 5
    assert np.ptp(points, axis=0).max() * 2 <= 24


@pytest.mark.parametrize("missing", ["pancreas", "aorta"])
def test_without_pancreas_or_aorta_there_are_no_branches(missing):
    anatomy = box_anatomy({name: box for name, box in BOXES.items() if name != missing})
    assert not changes(painted(anatomy), painted(anatomy, branches_probability=1), least_hu=0).any()


def test_without_a_stomach_there_are_no_varices():
    anatomy = box_anatomy({name: box for name, box in BOXES.items() if name != "stomach"})
    assert not changes(painted(anatomy), painted(anatomy, varices_probability=1), least_hu=0).any()
