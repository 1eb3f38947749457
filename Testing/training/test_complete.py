"""Tests of completing label maps of a few organs: smoothing, pairing, registration, warping, checks, the command."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from scipy import ndimage

from attention_unet_training.cli import main
from attention_unet_training.commands import complete as complete_command
from attention_unet_training.data.people import RECORD, Shown, check_apart, read_people
from attention_unet_training.synthetic_ct.atlas import choose_sources, load_atlas
from attention_unet_training.synthetic_ct.body_map import BodyMap
from attention_unet_training.synthetic_ct.completion import CompletionConfig, complete, landmarks, smooth
from attention_unet_training.synthetic_ct.organ_registration import RegistrationConfig, register
from attention_unet_training.synthetic_ct.pairing import choose_pairs, misfit, whole_organs
from attention_unet_training.synthetic_ct.plausibility import check_bowel, check_organs
from attention_unet_training.synthetic_ct.structures import STRUCTURES, number_of
from support.box_anatomy import box_labels, write_atlas

SHAPE = (60, 60, 90)
MM = 4.0  # edge of a voxel: the boxes are as large as organs then
# Boxes (z, y, x) in voxels; a rib cage around the organs.
SKELETON = {
    "vertebrae_L2": ((8, 28), (6, 14), (40, 50)),
    "vertebrae_L1": ((30, 54), (6, 14), (40, 50)),
    "rib_left_10": ((4, 58), (10, 50), (2, 5)),
    "rib_right_10": ((4, 58), (10, 50), (85, 88)),
    "sternum": ((30, 50), (56, 59), (40, 50)),
    "autochthon_left": ((0, 60), (4, 12), (26, 38)),
}
ORGANS = {
    "liver": ((24, 48), (20, 44), (58, 80)),
    "aorta": ((0, 60), (17, 20), (43, 46)),
    "pancreas": ((26, 36), (24, 32), (30, 48)),
    "spleen": ((30, 46), (18, 34), (10, 20)),
    "kidney_left": ((10, 24), (16, 26), (24, 34)),
    "kidney_right": ((10, 24), (16, 26), (58, 68)),
    "stomach": ((38, 52), (36, 50), (22, 40)),
}
REST = {
    "gallbladder": ((20, 25), (46, 50), (58, 64)),
    "small_bowel": ((4, 14), (34, 44), (20, 70)),
    "duodenum": ((26, 34), (26, 32), (50, 55)),
}
WHOLE = SKELETON | ORGANS | REST
QUICK = CompletionConfig(
    registration=RegistrationConfig(grid_mm=12.0, affine_steps=40, levels=((60.0, 30.0, 40), (30.0, 20.0, 40)))
)


@pytest.fixture(scope="module")
def recipient():
    return box_labels(ORGANS, SHAPE)


@pytest.fixture(scope="module")
def donor():
    return box_labels(WHOLE, SHAPE)


@pytest.fixture(scope="module")
def completed(recipient, donor):
    """By a donor who lies 10 voxels further to the front and 14 further to the right."""
    return complete(recipient, np.pad(donor, ((0, 0), (10, 0), (14, 0))), list(ORGANS), MM, QUICK)


def voxels(labels, name):
    return labels == number_of(name)


def centre(labels, name):
    return np.argwhere(voxels(labels, name)).mean(0)


# --- smoothing


def test_smoothing_takes_the_steps_of_thick_slices_but_no_volume():
    z, y, x = np.indices((60, 60, 60)) - 30
    thick = (z + 30) // 5 * 5 - 28  # slices five voxels high
    ball = (np.sqrt(thick**2 + y**2 + x**2) < 20).astype(np.uint8) * number_of("spleen")
    smoothed = smooth(ball, 1.0, CompletionConfig())
    assert np.count_nonzero(smoothed) == pytest.approx(np.count_nonzero(ball), rel=0.001)
    true = np.sqrt(z**2 + y**2 + x**2) < 20
    assert np.count_nonzero((smoothed > 0) != true) < 0.7 * np.count_nonzero((ball > 0) != true)


def test_smoothing_leaves_organs_that_touch_touching_and_adds_none():
    boxes = {"liver": ((5, 30), (5, 30), (5, 20)), "stomach": ((5, 30), (5, 30), (20, 35))}
    smoothed = smooth(box_labels(boxes, (36, 36, 40)), 1.5, CompletionConfig())
    assert np.unique(smoothed).tolist() == sorted([0, number_of("liver"), number_of("stomach")])
    assert (smoothed[17, 17, 8:32] > 0).all()
    for name in boxes:
        assert np.count_nonzero(voxels(smoothed, name)) == pytest.approx(25 * 25 * 15, rel=0.03)


def test_smoothing_keeps_what_the_end_of_the_scan_cuts(recipient):
    aorta = voxels(smooth(recipient, MM, CompletionConfig()), "aorta")
    assert (aorta.sum((1, 2)) == 9).all()


# --- pairing


def organs_of(labels):
    return whole_organs(labels, STRUCTURES, MM)


def test_people_who_differ_in_place_and_size_of_the_body_fit(recipient):
    twice = np.kron(recipient, np.ones((2, 2, 2), dtype=np.uint8))
    assert misfit(organs_of(recipient), organs_of(np.roll(twice, 7, 2))) == pytest.approx(0, abs=1e-6)


def test_the_larger_the_difference_of_an_organ_the_worse_the_fit(recipient):
    others = [box_labels(ORGANS | {"spleen": ((30 - n, 46), (18, 34), (10, 20))}, SHAPE) for n in (0, 4, 8)]
    values = [misfit(organs_of(recipient), organs_of(other)) for other in others]
    assert values == sorted(values)
    assert values[0] == 0 < values[1]


def test_organs_that_a_scan_cuts_do_not_fit(recipient, donor):
    whole = organs_of(recipient)
    assert whole.keys() == ORGANS.keys() - {"aorta"}
    assert misfit(whole, organs_of(donor[:42])) == pytest.approx(3 / 6)  # liver, spleen and stomach are cut
    assert misfit(whole, organs_of(donor[:20])) == 1.0


def test_the_best_pairs_are_chosen_and_no_donor_gives_much_more_than_its_share():
    misfits = {(f"p{n}", donor): {"a": 0.1, "b": 0.2, "c": 0.9}[donor] + n / 1000 for n in range(30) for donor in "abc"}
    pairs = choose_pairs(misfits, 1)
    given = {donor: [pair[1] for pair in pairs].count(donor) for donor in "abc"}
    assert given == {"a": 13, "b": 13, "c": 4}
    assert sorted(pair[0] for pair in pairs) == sorted(f"p{n}" for n in range(30))
    assert len(choose_pairs(misfits, 9)) == 90
    assert choose_pairs({("p", "a"): 1.0}, 1) == []


# --- registration


def test_the_same_body_stays_where_it_is(recipient, donor):
    body_map = register(recipient, donor, landmarks(recipient, donor, MM, QUICK), MM, QUICK.registration)
    points_mm = torch.from_numpy(np.argwhere(recipient > 0).T[..., None, None] * MM).float()
    assert float((body_map(points_mm) - points_mm).norm(dim=0).max()) < MM


def test_a_larger_body_that_lies_elsewhere_is_found(recipient, donor):
    larger = ndimage.zoom(donor, (1.0, 1.2, 1.2), order=0)
    body_map = register(recipient, larger, landmarks(recipient, larger, MM, QUICK), MM, QUICK.registration)
    for name in ("liver", "spleen", "pancreas", "kidney_left"):
        here = torch.from_numpy(centre(recipient, name) * MM).float().view(3, 1, 1, 1)
        assert np.abs(body_map(here).flatten().numpy() / MM - centre(larger, name)).max() < 1.5, name


def test_organs_push_bones_away(recipient):
    flat = {"sternum": ((28, 44), (38, 44), (62, 76)), "liver": ((24, 48), (20, 38), (58, 80))}
    donor = box_labels(WHOLE | flat, SHAPE)  # its sternum lies where the recipient's liver does
    told = dataclasses.replace(QUICK, largest_loss=0.0)
    free = dataclasses.replace(told, registration=dataclasses.replace(QUICK.registration, solid=0.0, trunk=0.0))
    with_bones, without = (
        complete(recipient, donor, list(ORGANS), MM, config).lost.get("sternum", 0.0) for config in (told, free)
    )
    assert with_bones < 0.7 * without


def test_folding_shows_in_the_volumes_of_cells():
    displacement_mm = torch.zeros(3, 3, 3, 3)
    displacement_mm[0, 1] = 15.0  # further than the next layer, which stays
    box_mm = torch.tensor([[0.0, 0.0, 0.0], [20.0, 20.0, 20.0]])
    body_map = BodyMap(torch.full((3,), 1.25), torch.zeros(3), displacement_mm, box_mm)
    assert body_map.relative_volumes()[:, 0, 0].tolist() == pytest.approx([1 + 1.5 / 1.25, 1 - 1.5 / 1.25])


def test_bodies_without_three_common_organs_are_refused(recipient):
    few = box_labels({name: ORGANS[name] for name in ("liver", "spleen", "aorta")}, SHAPE)
    with pytest.raises(ValueError, match="3 organs must lie wholly inside both fields, 2 do"):
        complete(few, recipient, [], MM, QUICK)


# --- completion


def test_own_organs_stay_and_the_rest_comes_from_the_donor(recipient, completed):
    for name in ORGANS:
        assert np.count_nonzero(voxels(completed.labels, name)) == np.count_nonzero(voxels(recipient, name)), name
    for name, box in (SKELETON | REST).items():
        volume = np.prod([stop - start for start, stop in box])
        assert np.count_nonzero(voxels(completed.labels, name)) == pytest.approx(volume, rel=0.25), name


def test_the_rest_moves_with_the_organs(recipient, donor, completed):
    shift = centre(completed.labels, "liver") - centre(recipient, "liver")  # the result has another origin
    for name in ("small_bowel", "vertebrae_L1", "sternum"):
        assert np.abs(centre(completed.labels, name) - centre(donor, name) - shift).max() < 2.5, name


def test_what_no_one_is_to_be_given_is_not_given(recipient, donor):
    labels = complete(recipient, donor, [*ORGANS, "gallbladder"], MM, QUICK).labels
    assert not voxels(labels, "gallbladder").any()


def test_where_both_claim_a_voxel_the_own_organ_has_it_and_large_losses_are_told(recipient):
    inside = {"duodenum": ((28, 34), (26, 30), (36, 42))}  # within the pancreas
    result = complete(recipient, box_labels(WHOLE | inside, SHAPE), list(ORGANS), MM, QUICK)
    assert np.count_nonzero(voxels(result.labels, "pancreas")) == np.count_nonzero(voxels(recipient, "pancreas"))
    assert result.lost.keys() == {"duodenum"}
    assert result.lost["duodenum"] > 0.4


def test_slices_that_the_donors_scan_does_not_cover_are_left_out(recipient, donor):
    labels = complete(recipient, donor[:54], list(ORGANS), MM, QUICK).labels
    assert abs(len(labels) - 54) <= 1
    assert np.count_nonzero(voxels(labels, "spleen")) == np.count_nonzero(voxels(recipient, "spleen"))


# --- checks


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"pancreas": None}, "it shows no pancreas"),
        ({"kidney_left": ((10, 14), (16, 20), (24, 34))}, "its left kidney has 10 ml, expected are 25 to 600 ml"),
        (
            {"spleen": ((2, 46), (2, 50), (2, 30)), "stomach": None},
            "its spleen has 3731 ml, expected are 20 to 3500 ml",
        ),
        ({"liver": ((24, 48), (20, 44), (2, 24)), "spleen": ((30, 46), (18, 34), (70, 80))}, "is it flipped?"),
        ({"kidney_right": ((40, 54), (16, 26), (58, 68))}, "its right kidney does not lie below its spleen"),
    ],
)
def test_implausible_organs_are_refused(boxes, message):
    boxes = {name: box for name, box in (ORGANS | boxes).items() if box}
    with pytest.raises(ValueError, match=re.escape(message)):
        check_organs(box_labels(boxes, SHAPE), MM)


def test_an_organ_in_parts_is_refused(recipient):
    split = recipient.copy()
    split[30, 24:32, 30:48] = 0
    with pytest.raises(ValueError, match="its pancreas falls into parts, the largest of which holds 56%"):
        check_organs(split, MM)


def test_plausible_organs_and_organs_that_are_missing_are_accepted(recipient, donor):
    check_organs(recipient, MM)
    check_organs(np.where(np.isin(recipient, [number_of("spleen"), number_of("kidney_left")]), 0, recipient), MM)
    check_bowel(donor, MM)
    with pytest.raises(ValueError, match="it shows 0 ml of bowel, expected are 100 ml"):
        check_bowel(recipient, MM)


# --- the command


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Partial and whole maps at 4 mm, as which the command writes them here."""
    monkeypatch.setattr(complete_command, "SPACING_MM", MM)
    monkeypatch.setattr(complete_command, "CompletionConfig", lambda: QUICK)
    partial, whole = tmp_path / "partial", tmp_path / "whole"
    for folder in (partial, whole):
        folder.mkdir()
    write_atlas(partial, ["p1", "p2"], ORGANS, SHAPE, MM)
    write_atlas(whole, ["w1", "w2"], WHOLE, SHAPE, MM)
    return partial, whole


