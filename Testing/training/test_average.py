"""The mean of several checkpoints."""

import json

import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.commands.average import average, mean_state
from attention_unet_training.evaluation.checkpoints import load_checkpoint
from attention_unet_training.task.checkpoints import load_network
from attention_unet_training.task.starting_weights import read_starting_weights
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.models.loading import save_model
from support import phantoms
from support.training_checkpoints import CLIP_HU, MEAN_HU, STD_HU, tiny_network, write_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def two(tmp_path):
    """Checkpoints of two networks with different weights, after 7 and 9 steps."""
    paths = [tmp_path / "a.ckpt", tmp_path / "b.ckpt"]
    for seed, path in enumerate(paths):
        write_checkpoint(path, tiny_network(seed=seed), step=7 + 2 * seed)
    return paths


def test_weights_are_the_mean_and_options_the_last_ones(two, tmp_path, capsys):
    assert main(["average", *map(str, two), "--output", str(tmp_path / "mean.ckpt")]) == 0
    assert f"mean of 2 checkpoints to {tmp_path / 'mean.ckpt'}" in capsys.readouterr().out
    averaged = load_network(tmp_path / "mean.ckpt")
    first, second, found = (load_network(path).network.state_dict() for path in (*two, tmp_path / "mean.ckpt"))
    assert averaged.known["training"]["steps"] == 9
    assert averaged.known["provenance"]["changes"] == (f"mean of {tmp_path.name}/a.ckpt, {tmp_path.name}/b.ckpt",)
    for name, tensor in found.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (first[name] + second[name]) / 2, rtol=1e-6, atol=1e-7)
    assert any((first[name] != second[name]).any() for name in first)


def test_the_mean_of_one_checkpoint_with_itself_is_itself(two, tmp_path):
    average([two[0], two[0], two[0]], tmp_path / "mean.ckpt")
    mean = read_starting_weights(tmp_path / "mean.ckpt").state
    for name, tensor in read_starting_weights(two[0]).state.items():
        assert torch.equal(mean[name], tensor), name


def test_the_mean_is_read_by_evaluate_and_as_a_start(two, tmp_path):
    average(two, tmp_path / "mean.ckpt")
    model, organs = load_checkpoint(tmp_path / "mean.ckpt")
    assert organs == ("pancreas", "spleen", "kidney") == read_starting_weights(tmp_path / "mean.ckpt").organs
    name = "encoder.0.conv1.weight"
    torch.testing.assert_close(
        model.network.state_dict()[name], load_network(tmp_path / "mean.ckpt").network.state_dict()[name]
    )


def test_a_model_counts_like_the_checkpoint_that_it_was_exported_from(two, tmp_path):
    intensity = IntensitySpec(CLIP_HU, MEAN_HU, STD_HU)
    save_model(tmp_path / "model", tiny_network(seed=0), phantoms.spec(intensity=intensity))
    average([str(tmp_path / "model"), two[1]], tmp_path / "with_model.ckpt")
    average(two, tmp_path / "mean.ckpt")
    wanted = read_starting_weights(tmp_path / "mean.ckpt").state
    for name, tensor in read_starting_weights(tmp_path / "with_model.ckpt").state.items():
        assert torch.equal(wanted[name], tensor), name


def test_counters_stay_integers():
    states = [{"w": torch.tensor([value]), "n": torch.tensor(count)} for value, count in ((1.0, 3), (2.0, 6))]
    assert mean_state(states) == {"w": torch.tensor([1.5]), "n": torch.tensor(6)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing_mm": 3.0}, r"b.ckpt has another spacing_mm than .*a.ckpt: \[3.0, 3.0, 3.0\], not \[2.0, 2.0, 2.0\]"),
        ({"network": tiny_network("UNet")}, "b.ckpt has another architecture than"),
    ],
)
def test_checkpoints_must_fit_each_other(two, tmp_path, change, message):
    write_checkpoint(two[1], **{"network": tiny_network(seed=1)} | change)
    with pytest.raises(ValueError, match=message):
        average(two, tmp_path / "mean.ckpt")
    assert not (tmp_path / "mean.ckpt").exists()


def test_other_organs_are_refused(two, tmp_path):
    content = torch.load(two[1], weights_only=True)
    content["hyper_parameters"]["organs"] = ["spleen", "pancreas", "kidney"]
    torch.save(content, two[1])
    with pytest.raises(ValueError, match=r"b.ckpt has other organs than .*a.ckpt: \('spleen', 'pancreas', 'kidney'\)"):
        average(two, tmp_path / "mean.ckpt")


def test_a_network_that_finds_fewer_organs_is_refused(two, tmp_path):
    """Its classes that were left out would be left out of the mean, whose options say otherwise."""
    write_checkpoint(two[0], tiny_network(), task={"active_organs": ["pancreas"]})
    with pytest.raises(
        ValueError, match=r"other organs than .*a.ckpt: \('pancreas', 'spleen', 'kidney'\), not \('panc"
    ):
        average(two, tmp_path / "mean.ckpt")
    write_checkpoint(two[1], tiny_network(seed=1), task={"active_organs": ["pancreas"]})
    average(two, tmp_path / "mean.ckpt")
    assert load_network(tmp_path / "mean.ckpt").found == ("pancreas",)


def test_a_checkpoint_that_is_cut_short_is_damaged_not_an_archive(two, tmp_path):
    two[1].write_bytes(two[1].read_bytes()[:-100])
    with pytest.raises(ValueError, match="b.ckpt is not a checkpoint .*: it was not written by PyTorch, or is damaged"):
        average(two, tmp_path / "mean.ckpt")


def test_what_cannot_be_averaged_is_said_in_one_sentence(two, tmp_path, capsys):
    output = tmp_path / "mean.ckpt"
    (tmp_path / "no.ckpt").write_text(json.dumps({}))
    diverged = tiny_network(seed=1)
    diverged.load_state_dict(
        {k: v * torch.nan if v.is_floating_point() else v for k, v in diverged.state_dict().items()}
    )
    write_checkpoint(tmp_path / "nan.ckpt", diverged)
    for arguments, reason in (
        ([two[0]], "two checkpoints or more, got 1"),
        ([two[0], tmp_path / "absent.ckpt"], "absent.ckpt does not exist"),
        ([two[0], tmp_path / "no.ckpt"], "no.ckpt is not a checkpoint"),
        ([two[0], tmp_path / "nan.ckpt"], "nan.ckpt holds weights that are not finite (encoder.0"),
        ([two[0], tmp_path], "must end in .ckpt"),
    ):
        assert main(["average", *map(str, arguments), "--output", str(output)]) == 1
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1
        assert not output.exists()
    average(two, output)
    with pytest.raises(ValueError, match="mean.ckpt exists already"):
        average(two, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "b.ckpt", "mean.ckpt", "nan.ckpt", "no.ckpt"]
