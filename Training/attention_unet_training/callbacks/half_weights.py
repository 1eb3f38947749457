"""Small files of weights beside a run, for a machine that may stop at any time and gives small files back only."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch

from ..export.half_precision import half_rounded
from ..staging import Output, staged
from ..task.checkpoints import CARRIED
from ..task.starting_weights import read_checkpoint
from .learning_curve import DICE, RESUMED_FROM, fitting, only_tried


class HalfWeights(pl.Callback):
    """Writes the (averaged) weights in half precision after every validation: ``last.ckpt``, and ``best.ckpt`` by Dice.

    ``--model.init_from`` takes them; no run can be resumed from them.

    Args:
        folder: Where; not the run's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._best = Path(folder), -1.0

    def state_dict(self) -> dict[str, float]:
        """For a run that is resumed."""
        return {DICE: self._best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on comparing with the best so far."""
        self._best = state_dict[DICE]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what ``CheckpointBeforeValidation`` has kept."""
        if not fitting(trainer) or only_tried(trainer) or not trainer.is_global_zero:
            return
        content = read_checkpoint(Path(trainer.default_root_dir) / RESUMED_FROM)
        small = {key: content[key] for key in CARRIED}
        rounded = half_rounded(content["state_dict"])
        small["state_dict"] = {name: t.half() if t.is_floating_point() else t for name, t in rounded.items()}
        dice = float(trainer.callback_metrics.get(DICE, torch.nan))
        for name in ("last.ckpt", *(["best.ckpt"] if dice > self._best else [])):
            with staged([Output(self.folder / name)], overwrite=True) as (draft,):
                torch.save(small, draft)
        self._best = max(self._best, dice)