def run(folders, output, *options):
    partial, whole = folders
    arguments = ["--partial", partial, "--whole", whole, "--output", output, "--processes", "1", *options]
    return main(["complete", *map(str, arguments)])


@pytest.mark.slow
def test_the_command_writes_maps_pictures_and_a_record(folders, tmp_path, capsys):
    output = tmp_path / "out"
    assert run(folders, output, "--donors", "5") == 0
    assert f"wrote 4 completed label maps beside the whole ones to {output}" in capsys.readouterr().out
    names = ["p1_w1", "p1_w2", "p2_w1", "p2_w2"]
    anatomies = {anatomy.name: anatomy for anatomy in load_atlas(output, spacing_mm=MM)}
    assert list(anatomies) == [*names, "w1", "w2"]
    assert {"sternum", "pancreas"} <= {name for name in STRUCTURES if voxels(anatomies["p1_w1"].labels, name).any()}
    assert sorted(path.stem for path in (output / "pictures").iterdir()) == names
    record = json.loads((output / "completed.json").read_text())
    assert record["p1_w2"] == {"recipient": "p1", "donor": "w2", "misfit": 0.0, "lost": {}}
    assert run(folders, output, "--donors", "1", "--overwrite") == 0
    assert len(json.loads((output / "completed.json").read_text())) == 2


