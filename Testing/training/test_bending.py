"""Tests of label maps that are bent from one person towards another, on bodies made of boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attention_unet_training.synthetic_ct import bending
from attention_unet_training.synthetic_ct.bending import bend, choose_bends
from attention_unet_training.synthetic_ct.completion import CompletionConfig
from attention_unet_training.synthetic_ct.organ_registration import RegistrationConfig
from attention_unet_training.synthetic_ct.structures import number_of
from support.box_anatomy import box_labels

MM, SHAPE = 4.0, (60, 60, 90)
BODY = {
    "vertebrae_L1": ((4, 54), (6, 14), (40, 50)),
    "liver": ((24, 48), (20, 44), (58, 80)),
    "aorta": ((0, 60), (17, 20), (43, 46)),
    "pancreas": ((26, 36), (24, 32), (30, 48)),
    "spleen": ((26, 46), (18, 34), (10, 20)),
    "kidney_left": ((8, 24), (16, 26), (24, 34)),
    "kidney_right": ((8, 24), (16, 26), (58, 68)),
    "duodenum": ((26, 34), (26, 32), (50, 55)),
}
QUICK = CompletionConfig(
    registration=RegistrationConfig(grid_mm=12.0, affine_steps=40, levels=((60.0, 30.0, 40), (30.0, 20.0, 60)))
)


@pytest.fixture(scope="module")
def person():
    return box_labels(BODY, SHAPE)


@pytest.fixture(scope="module")
def other():
    """With a longer spleen, who lies elsewhere in the scan."""
    longer = box_labels(BODY | {"spleen": ((21, 51), (18, 34), (10, 20))}, SHAPE)
    return np.pad(longer, ((0, 0), (6, 0), (9, 0)))


def height(labels, name):
    slices = np.flatnonzero((labels == number_of(name)).any((1, 2)))
    return slices[-1] - slices[0] + 1


def volume(labels, name):
    return np.count_nonzero(labels == number_of(name))


def test_no_share_of_the_way_changes_nothing(person, other):
    still = bend(person, other, 0.0, MM, QUICK)
    margin = (still.shape[1] - SHAPE[1]) // 2
    assert np.array_equal(still[:, margin:-margin, margin:-margin], person)
    assert np.count_nonzero(still) == np.count_nonzero(person)


def test_organs_come_between_those_of_two_people_and_beyond_one(person, other):
    lengths = {share: height(bend(person, other, share, MM, QUICK), "spleen") for share in (-0.4, 0.0, 0.5, 0.9)}
    assert lengths[-0.4] < lengths[0.0] == 20 < lengths[0.5] < lengths[0.9] <= 30  # the other's has 30


def test_organs_that_do_not_differ_and_those_that_are_no_landmarks_stay(person, other):
    bent = bend(person, other, 0.7, MM, QUICK)
    for name in ("liver", "pancreas", "duodenum", "vertebrae_L1"):
        assert volume(bent, name) == pytest.approx(volume(person, name), rel=0.25), name
    assert set(np.unique(bent)) == set(np.unique(person))


def test_the_size_of_the_body_stays(person):
    larger = np.kron(person, np.ones((2, 2, 2), dtype=np.uint8))
    bent = bend(person, larger, 0.9, MM, dataclasses.replace(QUICK, smallest_share_in_field=0.5))
    assert volume(bent, "liver") == pytest.approx(volume(person, "liver"), rel=0.2)  # the other's has 8 times as much


def test_a_body_of_which_a_part_would_nearly_vanish_is_refused(person, other, monkeypatch):
    monkeypatch.setattr(bending, "SMALLEST_VOLUME", 0.99)
    with pytest.raises(ValueError, match="a part of the body nearly vanishes"):
        bend(person, other, 0.9, MM, QUICK)


def test_each_person_is_bent_towards_others_and_its_maps_take_turns():
    maps = {"a": ["a_x", "a_y"], "b": ["b_x"], "c": ["c_x", "c_y", "c_z"], "d": ["d"]}
    bends = choose_bends(maps, 2)
    assert bends == choose_bends(maps, 2)
    person_of = {name: person for person, names in maps.items() for name in names}
    pairs = [(person_of[each.name], person_of[each.towards]) for each in bends]
    assert [person for person, _ in pairs] == ["a", "a", "b", "b", "c", "c", "d", "d"]
    assert len(set(pairs)) == 8 and all(person != towards for person, towards in pairs)
    assert {each.name for each in bends} >= {"a_x", "a_y"}
    assert len(choose_bends(maps, 9)) == 12 and choose_bends(maps, 0) == []


def test_shares_lie_between_two_people_or_beyond_one():
    shares = np.array([each.share for each in choose_bends({f"p{n:02}": [f"p{n:02}"] for n in range(30)}, 29)])
    within = (shares >= 0.35) & (shares <= 0.9)
    assert (within | ((shares >= -0.5) & (shares <= -0.25))).all()
    assert within.mean() == pytest.approx(0.7, abs=0.05)
