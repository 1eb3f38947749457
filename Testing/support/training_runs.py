"""Tiny runs of ``attention-unet-train fit`` for tests, in this process or in others."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import lightning.pytorch as pl
import torch
import yaml

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


class InThisProcess:
    """Stands in for the process of a command, which would take seconds to import what is here."""

    def __init__(self, command: list[str], cwd: Path, stdout: TextIO, **_: object) -> None:
        arguments = command[command.index("attention_unet_training.cli") + 1 :]
        with chdir(cwd), redirect_stdout(stdout), redirect_stderr(stdout):
            self.status = main(arguments)

    def wait(self) -> int:
        return self.status


def run_in_a_process(
    arguments: Sequence[str], timeout_s: float = 300, launcher: Sequence[str] = ()
) -> subprocess.CompletedProcess:
    """``attention-unet-train ARGUMENTS`` with as many threads as this process has, started by Python or a launcher."""
    threads = str(torch.get_num_threads())
    # the process imports what this one does: the packages may lie elsewhere than where they are installed
    path = os.pathsep.join(filter(None, [str(TESTING), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launcher, "-m", "attention_unet_training.cli", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=timeout_s, check=False
    )


def digest(image: torch.Tensor) -> str:
    """What an image is known by."""
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


def weights(checkpoint: Path, key: str = "state_dict") -> dict[str, torch.Tensor]:
    """A checkpoint's weights."""
    return torch.load(checkpoint, map_location="cpu", weights_only=True)[key]
