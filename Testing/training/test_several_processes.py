"""torchrun with two CPU processes: together they do what one process does with twice the batch."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from attention_unet_training.cli import main
from attention_unet_training.command_line import CONFIGS, make_cli
from attention_unet_training.commands.validate import ValidateCLI
from support import prepared_cases
from support.box_anatomy import BOXES, write_atlas
from support.training_runs import digest, run_in_a_process, tiny_config, weights

pytestmark = pytest.mark.filterwarnings("ignore")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
TORCHRUN += ("-m", "attention_unet_training.cli")
TWO = {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}
TOLERANCE = 2e-5  # absolute, weights: sums over the batch are rounded in another order
ALONE = ["--trainer.devices", "1", "--trainer.strategy", "auto"]
STARTED = {"TORCHELASTIC_RUN_ID": "tiny", "WORLD_SIZE": "2"}  # as by torchrun
HERE = "support.training_runs"


def seen(folder: Path, process: int) -> dict[tuple[int, int], list[str]]:
    """Samples by epoch and step; a step that was done again had the same samples again."""
    found: dict[tuple[int, int], list[str]] = {}
    for line in (folder / f"seen_{process}.jsonl").read_text().splitlines():
        epoch, step, samples = json.loads(line)
        assert found.setdefault((epoch, step), samples) == samples
    return found


def curve(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's learning curve."""
    with (folder / "curve.csv").open() as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def check_validation(config: Path, folder: Path) -> None:
    """One process measures with the weights of the last checkpoint what the curve says of them."""
    arguments = ["--config", str(config), *ALONE, "--model.init_from", str(folder / "last.ckpt")]
    cli = make_cli(arguments, "validate", None, ValidateCLI)
    measured, row = cli.trainer.validate(cli.model, cli.datamodule, verbose=False)[0], curve(folder)[-1]
    assert {"val_loss", "dice"} < set(measured)
    assert {key: row[key] for key in measured} == pytest.approx(measured, rel=1e-5)


def weights_of_both(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the last checkpoint, with which both processes end."""
    kept = weights(folder / "last.ckpt")
    for process in range(2):
        own = torch.load(folder / f"weights_{process}.pt", weights_only=True)
        assert set(own) == set(kept)
        assert [name for name in kept if not torch.equal(own[name], kept[name])] == []
    return kept


def averaging_config(folder: Path, dataset: Path, batch_size: int, trainer: dict, *more: dict) -> Path:
    """Two epochs of 12 samples: frozen batch norm, the Dice loss, which is an average over samples, one spoilt step."""
    callbacks = [
        {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}},
        {"class_path": f"{HERE}.Recorded", "init_args": {"folder": str(folder)}},
        {"class_path": f"{HERE}.Spoilt", "init_args": {"epoch": 0, "batch": 1}},
        *more,
    ]
    model = {"batch_norm": {"mode": "frozen"}, "optimisation": {"warm_up_steps": 0, "learning_rate": 5e-3}}
    data = {"samples_per_epoch": 12, "batch_size": batch_size, "validation_cases": 3}
    return tiny_config(folder, dataset, 2, callbacks, model=model, data=data, trainer=trainer)


@pytest.mark.slow
def test_an_interrupted_run_of_two_processes_ends_as_one_process_does(tmp_path, monkeypatch):
    """In the second epoch a process is killed, and torchrun starts both again. They share three validation cases."""
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 7)
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(["fit", "--config", str(averaging_config(one, dataset, 4, {}))]) == 0
    kill = {"class_path": f"{HERE}.KillOnce", "init_args": {"file": str(tmp_path / "killed"), "epoch": 1, "batch": 1}}
    figures = {"class_path": "attention_unet_training.callbacks.AttentionFigures", "init_args": {"case": 2}}
    config = averaging_config(two, dataset, 2, TWO, kill, figures)
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # or restarts fail: PyTorch's issue 167288
    arguments = ["fit", "--config", str(config), "--ckpt_path", "last"]
    run = run_in_a_process(arguments, processes=2, restarts=1)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "killed").exists()
    assert "step 1 was left out" in run.stderr

    alone, first, second = seen(one, 0), seen(two, 0), seen(two, 1)
    assert sorted(alone) == sorted(first) == sorted(second) == [(epoch, step) for epoch in (0, 1) for step in range(3)]
    assert len({sample for samples in alone.values() for sample in samples}) == 24
    for step, samples in alone.items():
        assert sorted([*first[step], *second[step]]) == sorted(samples)

    expected = weights(one / "last.ckpt")
    for name, tensor in weights_of_both(two).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=TOLERANCE, msg=name)
    before = make_cli(["--config", str(config), *ALONE], "fit", None).model.state_dict()
    assert max((before[name] - expected[name]).abs().max() for name in expected) > 100 * TOLERANCE
    for row, wanted in zip(curve(two), curve(one), strict=True):
        assert row == pytest.approx(wanted | {"seconds": row["seconds"]}, abs=1e-4, nan_ok=True)
    check_validation(config, two)
    assert curve(two)[-1]["dice"] > 0.005
    assert sorted(path.name for path in (two / "figures").iterdir()) == ["epoch_0000.png", "epoch_0001.png"]


def synthetic_config(folder: Path) -> Path:
    """Two epochs of two steps with the configuration of the bundled model, on label maps of boxes."""
    structures = ("vertebrae_L1", "liver", "spleen", "pancreas", "kidney_right", "kidney_left")
    (folder / "atlas").mkdir()
    atlas = write_atlas(folder / "atlas", "abc", {name: BOXES[name] for name in structures})
    config = yaml.safe_load((CONFIGS / "abdomen_ct.yaml").read_text())
    config["model"]["network"]["widths"] = [2, 4, 4, 4, 4]
    config["data"]["init_args"] |= {
        "atlas": str(atlas),
        "anatomies": {"held_out": ["b"], "cache": str(folder / "cache")},
        "patches": {"shape_kji": [16, 32, 32], "spacing_mm": 3.0, "steps_per_epoch": 2, "validation_patches": 3},
    }
    config["trainer"] |= TWO | {"max_epochs": 2, "default_root_dir": str(folder), "precision": "32-true"}
    config["trainer"]["callbacks"].append({"class_path": f"{HERE}.Recorded", "init_args": {"folder": str(folder)}})
    path = folder / "synthetic.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
def test_two_processes_make_different_synthetic_cts_of_the_same_prepared_maps(tmp_path):
    config = synthetic_config(tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([*TORCHRUN, "fit", "--config", str(config)], env=environment, check=True, timeout=300)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["a.npz", "b.npz", "c.npz"]
    data = make_cli(["--config", str(config), *ALONE], "fit", None).datamodule
    data.setup("fit")
    samples = [digest(data.train_dataloader().dataset[n][0]) for n in range(8)]
    assert len(set(samples)) == 8
    for process in range(2):
        assert [sample for (sample,) in seen(tmp_path, process).values()] == samples[process::2]
    weights_of_both(tmp_path)  # batch norm's statistics too, although each process has its own in a step
    check_validation(config, tmp_path)


def test_processes_that_do_not_know_of_each_other_are_refused(tmp_path, monkeypatch, capsys):
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 2)
    for name, value in STARTED.items():
        monkeypatch.setenv(name, value)
    assert main(["fit", "--config", str(tiny_config(tmp_path, dataset, 1))]) == 1
    assert "error: torchrun starts 2 processes, the trainer expects 1: set --trainer.devices" in capsys.readouterr().err
