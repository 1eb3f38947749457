"""The learning curve of a run: a table, a picture and, where nobody watches a progress bar, a line for every epoch."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.figure import Figure

from AttentionUNetSegmentationLib.atomic import write_text

from ..staging import Output, staged

TABLE_FILE, PICTURE_FILE = "curve.csv", "curve.png"
RESUMED_FROM = "last.ckpt"
LOSS, DICE, PREFIX = "loss", "dice", "dice_"
VALIDATED = ("val_loss", DICE)

Row = dict[str, float]


class LearningCurve(pl.Callback):
    """Writes ``curve.csv`` and ``curve.png`` into the run's folder after every epoch.

    The rows are part of the checkpoints: a resumed run goes on with the curve of the run that wrote its checkpoint.

    Args:
        quiet: Say nothing. Otherwise a line is printed for every epoch, unless a terminal shows a progress bar.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._rows: list[Row] = []
        self._losses: list[float] = []  # of this epoch's steps
        self._measured: Row = {}  # in this epoch's validation
        self._seconds = 0.0  # of this epoch, before the run was resumed
        self._began = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The rows so far and what is known of the epoch that is not finished."""
        return {
            "rows": self._rows,
            "losses": self._losses,
            "measured": self._measured,
            "seconds": self._epoch_seconds(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the curve of a checkpoint."""
        self._rows, self._losses = state_dict["rows"], state_dict["losses"]
        self._measured, self._seconds = state_dict["measured"], state_dict["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock runs from here."""
        self._began = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the step's loss, which is the mean over all processes."""
        self._losses.append(float(trainer.callback_metrics[LOSS]))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what was measured."""
        if fitting(trainer):
            metrics = trainer.callback_metrics
            self._measured = {key: float(metrics[key]) for key in metrics if key in VALIDATED or key.startswith(PREFIX)}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row of the epoch, which ends with its validation."""
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "loss": sum(self._losses) / len(self._losses) if self._losses else float("nan"),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(self._epoch_seconds(), 1),
        }
        self._rows = [*self._rows, row | self._measured]
        self._losses, self._measured, self._seconds, self._began = [], {}, 0.0, time.monotonic()
        if not trainer.is_global_zero or only_tried(trainer):
            return
        folder = Path(trainer.default_root_dir)
        write_text(folder / TABLE_FILE, table(self._rows))
        if DICE in self._rows[-1]:
            with staged([Output(folder / PICTURE_FILE)], overwrite=True) as (draft,):
                picture(self._rows).savefig(draft, dpi=100)
        if not self.quiet and not sys.stdout.isatty():
            print(line(self._rows, trainer.max_epochs), flush=True)

    def _epoch_seconds(self) -> float:
        return self._seconds + time.monotonic() - self._began


class CheckpointBeforeValidation(pl.Callback):
    """Keeps ``last.ckpt`` before every validation: a run that is killed while it validates loses no step."""

    def __init__(self) -> None:
        self._saving = False

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it; a run that is resumed from it begins with the validation."""
        if fitting(trainer) and not only_tried(trainer):
            self._saving = True
            trainer.save_checkpoint(Path(trainer.default_root_dir) / RESUMED_FROM)
            self._saving = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say in the trainer's own terms that validation has begun; it would take it for done otherwise."""
        if self._saving:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
            progress.update(ready=progress["ready"] + 1, started=progress["started"] + 1)


def table(rows: Sequence[Row]) -> str:
    """The rows as CSV; a column stays empty in epochs that did not validate."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
    return text.getvalue()


def line(rows: Sequence[Row], epochs: int | None) -> str:
    """The newest row in words, with the time that is left if the number of epochs is known.

    The time is reckoned by the mean of all epochs so far.
    """
    row = rows[-1]
    planned = epochs if epochs is not None and epochs > 0 else None
    parts = [f"epoch {row['epoch']:.0f}" + (f"/{planned}" if planned else "") + f": loss {row['loss']:.4f}"]
    organs = [f"{key.removeprefix(PREFIX)} {row[key]:.3f}" for key in row if key.startswith(PREFIX)]
    if organs:
        parts.append(f"Dice {', '.join(organs)}")
    if planned:
        mean = sum(entry["seconds"] for entry in rows) / len(rows)
        parts.append(f"{duration(mean * (planned - row['epoch']))} left")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """As people say it: 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def picture(rows: Sequence[Row]) -> Figure:
    """Dice per organ and losses by epoch."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    dice, loss = figure.subplots(2, sharex=True)
    validated = [row for row in rows if DICE in row]
    for key in dict.fromkeys(key for row in validated for key in row if key.startswith(PREFIX)):
        points = [(row["epoch"], row[key]) for row in validated if key in row]
        dice.plot(*zip(*points, strict=True), marker=".", label=key.removeprefix(PREFIX))
    dice.set(ylabel="Dice in validation", ylim=(0, 1))
    for key, label, those in (("loss", "training", rows), ("val_loss", "validation", validated)):
        loss.plot([row["epoch"] for row in those], [row[key] for row in those], marker=".", label=label)
    loss.set(xlabel="epoch", ylabel="loss")
    for axes in (dice, loss):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(loc="best")
    return figure


def fitting(trainer: pl.Trainer) -> bool:
    """Whether the trainer trains, and does not only check that it could."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def only_tried(trainer: pl.Trainer) -> bool:
    """Whether the trainer makes a step or two that leave nothing behind."""
    return bool(getattr(trainer, "fast_dev_run", False))  # set by the trainer, though its class does not say so
