"""Tiny runs of ``attention-unet-train fit`` for tests, in this process or in others."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TextIO

import lightning.pytorch as pl
import pytest
import torch
import yaml
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from attention_unet_training.cli import main

TESTING = Path(__file__).parents[1]


class KillAt(pl.Callback):
    """Kills its process (SIGKILL) after a batch of an epoch, as a power cut would."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: object) -> None:
        if (trainer.current_epoch, arguments[-1]) == (self.epoch, self.batch):
            os.kill(os.getpid(), signal.SIGKILL)


class KillOnce(KillAt):
    """As ``KillAt``, but only the first run: it leaves a file that says so."""

    def __init__(self, file: str, epoch: int, batch: int) -> None:
        super().__init__(epoch, batch)
        self.file = Path(file)

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: object) -> None:
        if not self.file.exists() and (trainer.current_epoch, arguments[-1]) == (self.epoch, self.batch):
            self.file.touch()
            super().on_train_batch_end(trainer, *arguments)


class KillInValidation(pl.Callback):
    """Kills its process (SIGKILL) while it validates the first case of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_validation_batch_end(self, trainer: pl.Trainer, *arguments: object) -> None:
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)


class Recorded(pl.Callback):
    """Writes what each process sees, a line of JSON for every training batch, and the weights it ends with."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        _, batch, index = arguments
        samples = [digest(image) for image in batch[0]]
        with (self.folder / f"seen_{trainer.global_rank}.jsonl").open("a") as stream:
            stream.write(json.dumps([trainer.current_epoch, index, samples]) + "\n")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"weights_{trainer.global_rank}.pt")


class Spoilt(pl.Callback):
    """Makes one batch of the last process NaN."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        _, batch, index = arguments
        last = trainer.global_rank == trainer.world_size - 1
        if last and (trainer.current_epoch, index) == (self.epoch, self.batch):
            batch[0].fill_(torch.nan)


MODEL = {
    "network": {"widths": [4, 8, 8]},
    "loss": {"kind": "dice", "dice_smooth": 1.0},
    "optimisation": {"optimizer": "adam", "learning_rate": 0.02, "warm_up_steps": 2},
}
DATA = {
    "shape_kji": [16, 16, 16],
    "batch_size": 2,
    "samples_per_epoch": 8,
    "validation_cases": 1,
    "workers": 0,
}
TRAINER = {
    "accelerator": "cpu",
    "precision": "32-true",
    "logger": False,
    "num_sanity_val_steps": 0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
CHECKPOINTS = (
    {"filename": "best", "monitor": "dice", "mode": "max", "enable_version_counter": False},
    {"filename": "last", "save_on_train_epoch_end": True, "enable_version_counter": False},
)


def tiny_config(folder: Path, dataset: Path, epochs: int, callbacks: Sequence[dict] = (), **sections: dict) -> Path:
    """A configuration of a run that takes a second: widths 4 and 8, patches of 16 voxels, 4 steps an epoch."""
    checkpoint = "lightning.pytorch.callbacks.ModelCheckpoint"
    trainer = {"max_epochs": epochs, "default_root_dir": str(folder)} | TRAINER | sections.get("trainer", {})
    trainer["callbacks"] = [*({"class_path": checkpoint, "init_args": options} for options in CHECKPOINTS), *callbacks]
    data = {"dataset": str(dataset)} | DATA | sections.get("data", {})
    config = {
        "seed_everything": 3,
        "model": MODEL | {key: MODEL.get(key, {}) | group for key, group in sections.get("model", {}).items()},
        "data": {"class_path": "CasesData", "init_args": data},
        "trainer": trainer,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class Finished(NamedTuple):
    """How a process ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run_in_a_process(arguments: Sequence[str], processes: int = 1, restarts: int = 0, cwd: Path = Path()) -> Finished:
    """``attention-unet-train ARGUMENTS`` in a process of its own, or in several that start as by torchrun.

    The process is forked from one that has imported everything, which takes longer than such a run, and done nothing:
    what other tests leave behind does not reach it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["attention_unet_training.commands.fit", "support.training_runs"])
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the server, when it starts
        environment.setenv("CUDA_VISIBLE_DEVICES", "")
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = context.Process(
            target=_run, args=(arguments, said, dict(os.environ), cwd.absolute(), processes, restarts)
        )
        process.start()
        process.join(300)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{arguments} ran for more than 300 s")
        return Finished(process.exitcode, *(path.read_text(encoding="utf-8") for path in said))


class Forked:
    """Stands in for the process of a command (subprocess.Popen), which would take seconds to import what is here."""

    def __init__(self, command: list[str], cwd: Path, stdout: TextIO, **_: object) -> None:
        assert command[:4] == [sys.executable, "-P", "-m", "attention_unet_training.cli"]
        done = run_in_a_process(command[4:], cwd=cwd)
        stdout.write(done.stdout + done.stderr)
        self.status = done.returncode

    def wait(self) -> int:
        return self.status


def _run(
    arguments: Sequence[str], said: list[Path], environment: dict[str, str], cwd: Path, processes: int, restarts: int
) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # for the workers of a run, as usual
    for path, descriptor in zip(said, (1, 2), strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    if processes == 1:
        sys.exit(main(arguments))
    place = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    options = LaunchConfig(1, 1, processes, **place, start_method="fork", max_restarts=restarts)
    sys.exit(max(elastic_launch(options, main)(arguments).values()))


def digest(image: torch.Tensor) -> str:
    """What an image is known by."""
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


def weights(checkpoint: Path, key: str = "state_dict") -> dict[str, torch.Tensor]:
    """A checkpoint's weights."""
    return torch.load(checkpoint, map_location="cpu", weights_only=True)[key]