@pytest.mark.slow
def test_people_who_are_held_out_complete_each_other_only(folders, tmp_path):
    assert run(folders, tmp_path / "out", "--held-out", "p2", "w1") == 0
    names = [source.name for source in choose_sources(tmp_path / "out")]
    assert names == ["p1_w2", "p2_w1", "w1", "w2"]
    people = read_people(tmp_path / "out", names)
    check_apart(people, ["p2_w1", "w1"], ["p1_w2", "w2"])
    with pytest.raises(ValueError, match="w1 shows w1, as p2_w1 does"):
        check_apart(people, ["p2_w1"], ["p1_w2", "w1", "w2"])


@pytest.mark.slow
def test_only_people_of_training_are_bent_and_only_towards_each_other(folders, tmp_path, capsys):
    write_atlas(folders[0], ["p3"], ORGANS | {"spleen": ((26, 46), (16, 34), (8, 20))}, SHAPE, MM)
    assert run(folders, tmp_path / "out", "--held-out", "p2", "w1", "--bent", "9") == 0
    assert "wrote 3 completed label maps, and 6 bent ones, beside the whole ones" in capsys.readouterr().out
    names = [source.name for source in choose_sources(tmp_path / "out")]
    bent = [
        f"{name}_to_{other}" for name in ("p1_w2", "p3_w2", "w2") for other in ("p1_w2", "p3_w2", "w2") if name != other
    ]
    assert names == sorted([*bent, "p1_w2", "p2_w1", "p3_w2", "w1", "w2"])
    assert {path.stem for path in (tmp_path / "out" / "pictures").iterdir()} == {*bent, "p1_w2", "p2_w1", "p3_w2"}
    people = read_people(tmp_path / "out", names)
    assert people["p1_w2_to_p3_w2"] == Shown("p1", "w2", "p3") and people["w2_to_p1_w2"] == Shown("w2", "w2", "p1")
    check_apart(people, ["p2_w1", "w1"], [*bent, "p1_w2", "p3_w2", "w2"])


