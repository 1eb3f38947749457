"""The learning task: network, loss, optimiser and validation Dice, for Lightning's trainer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from monai.inferers import sliding_window_inference
from torch import Tensor

from AttentionUNetSegmentationLib.inference.network import UNet
from AttentionUNetSegmentationLib.inference.prediction import TILE_EDGES, plan

from ..data.sampling import begin_resumed_epoch
from ..preparation.records import IGNORED
from .checkpoints import follow_moved_folder
from .dice_by_person import DiceByPerson, dice_of, mean_over_people
from .freezing import drop_gradients, frozen_modules, hold_batch_norm, leave_out_of_softmax
from .losses import SegmentationLoss
from .networks import build, pad_as_engine, pad_for_training, set_batch_norm_momentum
from .optimisation import learning_rate_factor, make_optimizer
from .options import (
    BatchNormOptions,
    FreezingOptions,
    LossOptions,
    NetworkOptions,
    OptimisationOptions,
    from_saved,
    saved,
)
from .provenance import circumstances
from .starting_weights import read_starting_weights, start_from

Batch = Sequence[Tensor]
MAX_WARM_UP = 0.1  # of all steps: a short run is not spent on it
ANYBODY = ""  # whom samples show of which the data does not say it
MAX_STEPS_LOST = 20  # in a row, as their gradients are not finite


class SegmentationTask(pl.LightningModule):
    """Trains a network to give every voxel its class.

    Batches hold an image (N, 1, D, H, W), scaled by the model's intensity rule, a target (N, 1, D, H, W) of class
    numbers (``IGNORED`` where nobody judged) and, if some cases label only some organs, which: (N, organs) bool.
    Validation batches may have any size.

    Args:
        organs: Names of the classes 1, 2, ... in order.
        active_organs: Organs that are trained; the others are left out of the softmax for good (the paper's AFT).
            None: all.
        init_from: Lightning checkpoint, or model (folder, zip or name), whose weights the network starts from.
        network: Which network.
        loss: What is minimised.
        optimisation: How the weights move.
        batch_norm: What batch norm does in training.
        freezing: Which part of the network stays as it is.
    """

    def __init__(
        self,
        organs: Sequence[str] = ("pancreas", "spleen", "kidney"),
        active_organs: Sequence[str] | None = None,
        init_from: str | None = None,
        network: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen, as the groups below
        loss: LossOptions = LossOptions(),  # noqa: B008
        optimisation: OptimisationOptions = OptimisationOptions(),  # noqa: B008
        batch_norm: BatchNormOptions = BatchNormOptions(),  # noqa: B008
        freezing: FreezingOptions = FreezingOptions(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.organs = tuple(organs)
        # Lightning hands a checkpoint's groups over as mappings; saving them as plain values keeps checkpoints readable
        # with weights_only, and by versions whose classes have other names
        network, self._loss_options = from_saved(NetworkOptions, network), from_saved(LossOptions, loss)
        self._optimisation = from_saved(OptimisationOptions, optimisation)
        self._batch_norm, self._freezing = (
            from_saved(BatchNormOptions, batch_norm),
            from_saved(FreezingOptions, freezing),
        )
        self.hparams.update(
            organs=list(organs),
            active_organs=None if active_organs is None else list(active_organs),
            network=saved(network),
            loss=saved(self._loss_options),
            optimisation=saved(self._optimisation),
            batch_norm=saved(self._batch_norm),
            freezing=saved(self._freezing),
            **circumstances(),
        )
        self._check_organs(active_organs)
        self.network, self._widths = build(network, len(organs) + 1), network.widths
        if self._loss_options.auxiliary_weight and not isinstance(self.network, UNet):
            raise ValueError(f"loss.auxiliary_weight needs AttentionUNet or UNet, got {network.architecture}")
        set_batch_norm_momentum(self.network, self._batch_norm.momentum)
        self._known_organs: tuple[str, ...] = ()  # by the starting weights
        if init_from:
            start = read_starting_weights(init_from)
            self._known_organs = start.organs or self.organs
            done = start_from(self.network, organs, start)
            self.hparams.update(bases=start.bases)
            rank_zero_info(f"init_from {init_from}: {done}")
        # after the start: weights of a model give the left-out organs a probability again
        self._active = torch.tensor([organ in (active_organs or organs) for organ in organs])
        leave_out_of_softmax(self.network, [n + 1 for n, active in enumerate(self._active) if not active])
        self._frozen = frozen_modules(self.network, self._freezing.part)
        # PyTorch takes a layout alone, its type hints do not know it
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        weights = self._loss_options.class_weights or (1.0,) * (len(organs) + 1)
        self.loss = SegmentationLoss(
            self._loss_options.kind, weights, self._loss_options.dice_smooth, self._loss_options.cross_entropy
        )
        self._dice, self._loss_and_samples = DiceByPerson((ANYBODY,), len(self.organs)), torch.zeros(2)
        self.dice_by_person: dict[str, dict[str, float]] = {}
        self._steps_lost = 0
        self._statistics: list[Tensor] = []  # of batch norms, after the latest step that was taken

    def _check_organs(self, active_organs: Sequence[str] | None) -> None:
        classes, weights = len(self.organs) + 1, self._loss_options.class_weights
        if weights is not None and len(weights) != classes:
            raise ValueError(f"loss.class_weights needs {classes} entries, got {len(weights)}")
        if active_organs is not None and (not active_organs or set(active_organs) - set(self.organs)):
            raise ValueError(f"active_organs must be some of {list(self.organs)}, got {list(active_organs)}")

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and attention coefficients, as the network gives them."""
        return self.network(x.contiguous(memory_format=torch.channels_last_3d))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from a checkpoint that holds weights only, such as ``average`` writes, or on other cases.

        Raises:
            ValueError: If it has no optimiser's state, or training or validation now have other cases than its own.
        """
        if "optimizer_states" not in checkpoint:
            raise ValueError(
                "the checkpoint holds weights only, so no run can be resumed from it: use --model.init_from"
            )
        before = checkpoint.get("datamodule_hyper_parameters", {})
        now = getattr(getattr(self._trainer, "datamodule", None), "hparams", {})
        for part in ("training", "validation"):
            key = f"{part}_ids"
            if key in before and key in now and list(before[key]) != list(now[key]):
                raise ValueError(f"the checkpoint's {part} had other cases: give the data options of its own run")
        if self._trainer is not None:
            follow_moved_folder(checkpoint, self._trainer)

    def on_fit_start(self) -> None:
        """Refuse organs of which the network would learn nothing: any of their voxels could be called any of them.

        Raises:
            ValueError: If no training case labels an organ that the starting weights do not know either.
        """
        labelled = getattr(getattr(self.trainer, "datamodule", None), "labelled_organs", None)
        if labelled is None:
            return
        known = labelled.union(self._known_organs)
        active = [organ for organ, is_active in zip(self.organs, self._active.tolist(), strict=True) if is_active]
        if unknown := [organ for organ in active if organ not in known]:
            raise ValueError(
                f"no training case labels {' or '.join(unknown)}: give the organs that are labelled as model.organs "
                "(finetune: --organs), or the others as model.active_organs"
            )

    def on_train_start(self) -> None:
        """A resumed run goes on with the samples of its own epoch."""
        begin_resumed_epoch(self.trainer)

    def on_train_epoch_start(self) -> None:
        """Seed what is random in a network by the epoch, so that a resumed run continues exactly; hold batch norms."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        torch.manual_seed(
            int(np.random.SeedSequence([seed, self.current_epoch, self.global_rank]).generate_state(1)[0])
        )
        self.network.train()
        self._keep_statistics()
        hold_batch_norm([self.network] if self._batch_norm.mode == "frozen" else self._frozen_now())

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """One step's loss; what the network needs as padding does not count."""
        image, target, labelled = self._parts(batch)
        padded = pad_for_training(image, self.network)
        loss = self._loss_of(padded, target, labelled)
        self.log("loss", loss, prog_bar=True, batch_size=len(image), sync_dist=True)
        return loss

    def _loss_of(self, padded: Tensor, target: Tensor, labelled: Tensor | None) -> Tensor:
        """The loss of the mixed scores, and of each scale's own if these count."""
        if not (self._loss_options.auxiliary_weight and isinstance(self.network, UNet)):
            return self.loss(_without_padding(self(padded)[0], target), target, self._with_background(labelled))
        scores, _ = self.network.scores_per_scale(padded.contiguous(memory_format=torch.channels_last_3d))
        scores = [_without_padding(score, target) for score in scores]
        main = self.loss(self.network.mix(torch.cat(scores, dim=1)), target, self._with_background(labelled))
        auxiliary = sum(self.loss(score, target, self._with_background(labelled)) for score in scores) / len(scores)
        self.log("loss_mixed", main, sync_dist=True)
        return main + self._loss_options.auxiliary_weight * auxiliary

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave frozen parts alone, and all of the network where a gradient is not finite.

        Raises:
            RuntimeError: If gradients are not finite in several steps in a row: the run will not recover.
        """
        drop_gradients(self._frozen_now())
        norms = torch.stack([weights.grad.norm() for weights in self.parameters() if weights.grad is not None])
        if bool(norms.isfinite().all()):  # asked once: a GPU is waited for
            self._steps_lost = 0
            self._keep_statistics()
            return
        self._steps_lost += 1
        if self._steps_lost == MAX_STEPS_LOST:
            raise RuntimeError(
                f"gradients were not finite in {MAX_STEPS_LOST} steps in a row, up to step {self.global_step}: "
                "go on from an earlier checkpoint, with a lower learning_rate or in 32-bit precision"
            )
        rank_zero_warn(f"step {self.global_step} was left out: its gradient is not finite")
        drop_gradients([self])
        for statistics, kept in zip(self.network.buffers(), self._statistics, strict=True):
            statistics.copy_(kept)  # batch norms have seen what made the gradient so

    def _keep_statistics(self) -> None:
        self._statistics = [statistics.clone() for statistics in self.network.buffers()]

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the last epoch."""
        people = getattr(getattr(self._trainer, "datamodule", None), "validation_people", ())
        self._dice = DiceByPerson(people or (ANYBODY,), len(self.organs), self.device)
        self._loss_and_samples = torch.zeros(2, device=self.device)

    def validation_step(self, batch: Batch, index: int) -> dict[str, Any]:
        """Count overlap, predicted and true voxels of every organ.

        Returns:
            "prediction": class numbers (N, 1, D, H, W); "attention": the network's coefficients, on the padded grid,
            none if memory made tiles necessary.
        """
        image, target, labelled = self._parts(batch)
        logits, attention = self._scores(pad_as_engine(image, self.network))
        logits = _without_padding(logits, target)
        loss = self.loss(logits, target, self._with_background(labelled))
        self._loss_and_samples += torch.stack([loss * len(image), torch.full_like(loss, len(image))])
        predicted = logits.argmax(dim=1, keepdim=True)
        # the processes take turns with the samples
        number = index if self._trainer is None else index * self.trainer.world_size + self.global_rank
        self._dice.add(number, predicted.masked_fill(target == IGNORED, 0), target, labelled)
        return {"prediction": predicted, "attention": attention}

    def _scores(self, padded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """In one pass, or in tiles as the engine plans them where memory does not suffice for one."""
        shape, device = padded.shape[2:], self.device.type
        attempts, _ = plan(shape, device, self._widths, num_classes=len(self.organs) + 1)
        edge = next((attempt.tile for attempt in attempts if attempt.device == device), min(TILE_EDGES))
        if edge is None:
            return self(padded)
        tile = [min(edge, size) for size in shape]
        logits = sliding_window_inference(padded, tile, 1, lambda part: self(part)[0], mode="gaussian")
        return cast(Tensor, logits), {}

    def on_validation_epoch_end(self) -> None:
        """Log the loss, Dice per organ that is active and that references show, and their mean: means over people.

        ``dice_by_person`` keeps that of every person, organ by organ.
        """
        loss, samples = self._over_processes(self._loss_and_samples)
        # not by Lightning's own mean: where processes have unequal shares, it rounds the number of samples (2.6)
        self.log("val_loss", loss / samples, sync_dist=True)
        dice = dice_of(self._over_processes(self._dice.counts))
        of_organs, mean = mean_over_people(dice)
        shown = [(n, organ) for n, organ in enumerate(self.organs) if not of_organs[n].isnan()]
        self.dice_by_person = {
            person: {organ: float(row[n]) for n, organ in shown}
            for person, row in zip(self._dice.people, dice, strict=True)
        }
        self.log_dict({f"dice_{organ}": of_organs[n] for n, organ in shown}, sync_dist=True)
        self.log("dice", mean, prog_bar=True, sync_dist=True)

    def _over_processes(self, own: Tensor) -> Tensor:
        """The sum of every process's tensor."""
        gathered = torch.as_tensor(self.all_gather(own))  # (processes, ...), or without the first axis
        return gathered.view(-1, *own.shape).sum(dim=0)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser, and its learning rate by step."""
        options = self._optimisation
        optimizer = make_optimizer(
            options.optimizer, self.parameters(), options.learning_rate, options.betas, options.weight_decay
        )
        total, floor = self.trainer.estimated_stepping_batches, options.final_learning_rate / options.learning_rate
        warm_up_steps = int(min(options.warm_up_steps, MAX_WARM_UP * total))
        factor = learning_rate_factor(options.schedule, total, warm_up_steps, floor)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _frozen_now(self) -> list[torch.nn.Module]:
        epochs = self._freezing.epochs
        return self._frozen if epochs is None or self.current_epoch < epochs else []

    def _parts(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Image, target, and (N, organs) which organs are labelled and active; None for all."""
        image, target, *rest = batch
        labelled = rest[0] if rest else None
        if not self._active.all():
            active = self._active.to(image.device)
            labelled = active.expand(len(image), -1) if labelled is None else labelled & active
        return image, target, None if labelled is None or labelled.all() else labelled

    @staticmethod
    def _with_background(labelled: Tensor | None) -> Tensor | None:
        return None if labelled is None else torch.cat([torch.ones_like(labelled[:, :1]), labelled], dim=1)


def _without_padding(logits: Tensor, target: Tensor) -> Tensor:
    """(N, C, ...) of a padded image on the target's voxels: padding lies at the end of each axis."""
    depth, height, width = target.shape[2:]
    return logits[..., :depth, :height, :width]
