"""A training step of ``attention-unet-train fit`` against a plain PyTorch loop over the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .machine import Rates
from .processes import answer, measured

if TYPE_CHECKING:
    from torch import Tensor

    from attention_unet_training.task.segmentation_task import SegmentationTask

OURS, PLAIN = "attention-unet-train fit", "plain PyTorch"
FLOAT32, BFLOAT16 = "float32", "bfloat16"
MAX_GRADIENT_NORM = 5.0  # as in the configurations that come with the package


def rows(patch_kji: Sequence[int], steps: int, with_bfloat16: bool, rates: Rates) -> list[dict[str, Any]]:
    """Measure both ways in each precision."""
    found = []
    for precision in (FLOAT32, BFLOAT16) if with_bfloat16 else (FLOAT32,):
        for way in (PLAIN, OURS):
            case = {"way": way, "precision": precision}
            seconds, peak_gb = measured("training", **case, patch_kji=patch_kji, steps=steps)
            found.append({**case, **seconds, "peak_gb": peak_gb})
            rates.again()
    return found


def measure(way: str, precision: str, patch_kji: Sequence[int], steps: int) -> dict[str, list[float]]:
    """Seconds of each step on one patch; one more step goes before and is not counted."""
    import lightning.pytorch as pl
    import torch

    from attention_unet_training.task.segmentation_task import SegmentationTask

    pl.seed_everything(0, verbose=False)
    task = SegmentationTask()
    target = torch.randint(len(task.organs) + 1, (1, 1, *patch_kji))
    batch = (torch.randn(1, 1, *patch_kji), target)
    train = _by_fit if way == OURS else _by_plain_loop
    ends = train(task, batch, precision == BFLOAT16, steps + 1)
    return {"seconds": [after - before for before, after in zip(ends, ends[1:], strict=False)]}


def _by_fit(task: SegmentationTask, batch: tuple[Tensor, Tensor], bfloat16: bool, steps: int) -> list[float]:
    """Lightning's trainer as the command has it, but for callbacks and data; returns when each step ended."""
    import lightning.pytorch as pl
    from torch.utils.data import DataLoader

    ends: list[float] = []

    class Clock(pl.Callback):
        def on_train_batch_end(self, *arguments: object) -> None:
            ends.append(time.perf_counter())

    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        precision="bf16-mixed" if bfloat16 else "32-true",
        gradient_clip_val=MAX_GRADIENT_NORM,
        max_steps=steps,
        callbacks=[Clock()],
        **quiet,
    )
    batches: Any = [batch] * steps  # PyTorch takes any sequence, its type hints want a Dataset
    trainer.fit(task, DataLoader(batches, batch_size=None))
    return ends


def _by_plain_loop(task: SegmentationTask, batch: tuple[Tensor, Tensor], bfloat16: bool, steps: int) -> list[float]:
    """The task's network, loss and optimiser without all else; returns when each step ended."""
    import torch

    from attention_unet_training.task.options import OptimisationOptions

    options = OptimisationOptions()
    # the layout that a network has when nobody sets one; PyTorch's type hints do not know the argument
    network = task.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), options.learning_rate, options.betas, weight_decay=options.weight_decay
    )
    image, target = batch
    ends = []
    network.train()
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = task.loss(network(image)[0], target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        ends.append(time.perf_counter())
    return ends


if __name__ == "__main__":
    answer(measure)