@pytest.mark.slow
def test_a_map_that_is_refused_is_passed_over_and_told(folders, tmp_path, caplog):
    write_atlas(folders[0], ["without"], {name: box for name, box in ORGANS.items() if name != "pancreas"}, SHAPE, MM)
    assert run(folders, tmp_path / "out", "--donors", "1") == 0
    assert [record.getMessage() for record in caplog.records] == ["without is passed over: it shows no pancreas"]
    assert len(json.loads((tmp_path / "out" / "completed.json").read_text())) == 2


@pytest.mark.slow
def test_a_person_for_whom_there_is_no_donor_is_told(folders, tmp_path, caplog):
    assert run(folders, tmp_path / "out", "--held-out", "p2", "--donors", "1") == 0
    assert [record.getMessage() for record in caplog.records] == [
        "p2 is passed over: no whole map shows three of its organs whole"
    ]


def test_nothing_is_written_if_no_map_can_be_completed(folders, tmp_path, capsys):
    write_atlas(folders[0], ["p1", "p2"], {"liver": ORGANS["liver"], "pancreas": ORGANS["pancreas"]}, SHAPE, MM)
    assert run(folders, tmp_path / "out") == 1
    assert capsys.readouterr().err == f"error: no map of {folders[0]} can be completed\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--donors", "0"], "donors and processes must be positive, bent not negative, got 0, 1 and 0"),
        (["--bent", "-1"], "donors and processes must be positive, bent not negative, got 3, 1 and -1"),
        (["--held-out", "nobody"], "has a map called nobody"),
        (["--whole", "nowhere"], "The atlas must be a folder, got nowhere."),
    ],
)
def test_the_command_refuses_with_one_sentence(folders, tmp_path, capsys, options, message):
    assert run(folders, tmp_path / "out", *options) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_same_name_in_both_folders_is_refused(folders, tmp_path, capsys):
    write_atlas(folders[1], ["p1"], WHOLE, SHAPE, MM)
    assert run(folders, tmp_path / "out") == 1
    assert "both have a map called p1" in capsys.readouterr().err


def test_completed_maps_are_not_taken_for_whole_ones(folders, tmp_path, capsys):
    (folders[1] / RECORD).write_text("{}")
    assert run(folders, tmp_path / "out") == 1
    assert f"{folders[1]} holds completed maps: give the whole ones" in capsys.readouterr().err
