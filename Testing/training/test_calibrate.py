"""Constants on the organs' scores that give them the right volume."""

import numpy as np
import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.commands import calibrate as calibrate_module
from attention_unet_training.commands.calibrate import calibrate
from attention_unet_training.evaluation import calibration
from attention_unet_training.evaluation.calibration import Scored, offsets_for_volumes
from attention_unet_training.task.checkpoints import load_network
from support.box_anatomy import write_atlas
from support.training_checkpoints import tiny_network, write_checkpoint

pytestmark = pytest.mark.slow

SHAPE = (16, 32, 32)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return write_atlas(tmp_path_factory.mktemp("atlas"), ("a", "b"))


@pytest.fixture
def options(atlas, tmp_path):
    return {"atlas": atlas, "subjects": ["b"], "patches": 3, "shape_kji": SHAPE, "cache": tmp_path / "cache"}


def scored(rows: list[list[float]], target: list[int]) -> Scored:
    """Voxels in a row: their scores, class by class, and their classes."""
    return Scored(np.array(rows, np.float32)[:, None, None, :], np.array(target)[None, None, :])


def volumes(patches: list[Scored], offsets: np.ndarray) -> list[int]:
    found = [(patch.logits + offsets[:, None, None, None]).argmax(axis=0).ravel() for patch in patches]
    return np.bincount(np.concatenate(found), minlength=len(offsets)).tolist()


def test_an_organ_that_is_too_large_loses_the_voxels_it_is_least_sure_of():
    patch = scored([[0, 0, 0, 0, 0], [-1, 1, 2, 3, 4]], [0, 0, 0, 1, 1])
    offsets = offsets_for_volumes([patch], [1])
    assert -3 < offsets[1] <= -2
    assert offsets[0] == 0
    assert volumes([patch], offsets) == [3, 2]


def test_an_organ_that_is_too_small_gains_voxels_and_patches_count_together():
    patches = [scored([[0, 0], [-1, -5]], [1, 1]), scored([[0, 0], [-2, -6]], [0, 0])]
    offsets = offsets_for_volumes(patches, [1])
    assert volumes(patches, offsets) == [2, 2]
    assert 2 < offsets[1] <= 5


def test_neighbouring_organs_are_balanced_against_each_other():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 4000)
    logits = rng.normal(0, 1, (3, 4000)) + 2 * (np.arange(3)[:, None] == target) + np.array([[0], [2], [-1]])
    patch = scored(logits.tolist(), target.tolist())
    found = volumes([patch], offsets_for_volumes([patch], [1, 2]))
    np.testing.assert_allclose(found, np.bincount(target), rtol=0.02)


def test_offsets_that_do_not_settle_are_refused(monkeypatch):
    monkeypatch.setattr(calibration, "MAX_SWEEPS", 1)
    patch = scored([[0, 0, 0], [1, 1, -1], [-1, -1, 2]], [0, 0, 1])
    with pytest.raises(ValueError, match="did not settle in 1 rounds"):
        offsets_for_volumes([patch], [1])


def test_an_organ_that_was_not_asked_for_stays():
    patch = scored([[0, 0, 0], [1, 1, -1], [-1, -1, 2]], [0, 0, 2])
    assert offsets_for_volumes([patch], [1])[2] == 0


