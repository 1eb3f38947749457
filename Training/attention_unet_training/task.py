"""The learning task: network, loss, optimiser and validation Dice, for Lightning's trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from AttentionUNetSegmentationLib.model import build_network, load_model
from AttentionUNetSegmentationLib.model_spec import ArchitectureSpec


class SegmentationTask(pl.LightningModule):
    """Trains a network to give every voxel its class.

    Batches are pairs of an image (N, 1, D, H, W), scaled by the model's intensity rule, and a target (N, 1, D, H, W)
    of class numbers.

    Args:
        organs: Names of the classes 1, 2, ... in order.
        architecture: "AttentionUNet" or "UNet".
        widths: Channels per scale.
        num_subgates: Coefficient maps per gate.
        gating_conv: See ``AttentionUNet``.
        class_weights: Weights of the cross-entropy, background first.
        dice_smooth: Added to numerator and denominator of the Dice loss, in voxels.
        cross_entropy: Weight of the cross-entropy against the Dice loss; 0 gives the paper's loss.
        learning_rate: Peak learning rate.
        final_learning_rate: Learning rate of the last step.
        warm_up_steps: Steps of linear warm-up.
        weight_decay: AdamW's weight decay.
        betas: Adam's betas.
        batch_norm_momentum: Share of the newest batch in the running statistics.
        init_from: Lightning checkpoint or model folder whose weights the network starts from.
    """

    def __init__(
        self,
        organs: Sequence[str] = ("pancreas", "spleen", "kidney"),
        architecture: str = "AttentionUNet",
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        num_subgates: int = 2,
        gating_conv: bool = False,
        class_weights: Sequence[float] = (0.5, 2.0, 1.0, 1.0),
        dice_smooth: float = 50.0,
        cross_entropy: float = 1.0,
        learning_rate: float = 2e-3,
        final_learning_rate: float = 0.0,
        warm_up_steps: int = 40,
        weight_decay: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.98),
        batch_norm_momentum: float = 0.03,
        init_from: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if len(class_weights) != len(organs) + 1:
            raise ValueError(f"class_weights needs {len(organs) + 1} entries, got {len(class_weights)}")
        spec = ArchitectureSpec(architecture, tuple(widths), 1, num_subgates, gating_conv)
        self.network = build_network(spec, len(organs) + 1)
        for module in self.network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.momentum = batch_norm_momentum
        if init_from:
            self.network.load_state_dict(read_network_state(init_from))
        self.network.to(memory_format=torch.channels_last_3d)
        self.loss = DiceCELoss(
            include_background=False,
            to_onehot_y=True,
            softmax=True,
            batch=True,
            smooth_nr=dice_smooth,
            smooth_dr=dice_smooth,
            weight=torch.tensor(class_weights, dtype=torch.float32),
            lambda_ce=cross_entropy,
        )
        self._counts = torch.zeros(0)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and attention coefficients, as the network gives them."""
        return self.network(x.contiguous(memory_format=torch.channels_last_3d))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """One step's loss."""
        image, target = batch
        logits, _ = self(image)
        loss = self.loss(logits.float(), target)
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the last epoch."""
        self._counts = torch.zeros(3, len(self.hparams.organs), device=self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Count overlap, predicted and true voxels of every organ."""
        image, target = batch
        logits, _ = self(image)
        self.log("val_loss", self.loss(logits.float(), target))
        predicted = logits.argmax(dim=1, keepdim=True)
        for n in range(len(self.hparams.organs)):
            in_prediction, in_target = predicted == n + 1, target == n + 1
            counts = ((in_prediction & in_target).sum(), in_prediction.sum(), in_target.sum())
            self._counts[:, n] += torch.stack(counts)

    def on_validation_epoch_end(self) -> None:
        """Log Dice per organ over all validation voxels, and their mean."""
        overlap, predicted, true = self._counts
        dice = 2 * overlap / (predicted + true).clamp(min=1)
        self.log_dict({f"dice_{organ}": value for organ, value in zip(self.hparams.organs, dice, strict=True)})
        self.log("dice", dice.mean(), prog_bar=True)

    def configure_optimizers(self) -> dict:
        """AdamW with linear warm-up and a cosine to the final learning rate, by step."""
        options = self.hparams
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=options.learning_rate,
            betas=tuple(options.betas),
            weight_decay=options.weight_decay,
        )
        total = self.trainer.estimated_stepping_batches
        floor = options.final_learning_rate / options.learning_rate

        def factor(step: int) -> float:
            if step < options.warm_up_steps:
                return (step + 1) / options.warm_up_steps
            done = (step - options.warm_up_steps) / max(1, total - options.warm_up_steps)
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def read_network_state(path: str) -> dict[str, Tensor]:
    """The network's weights in a Lightning checkpoint (averaged ones if it has them) or a model folder."""
    if Path(path).is_dir():
        return load_model(path).network.state_dict()
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    prefix = "network."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
