"""A run that is killed in mid-epoch and resumed ends where an uninterrupted one ends, bit by bit."""

import csv
import signal
from pathlib import Path

import pytest
import torch

from attention_unet_training.cli import main
from support import prepared_cases
from support.training_runs import run_in_a_process, tiny_config, weights

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
AVERAGE = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.8}}


IN_MID_EPOCH = ({"class_path": "support.training_runs.KillAt", "init_args": {"epoch": 2, "batch": 1}}, (1, 8))
IN_VALIDATION = ({"class_path": "support.training_runs.KillInValidation", "init_args": {"epoch": 2}}, (2, 12))


@pytest.mark.parametrize(
    ("average", "workers", "kill", "kept"),
    [(False, 0, *IN_VALIDATION), (True, 2, *IN_MID_EPOCH)],
    ids=["plain, in validation", "averaged, workers, in mid-epoch"],
)
def test_a_killed_run_continues_exactly(tmp_path, average, workers, kill, kept):
    """Every run has a process of its own, as for a user: what other tests leave behind may change the last bit."""
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 4)
    callbacks, data = [AVERAGE] if average else [], {"workers": workers}
    whole = tiny_config(tmp_path / "whole", dataset, 4, callbacks, data=data)
    done = run_in_a_process(["fit", "--config", str(whole)])
    assert done.returncode == 0, done.stderr

    killed = run_in_a_process(
        ["fit", "--config", str(tiny_config(tmp_path / "cut", dataset, 4, [*callbacks, kill], data=data))]
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    last = tmp_path / "cut" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    assert (content["epoch"], content["global_step"]) == kept  # of four steps in an epoch

    cut = tiny_config(tmp_path / "cut", dataset, 4, callbacks, data=data)
    resumed = run_in_a_process(["fit", "--config", str(cut), "--ckpt_path", str(last)])
    assert resumed.returncode == 0, resumed.stderr
    keys = ["state_dict", "current_model_state"] if average else ["state_dict"]
    for key in keys:
        expected, found = (weights(tmp_path / run / "last.ckpt", key) for run in ("whole", "cut"))
        assert set(expected) == set(found)
        for name, tensor in expected.items():
            assert torch.equal(tensor, found[name]), f"{key}: {name}"
    steps = [torch.load(tmp_path / run / "last.ckpt", weights_only=True)["global_step"] for run in ("whole", "cut")]
    assert steps == [16, 16]
    expected, found = (curve(tmp_path / run) for run in ("whole", "cut"))
    assert found == expected
    assert [row["epoch"] for row in found] == ["1", "2", "3", "4"]
    assert all(0 <= float(row["dice"]) <= 1 for row in found)
    assert (tmp_path / "cut" / "curve.png").stat().st_size > 1000


def curve(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's learning curve, without times."""
    with (folder / "curve.csv").open() as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def test_another_seed_gives_other_weights(tmp_path):
    """The comparison above is not one of things that are always equal."""
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 4)
    for seed in (0, 1):
        config = tiny_config(tmp_path / f"seed{seed}", dataset, 1, data={"seed": seed})
        assert main(["fit", "--config", str(config)]) == 0
    first, second = (weights(tmp_path / f"seed{seed}" / "last.ckpt") for seed in (0, 1))
    assert not torch.equal(first["network.mix.weight"], second["network.mix.weight"])
