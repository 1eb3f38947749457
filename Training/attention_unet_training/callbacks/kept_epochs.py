"""Checkpoints of chosen epochs, for the paper's figure 4: how attention develops over a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch

from ..staging import Output, staged
from ..task.checkpoints import CARRIED
from ..task.starting_weights import read_checkpoint


class KeptEpochs(pl.Callback):
    """Keeps the weights after some epochs as ``epoch_<n>.ckpt`` beside the other checkpoints, n counted from 1.

    Args:
        epochs: After how many epochs; the paper's figure 4 shows 3, 6, 10, 60 and 150.
        every_n_epochs: Besides these, after every so many epochs.
    """

    def __init__(self, epochs: Sequence[int] = (3, 6, 10, 60, 150), every_n_epochs: int | None = None) -> None:
        if any(epoch < 1 for epoch in (*epochs, 1 if every_n_epochs is None else every_n_epochs)):
            raise ValueError(f"epochs are counted from 1, got {list(epochs)} and every {every_n_epochs}")
        self.epochs, self.every_n_epochs = frozenset(epochs), every_n_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoint, if the epoch is one of them."""
        done = trainer.current_epoch + 1
        if done in self.epochs or (self.every_n_epochs and done % self.every_n_epochs == 0):
            path = Path(trainer.default_root_dir) / f"epoch_{done:04d}.ckpt"
            trainer.save_checkpoint(path)  # with the averaged weights, which "weights_only" would leave out
            if trainer.is_global_zero:
                content = read_checkpoint(path)
                with staged([Output(path)], overwrite=True) as (draft,):
                    torch.save({key: content[key] for key in (*CARRIED, "state_dict")}, draft)
