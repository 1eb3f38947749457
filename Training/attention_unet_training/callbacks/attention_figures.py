"""The paper's figure 4, live: how a fixed validation case looks to the network after every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from AttentionUNetSegmentationLib.inference.network import resample_linearly

from ..preparation.records import IGNORED
from ..task.networks import pad_as_engine
from .figure import draw_figure


class AttentionFigures(pl.Callback):
    """Draws CT slices with contours of reference and prediction, and every gate's coefficients.

    The figures go to TensorBoard if it is the logger, and as PNG to ``figures/epoch_<n>.png`` in the log folder. Of
    several processes the one that validates the case draws it; only the first one has a TensorBoard to write to.

    Args:
        case: Number of the validation case (or patch).
        every_n_epochs: Epochs between figures.
    """

    def __init__(self, case: int = 0, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        self.case, self.every_n_epochs = case, every_n_epochs

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: STEP_OUTPUT,
        batch: Sequence[Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the case from what the validation step returned."""
        number = batch_idx * trainer.world_size + trainer.global_rank  # the processes take turns with the cases
        wanted = number == self.case and trainer.current_epoch % self.every_n_epochs == 0
        if not wanted or trainer.sanity_checking:
            return
        if not isinstance(outputs, Mapping):
            raise TypeError(f"the validation step must return prediction and attention, got {type(outputs).__name__}")
        image, target = batch[0], batch[1]
        padded = pad_as_engine(image[:1], pl_module.get_submodule("network")).shape[2:]
        inside = tuple(slice(0, size) for size in image.shape[2:])
        attention = {
            name: resample_linearly(alpha[:1].float(), padded)[0, 0][inside].cpu().numpy()
            for name, alpha in outputs["attention"].items()
        }
        shown = target.masked_fill(target == IGNORED, 0)
        ct, reference, found = (x[0, 0].float().cpu().numpy() for x in (image, shown, outputs["prediction"]))
        title = f"epoch {trainer.current_epoch}"
        figure = draw_figure(ct, reference, found, attention, pl_module.hparams["organs"], title)
        self._write(trainer, figure)

    @staticmethod
    def _write(trainer: pl.Trainer, figure: Any) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure("validation case", figure, trainer.global_step)
        # not trainer.log_dir: it waits for the other processes, which do not come here
        log_folders = [getattr(logger, "log_dir", None) for logger in trainer.loggers]
        folder = Path(next(filter(None, log_folders), trainer.default_root_dir)) / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"epoch_{trainer.current_epoch:04d}.png", dpi=100)