@pytest.mark.usefixtures("one_thread")
def test_the_checkpoint_differs_in_one_bias_only_and_finds_the_right_volume(options, tmp_path):
    before = write_checkpoint(tmp_path / "before.ckpt", tiny_network(), step=7)
    rows = calibrate(before, tmp_path / "after.ckpt", organs=["kidney"], **options)
    first, second = load_network(before), load_network(tmp_path / "after.ckpt")
    change = "volumes of kidney corrected on synthetic CT of b"
    assert second.known == first.known | {"provenance": first.known["provenance"] | {"changes": (change,)}}
    states = [source.network.state_dict() for source in (first, second)]
    changed = [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
    assert changed == ["mix.bias"]
    offsets = torch.tensor([0.0, *(row.offset for row in rows)])
    torch.testing.assert_close(states[1]["mix.bias"] - states[0]["mix.bias"], offsets)
    assert [row.organ for row in rows] == ["pancreas", "spleen", "kidney"]
    assert [row.offset for row in rows[:2]] == [0, 0]
    assert abs(rows[2].volume_after - 1) < 0.01
    assert abs(rows[2].volume_before - 1) > 0.2


@pytest.mark.usefixtures("one_thread")
def test_the_command_prints_what_it_did(options, tmp_path, capsys):
    before = write_checkpoint(tmp_path / "before.ckpt", tiny_network())
    after = tmp_path / "after.ckpt"
    arguments = ["calibrate", str(before), "--atlas", str(options["atlas"]), "--subject", "b", "--output", str(after)]
    arguments += ["--patches", "2", "--shape", *map(str, SHAPE), "--cache", str(options["cache"])]
    assert main([*arguments, "--organ", "pancreas"]) == 0
    printed = capsys.readouterr().out
    assert "| spleen | +0.00 |" in printed
    assert f"wrote {after}" in printed
    assert main(arguments) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"organs": ["liver"]}, "organs must be some of pancreas, spleen, kidney, got liver"),
        ({"patches": 0}, "patches must be at least 1, got 0"),
        ({"shape_kji": (16, 32, 30)}, "multiples of 16"),
        ({"subjects": ["z"]}, r"unknown: \['z'\]"),
        ({"shape_kji": (16, 16, 16), "patches": 1, "first_seed": 5}, "take more patches"),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_what_cannot_be_calibrated_is_refused_and_nothing_is_written(options, tmp_path, changes, message):
    before = write_checkpoint(tmp_path / "before.ckpt", tiny_network())
    with pytest.raises(ValueError, match=message):
        calibrate(before, tmp_path / "after.ckpt", **(options | changes))
    assert not (tmp_path / "after.ckpt").exists()


@pytest.mark.parametrize("replicate_edges", [True, False])
@pytest.mark.usefixtures("one_thread")
def test_patches_are_as_high_as_those_of_training(options, tmp_path, monkeypatch, replicate_edges):
    before = write_checkpoint(tmp_path / "before.ckpt", tiny_network(), patches={"replicate_edges": replicate_edges})
    tall, seen = (64, 32, 32), []  # taller than the label map, 80 mm
    monkeypatch.setattr(
        calibrate_module,
        "offsets_for_volumes",
        lambda patches, channels: seen.extend(patches) or offsets_for_volumes(patches, channels),
    )
    (*_, kidney) = calibrate(before, tmp_path / "after.ckpt", organs=["kidney"], **(options | {"shape_kji": tall}))
    assert all(patch.logits.shape[1:] == patch.target.shape for patch in seen)
    heights = [patch.target.shape[0] for patch in seen]
    assert heights == [64] * 3 if replicate_edges else 0 < max(heights) < 64
    assert abs(kidney.volume_after - 1) < 0.01


def test_label_maps_of_training_are_refused(options, tmp_path):
    before = write_checkpoint(tmp_path / "before.ckpt", tiny_network(), anatomies={"held_out": ["a"]})
    with pytest.raises(ValueError, match="was trained on b; held out of its training: a"):
        calibrate(before, tmp_path / "after.ckpt", **options)
    assert not (tmp_path / "after.ckpt").exists()


def test_label_maps_that_a_base_was_trained_on_are_refused(options, tmp_path):
    base = {"name": "model", "training_cases": ["b"]}
    data = {"anatomies": {"held_out": ["a", "b"]}}
    for given in ({"task": {"bases": [base]}, **data}, {"training_ids": ["b"]}):
        before = write_checkpoint(tmp_path / "before.ckpt", tiny_network(), **given)
        with pytest.raises(ValueError, match="before.ckpt, or what it started from, was trained on b"):
            calibrate(before, tmp_path / "after.ckpt", **options)


@pytest.mark.usefixtures("one_thread")
def test_organs_that_were_left_out_for_good_stay_so(options, tmp_path):
    before = write_checkpoint(tmp_path / "before.ckpt", tiny_network(), task={"active_organs": ["kidney"]})
    rows = calibrate(before, tmp_path / "after.ckpt", **options)
    assert [row.offset for row in rows[:2]] == [0, 0] and rows[2].offset != 0
    with pytest.raises(ValueError, match="organs must be some of kidney, got spleen"):
        calibrate(before, tmp_path / "other.ckpt", organs=["spleen"], **options)


@pytest.mark.usefixtures("one_thread")
def test_label_maps_that_were_held_out_are_taken(options, tmp_path):
    before = write_checkpoint(tmp_path / "before.ckpt", tiny_network(), anatomies={"held_out": ["a", "b"]})
    calibrate(before, tmp_path / "after.ckpt", organs=["kidney"], **options)
    assert (tmp_path / "after.ckpt").exists()


def test_other_endings_are_refused(options, tmp_path):
    with pytest.raises(ValueError, match="must end in .ckpt"):
        calibrate(tmp_path / "model", tmp_path / "after.ckpt", **options)
