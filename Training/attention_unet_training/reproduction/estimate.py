"""How long a plan will take: steps of training times seconds per step, and minutes for the cases of other steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch

from ..task.networks import pad_for_training
from ..task.segmentation_task import SegmentationTask

SECONDS_PER_CASE = {  # assumed, but for evaluate: only their order of magnitude matters beside the trainings
    "prepare": 10.0,
    "evaluate": 30.0,  # 15 s for a CT of 512 x 512 x 240, and its surface distances
    "attention": 300.0,
}


@dataclass(frozen=True)
class TrainingSize:
    """How much a training has to do, if it does not stop early.

    Attributes:
        epochs: At most.
        steps: Of each epoch.
        validation_cases: After each epoch; a whole case without gradients is counted as one step.
    """

    epochs: int
    steps: int
    validation_cases: int

    @property
    def all_steps(self) -> int:
        """Steps of all epochs, validation included."""
        return self.epochs * (self.steps + self.validation_cases)


def training_size(data: Mapping[str, Any], trainer: pl.Trainer, cases: int) -> TrainingSize:
    """The size of a training.

    Args:
        data: Options of ``CasesData``.
        trainer: Of the training.
        cases: Training cases of its split, validation cases included.
    """
    validation = data["validation_cases"]
    learnt_from = cases - (validation if data["validate_on"] == "held_out" else 0)
    batches = (data["samples_per_epoch"] or learnt_from) // data["batch_size"] // trainer.world_size
    return TrainingSize(trainer.max_epochs or 0, batches, validation)


def seconds_per_step(task: SegmentationTask, data: Mapping[str, Any], trainer: pl.Trainer) -> float:
    """Time a training step of one process on noise: forward and backward pass of one patch, times the batch size.

    Args:
        task: As it will be trained.
        data: Options of ``CasesData``.
        trainer: Of the training: where it runs, and in which precision.
    """
    device = trainer.strategy.root_device
    task.to(device).train()
    noise = torch.randn(1, 1, *data["shape_kji"], device=device)
    seconds = 0.0
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        with trainer.precision_plugin.forward_context():
            image = pad_for_training(noise, task.network)
            loss = task.loss(task(image)[0], (image > 1).long(), None)
        loss.backward()
        float(loss.detach())  # waits for a GPU
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - began
    task.cpu()
    return seconds * data["batch_size"]
