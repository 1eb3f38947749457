"""Tests of mixing label maps: organs of one person in the body of another."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from attention_unet_training.cli import main
from attention_unet_training.commands import recombine as recombine_command
from attention_unet_training.synthetic_ct import prepare_anatomy
from attention_unet_training.synthetic_ct.atlas import load_atlas
from attention_unet_training.synthetic_ct.recombination import (
    GROUPS,
    RecombinationConfig,
    recombine,
    skeleton_map,
)
from attention_unet_training.synthetic_ct.structures import BONES, number_of
from support.box_anatomy import RAS_2MM, box_labels, own_names, write_atlas

pytestmark = pytest.mark.slow

SHAPE = (60, 60, 90)
# Boxes (z, y, x) in voxels; a rib cage around the organs.
SKELETON = {
    "vertebrae_L3": ((8, 18), (6, 14), (40, 50)),
    "vertebrae_L2": ((20, 30), (6, 14), (40, 50)),
    "vertebrae_L1": ((32, 42), (6, 14), (40, 50)),
    "vertebrae_T12": ((44, 54), (6, 14), (40, 50)),
    "rib_left_10": ((4, 31), (10, 50), (2, 6)),
    "rib_right_10": ((4, 31), (10, 50), (84, 88)),
    "rib_left_9": ((32, 58), (10, 50), (2, 6)),
    "rib_right_9": ((32, 58), (10, 50), (84, 88)),
    "sternum": ((30, 50), (54, 57), (40, 50)),
}
ORGANS = {
    "autochthon_left": ((0, 60), (4, 12), (26, 38)),
    "liver": ((20, 50), (16, 48), (56, 82)),
    "aorta": ((0, 60), (16, 20), (42, 46)),
    "pancreas": ((26, 36), (24, 32), (30, 50)),
    "spleen": ((30, 46), (18, 34), (10, 20)),
    "kidney_left": ((10, 24), (14, 24), (24, 36)),
    "kidney_right": ((10, 24), (14, 24), (58, 70)),
    "adrenal_gland_left": ((25, 27), (14, 18), (28, 32)),
    "stomach": ((38, 52), (36, 50), (22, 40)),
    "small_bowel": ((4, 14), (34, 44), (20, 70)),
}
BODY = SKELETON | ORGANS


def anatomy(name, labels=None, spacing_mm=2.0, **boxes):
    labels = box_labels(BODY | boxes, SHAPE) if labels is None else labels
    return prepare_anatomy(labels, own_names(), RAS_2MM, name, spacing_mm)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Starting processes takes longer than preparing such small maps; ``test_atlas.py`` prepares in several."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def recipient():
    return anatomy("recipient")


def only(*groups, **numbers):
    """Always exchange these groups, and put them where the recipient has its own."""
    return RecombinationConfig(probability=dict.fromkeys(groups, 1.0), **({"pull": (1.0, 1.0)} | numbers))


def mixed(recipient, donor, config, seed=0):
    return recombine(recipient, [donor], config, np.random.default_rng(seed))


def voxels(labels, name):
    return labels == number_of(name)


def test_a_spleen_takes_the_donors_shape_and_the_recipients_place(recipient):
    donor = anatomy("donor", spleen=((20, 44), (20, 30), (12, 22)))
    labels, taken = mixed(recipient, donor, only("spleen"))
    assert taken == {"spleen": "donor"}
    found = np.argwhere(voxels(labels, "spleen"))
    own = np.argwhere(voxels(recipient.labels, "spleen"))
    assert (found.max(0) - found.min(0) + 1).tolist() == [24, 10, 10]
    assert np.abs(found.mean(0) - own.mean(0)).max() <= 0.5
    elsewhere = ~voxels(labels, "spleen") & ~voxels(recipient.labels, "spleen")
    assert np.array_equal(labels[elsewhere], recipient.labels[elsewhere])
    assert not labels[voxels(recipient.labels, "spleen") & ~voxels(labels, "spleen")].any()  # left to fat


def test_without_a_pull_an_organ_lies_where_the_skeleton_puts_it(recipient):
    donor = anatomy("donor", spleen=((24, 40), (22, 38), (12, 22)))
    labels, _ = mixed(recipient, donor, only("spleen", pull=(0.0, 0.0)))
    assert np.array_equal(voxels(labels, "spleen"), voxels(donor.labels, "spleen"))


def test_the_skeleton_map_finds_how_two_bodies_lie_to_each_other(recipient):
    source = np.argwhere(np.ones(SHAPE, dtype=bool)).reshape(*SHAPE, 3)
    donor_index = (source * [1.0, 1.1, 1.1] - [0, 3, 4.5]).round().astype(int)  # of the donor in the recipient's frame
    labels = box_labels(BODY, SHAPE)[tuple(donor_index.clip(0, np.array(SHAPE) - 1).transpose(3, 0, 1, 2))]
    donor = anatomy("donor", labels)
    matrix = skeleton_map(recipient, donor, RecombinationConfig())
    for name in ("spleen", "liver", "kidney_right"):
        here, there = (np.argwhere(voxels(each.labels, name)).mean(0) for each in (recipient, donor))
        assert np.abs((matrix @ [*here, 1])[:3] - there).max() < 1.5  # voxels; whole voxels were moved


def test_a_smaller_donors_organ_grows_with_the_skeleton(recipient):
    half = anatomy("half", box_labels(BODY, SHAPE)[::2, ::2, ::2])
    labels, taken = mixed(recipient, half, only("spleen", largest_volume_factor=10.0))
    assert taken == {"spleen": "half"}
    assert voxels(labels, "spleen").sum() == pytest.approx(voxels(recipient.labels, "spleen").sum(), rel=0.15)
    assert skeleton_map(recipient, half, RecombinationConfig()) is None  # a factor of 8 is no other adult


def test_an_organ_without_room_is_refused(recipient):
    donor = anatomy("donor", spleen=((20, 50), (16, 48), (40, 82)))
    labels, taken = mixed(recipient, donor, only("spleen"))
    assert taken == {}
    assert np.array_equal(labels, recipient.labels)
    assert mixed(recipient, donor, only("spleen", smallest_share=0.1))[1] == {"spleen": "donor"}


def test_nothing_is_written_over_bone_muscle_vessels_or_other_organs_nor_outside_the_trunk(recipient):
    donor = anatomy("donor", spleen=((14, 56), (10, 52), (0, 60)))
    labels, _ = mixed(recipient, donor, only("spleen", smallest_share=0.01, pull=(0.0, 0.0)))
    for name in (*SKELETON, "autochthon_left", "liver", "aorta", "pancreas", "kidney_left", "kidney_right"):
        assert np.array_equal(voxels(labels, name), voxels(recipient.labels, name)), name
    assert recipient.hull_distance_mm[voxels(labels, "spleen")].max() <= -2.0
    assert (voxels(labels, "stomach") & ~voxels(recipient.labels, "stomach")).sum() == 0
    assert voxels(labels, "stomach").sum() < voxels(recipient.labels, "stomach").sum()  # hollow organs give way


def test_bowel_fills_the_room_that_is_left_and_gives_way_to_no_one(recipient):
    donor = anatomy("donor", small_bowel=((4, 52), (20, 54), (8, 80)))
    labels, taken = mixed(recipient, donor, only("bowel"))
    assert taken == {"bowel": "donor"}
    others = (recipient.labels > 0) & ~voxels(recipient.labels, "small_bowel")
    assert np.array_equal(labels[others], recipient.labels[others])
    assert voxels(labels, "small_bowel").sum() > 2 * voxels(recipient.labels, "small_bowel").sum()


def test_an_adrenal_gland_goes_with_its_kidney(recipient):
    donor = anatomy("donor", adrenal_gland_left=((26, 30), (14, 18), (26, 30)))
    labels, taken = mixed(recipient, donor, only("kidney_left"))
    assert taken == {"kidney_left": "donor"}
    assert voxels(labels, "adrenal_gland_left").sum() == voxels(donor.labels, "adrenal_gland_left").sum()
    assert not np.array_equal(voxels(labels, "adrenal_gland_left"), voxels(recipient.labels, "adrenal_gland_left"))


def test_an_organ_cut_by_the_donors_scan_is_not_given(recipient):
    donor = anatomy("donor", spleen=((40, 60), (18, 34), (10, 20)))
    assert mixed(recipient, donor, only("spleen"))[1] == {}


def test_a_donor_of_another_size_is_measured_in_the_recipients_voxels(recipient):
    crowded = box_labels(BODY | {"spleen": ((20, 50), (16, 48), (40, 82))}, SHAPE)
    half = anatomy("half", crowded[::2, ::2, ::2])
    assert mixed(recipient, half, only("spleen", pull=(0.0, 0.0), largest_volume_factor=10.0))[1] == {}


@pytest.mark.parametrize(("organ", "scan"), [("spleen", slice(0, 40)), ("kidney_left", slice(15, 60))])
def test_what_lies_above_or_below_the_recipients_scan_needs_no_room(organ, scan):
    recipient, donor = anatomy("cut", box_labels(BODY, SHAPE)[scan]), anatomy("whole")
    assert voxels(recipient.labels, organ).sum() < 0.7 * voxels(donor.labels, organ).sum()
    labels, taken = mixed(recipient, donor, only(organ, pull=(0.0, 0.0), fewest_landmarks=4))
    assert taken == {organ: "whole"}
    assert np.array_equal(voxels(labels, organ), voxels(recipient.labels, organ))


def test_an_organ_that_the_recipient_lacks_is_not_given(recipient):
    without = anatomy("without", box_labels({k: v for k, v in BODY.items() if k != "spleen"}, SHAPE))
    labels, taken = mixed(without, recipient, only("spleen"))
    assert taken == {}
    assert not voxels(labels, "spleen").any()


def test_people_without_common_bones_are_not_mixed(recipient):
    donor = anatomy("donor", box_labels(ORGANS | dict(list(SKELETON.items())[:4]), SHAPE))
    labels, taken = mixed(recipient, donor, RecombinationConfig())
    assert taken == {}
    assert np.array_equal(labels, recipient.labels)


def test_bones_in_one_plane_say_nothing_about_the_direction_across_it(recipient):
    back = {name: (z, (6, 14), x) for name, (z, _, x) in SKELETON.items() if name != "sternum"}
    flat = anatomy("flat", box_labels(ORGANS | back, SHAPE))
    assert skeleton_map(flat, recipient, RecombinationConfig()) is None


@pytest.mark.parametrize("cut", [{"vertebrae_T12": (44, 60)}, {"vertebrae_L3": (0, 18)}])
def test_bones_cut_by_a_scan_are_no_landmarks(recipient, cut):
    ((name, height),) = cut.items()
    donor = anatomy("donor", **{name: (height, (6, 14), (40, 50))})
    assert np.allclose(skeleton_map(recipient, donor, RecombinationConfig()), np.eye(4), atol=1e-6)


def test_donors_need_the_recipients_spacing(recipient):
    with pytest.raises(ValueError, match="coarse has voxels of 3.0 mm, recipient of 2.0"):
        mixed(recipient, anatomy("coarse", spacing_mm=3.0), RecombinationConfig())


def test_each_group_begins_with_an_organ_and_has_a_probability():
    assert RecombinationConfig().probability.keys() == GROUPS.keys()
    assert not {organ for organs in GROUPS.values() for organ in organs} & set(BONES)


def test_the_same_numbers_are_drawn_for_the_same_seed(recipient):
    donors = [anatomy("a", spleen=((28, 46), (18, 30), (10, 18))), anatomy("b", stomach=((38, 50), (38, 50), (22, 36)))]
    first, again, other = (
        recombine(recipient, donors, RecombinationConfig(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
    assert not np.array_equal(first[0], other[0])


@pytest.fixture
def atlas(tmp_path):
    folder = tmp_path / "atlas"
    folder.mkdir()
    for name, spleen in {"a": ((30, 46), (18, 34), (10, 20)), "b": ((28, 50), (18, 30), (10, 18))}.items():
        write_atlas(folder, [name], BODY | {"spleen": spleen}, SHAPE)
    return write_atlas(folder, ["kept"], BODY | {"spleen": ((30, 40), (20, 30), (12, 20))}, SHAPE)


def run(atlas, output, *options):
    arguments = [
        "--atlas",
        atlas,
        "--output",
        output,
        "--cache",
        atlas.parent / "cache",
        "--held-out",
        "kept",
        *options,
    ]
    return main(["recombine", *map(str, arguments)])


def test_the_command_writes_new_maps_beside_the_old_ones(atlas, tmp_path, capsys):
    output = tmp_path / "more"
    assert run(atlas, output, "--count", "4") == 0
    assert f"wrote 4 new label maps beside the originals to {output}" in capsys.readouterr().out
    new = {each.name: each for each in load_atlas(output)}
    assert list(new) == ["a", "b", "kept", "mixed_000", "mixed_001", "mixed_002", "mixed_003"]
    for old in load_atlas(atlas):
        for volume in ("labels", "hull_distance_mm", "border_depth_mm", "bone_distance_mm"):
            assert np.array_equal(getattr(old, volume), getattr(new[old.name], volume)), volume
    record = json.loads((output / "recombined.json").read_text())
    assert [entry["recipient"] for entry in record.values()] == ["a", "b", "a", "b"]
    for name, entry in record.items():
        assert set(entry.values()) <= {"a", "b"}
        if "spleen" in entry:
            donor, recipient = (
                voxels(new[each].labels, "spleen").sum() for each in (entry["spleen"], entry["recipient"])
            )
            assert abs(voxels(new[name].labels, "spleen").sum() - donor) < abs(donor - recipient) / 2
    assert any("spleen" in entry for entry in record.values())


def test_the_command_gives_the_same_files_for_the_same_seed(atlas, tmp_path):
    for name, seed in {"one": "3", "two": "3", "three": "4"}.items():
        assert run(atlas, tmp_path / name, "--count", "2", "--seed", seed) == 0
    one, two, three = ([each.labels for each in load_atlas(tmp_path / name)] for name in ("one", "two", "three"))
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))
    assert not all(np.array_equal(first, third) for first, third in zip(one, three, strict=True))


def test_the_command_gives_the_same_files_if_no_map_is_held_in_memory(atlas, tmp_path, monkeypatch):
    assert run(atlas, tmp_path / "held", "--count", "3") == 0
    monkeypatch.setattr(recombine_command, "load_atlas", functools.partial(load_atlas, memory_gb=0))
    assert run(atlas, tmp_path / "read", "--count", "3") == 0
    for path in sorted((tmp_path / "held").iterdir()):
        assert path.read_bytes() == (tmp_path / "read" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "0"], "error: count must be positive and seed not negative, got 0 and 0"),
        (["--held-out", "kept", "nobody"], "is called nobody"),
        (["--held-out", "kept", "a"], "mixing needs two label maps that are not held out"),
        (["--atlas", "nowhere"], "error: The atlas must be a folder, got nowhere."),
    ],
)
def test_the_command_refuses_with_one_sentence(atlas, tmp_path, capsys, options, message):
    assert run(atlas, tmp_path / "more", *options) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "more").exists()


def test_the_command_keeps_what_is_there(atlas, tmp_path, capsys):
    output = tmp_path / "more"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    assert run(atlas, output, "--count", "1") == 1
    assert run(atlas, output, "--count", "1", "--overwrite") == 1
    assert "holds other files, such as thesis.txt" in capsys.readouterr().err
    assert (output / "thesis.txt").read_text() == "mine"


def test_maps_that_cannot_be_mixed_end_with_one_sentence_and_no_folder(tmp_path, capsys):
    folder = tmp_path / "atlas"
    folder.mkdir()
    write_atlas(folder, ["a", "b"], ORGANS, SHAPE)
    assert (
        main(["recombine", "--atlas", str(folder), "--output", str(tmp_path / "more"), "--cache", str(tmp_path)]) == 1
    )
    assert "can be mixed: too few whole bones in common" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def test_maps_that_were_mixed_are_not_mixed_again(tmp_path, capsys):
    folder = tmp_path / "atlas"
    folder.mkdir()
    write_atlas(folder, ["a", "mixed_000"], BODY, SHAPE)
    arguments = ["--atlas", str(folder), "--output", str(tmp_path / "more"), "--cache", str(tmp_path)]
    assert main(["recombine", *arguments]) == 1
    assert f"error: no subject of {folder} may be called mixed_000" in capsys.readouterr().err


def test_a_map_that_nothing_fits_into_is_passed_over(atlas, tmp_path, caplog):
    write_atlas(atlas, ["a_without_bones"], ORGANS, SHAPE)
    assert run(atlas, tmp_path / "more", "--count", "3") == 0
    record = json.loads((tmp_path / "more" / "recombined.json").read_text())
    assert len(record) == 3
    assert {entry["recipient"] for entry in record.values()} == {"a", "b"}
    assert [each.getMessage() for each in caplog.records] == [
        "a_without_bones is passed over: nothing of the others fits into it"
    ]


def test_of_a_large_folder_a_few_donors_are_drawn_for_each_map(tmp_path, monkeypatch):
    folder = tmp_path / "atlas"
    folder.mkdir()
    write_atlas(folder, [f"s{n}" for n in range(6)], BODY, SHAPE)
    asked = []
    monkeypatch.setattr("attention_unet_training.commands.recombine.MOST_DONORS", 2)
    monkeypatch.setattr(
        "attention_unet_training.commands.recombine.recombine",
        lambda recipient, donors, *_: asked.append([each.name for each in donors]) or recombine(recipient, donors, *_),
    )
    arguments = ["--atlas", str(folder), "--output", str(tmp_path / "more"), "--cache", str(tmp_path), "--count", "6"]
    assert main(["recombine", *arguments]) == 0
    assert {len(set(names)) for names in asked} == {2}
    assert len({name for names in asked for name in names}) > 2
