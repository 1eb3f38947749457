"""A run that is killed and resumed ends where an uninterrupted one ends, bit by bit."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attention_unet_training.cli import main
from support import prepared_cases
from support.training_runs import run_in_a_process, tiny_config, weights

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
AVERAGE = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.8}}


IN_MID_EPOCH = {"class_path": "support.training_runs.KillAt", "init_args": {"epoch": 1, "batch": 1}}
IN_VALIDATION = {"class_path": "support.training_runs.KillInValidation", "init_args": {"epoch": 2}}


def config(folder: Path, dataset: Path, *callbacks: dict) -> str:
    """Four epochs of four steps, averaged, with two workers."""
    return str(tiny_config(folder, dataset, 4, [AVERAGE, *callbacks], data={"workers": 2}))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return prepared_cases.write_dataset(tmp_path_factory.mktemp("data") / "dataset", 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, dataset) -> Path:
    """The folder of an uninterrupted run.

    Every run has a process of its own, as for a user: what other tests leave behind may change the last bit. This one
    is not forked as the others are, with which it would share what Python and NumPy draw when they start.
    """
    folder = tmp_path_factory.mktemp("whole")
    command = [sys.executable, "-m", "attention_unet_training.cli", "fit", "--config", config(folder, dataset)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    return folder


def test_a_run_that_is_killed_twice_continues_exactly(tmp_path, dataset, whole):
    last, resume = tmp_path / "last.ckpt", []
    for kill, kept in ((IN_MID_EPOCH, (0, 4)), (IN_VALIDATION, (2, 12))):  # epoch and step, of four in an epoch
        killed = run_in_a_process(["fit", "--config", config(tmp_path, dataset, kill), *resume])
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        content = torch.load(last, weights_only=True)
        assert (content["epoch"], content["global_step"]) == kept
        resume = ["--ckpt_path", str(last)]

    resumed = run_in_a_process(["fit", "--config", config(tmp_path, dataset), *resume])
    assert resumed.returncode == 0, resumed.stderr
    for key in ("state_dict", "current_model_state"):
        expected, found = (weights(run / "last.ckpt", key) for run in (whole, tmp_path))
        assert set(expected) == set(found)
        for name, tensor in expected.items():
            assert torch.equal(tensor, found[name]), f"{key}: {name}"
    steps = [torch.load(run / "last.ckpt", weights_only=True)["global_step"] for run in (whole, tmp_path)]
    assert steps == [16, 16]
    found = curve(tmp_path)
    assert found == curve(whole)
    assert [row["epoch"] for row in found] == ["1", "2", "3", "4"]
    assert all(0 <= float(row["dice"]) <= 1 for row in found)
    assert (tmp_path / "curve.png").stat().st_size > 1000


def curve(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's learning curve, without times."""
    with (folder / "curve.csv").open() as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def test_a_run_is_not_resumed_on_other_cases(tmp_path, dataset, whole, capsys):
    options = tiny_config(tmp_path / "run", dataset, 5, [AVERAGE], data={"split": "half"})
    assert main(["fit", "--config", str(options), "--ckpt_path", str(whole / "last.ckpt")]) == 1
    assert "error: the checkpoint's training had other cases: give the data options" in capsys.readouterr().err


def test_another_seed_gives_other_weights(tmp_path, dataset):
    """The comparison above is not one of things that are always equal."""
    for seed in (0, 1):
        options = tiny_config(tmp_path / f"seed{seed}", dataset, 1, data={"seed": seed})
        assert main(["fit", "--config", str(options)]) == 0
    first, second = (weights(tmp_path / f"seed{seed}" / "last.ckpt") for seed in (0, 1))
    assert not torch.equal(first["network.mix.weight"], second["network.mix.weight"])


def test_a_run_in_a_moved_folder_keeps_its_best_checkpoint(tmp_path, dataset, whole, capsys):
    moved = Path(shutil.copytree(whole, tmp_path / "moved"))
    content = torch.load(moved / "last.ckpt", weights_only=True)
    (best,) = (state for name, state in content["callbacks"].items() if "dice" in name)
    best["best_model_score"] = best["kth_value"] = torch.tensor(2.0)  # nothing later can be better
    best["best_k_models"] = dict.fromkeys(best["best_k_models"], torch.tensor(2.0))
    torch.save(content, moved / "last.ckpt")
    before = (moved / "best.ckpt").read_bytes()
    options = tiny_config(moved, dataset, 5, [AVERAGE], data={"workers": 0})
    assert main(["fit", "--config", str(options), "--ckpt_path", str(moved / "last.ckpt")]) == 0
    assert (moved / "best.ckpt").read_bytes() == before
    assert torch.load(moved / "last.ckpt", weights_only=True)["epoch"] == 4


def test_a_run_does_not_go_on_among_another_runs_checkpoints(tmp_path, dataset, whole, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "best.ckpt").write_text("another run's")
    options = tiny_config(other, dataset, 5, [AVERAGE], data={"workers": 0})
    assert main(["fit", "--config", str(options), "--ckpt_path", str(whole / "last.ckpt")]) == 1
    assert f"{other} holds best.ckpt of an earlier run" in capsys.readouterr().err
