"""An auxiliary task that exists in training only: tell apart the structures around the organs.

Label maps of whole bodies know more than the organs that a model segments. Told to tell bowel, stomach, vessels, muscle
and bone apart as well, the encoder has to learn what an organ is *not*, which labels of three organs in six people say
little about. (The decoder would be the wrong place: its gates are there to suppress what is no organ.) The heads belong
to the task and not to the network, so that checkpoints, exported models and inference are the same without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from AttentionUNetSegmentationLib.inference.network import UNet

from .losses import SegmentationLoss

FIRST_SCALE = 3


class StructureHeads(nn.Module):
    """A 1x1x1 convolution on the encoder's features of every scale from the third, and the loss of their scores.

    The first two scales see too little around a voxel to know which organ it belongs to (14 voxels at scale 2).

    Args:
        network: Whose features are watched.
        classes: Structure classes, 0 for everything else included.
        smooth: Of the Dice terms, see ``SegmentationLoss``; in voxels of each scale.

    Raises:
        ValueError: If the network is not a (Attention) U-Net of at least three scales.
    """

    def __init__(self, network: nn.Module, classes: int, smooth: float) -> None:
        super().__init__()
        if not isinstance(network, UNet) or len(network.widths) < FIRST_SCALE:
            raise ValueError("structure_weight needs AttentionUNet or UNet with at least three scales")
        self.scales = range(FIRST_SCALE, len(network.widths) + 1)
        self.heads = nn.ModuleList(
            nn.Conv3d(network.widths[scale - 1], classes, kernel_size=1) for scale in self.scales
        )
        self.criterion = SegmentationLoss("dice_ce", [1.0] * classes, smooth)

    @contextmanager
    def watch(self, network: UNet) -> Iterator[dict[int, Tensor]]:
        """Within this context every forward pass of ``network`` leaves its features, by scale."""
        features: dict[int, Tensor] = {}
        hooks = [
            network.encoder[scale - 1].register_forward_hook(
                lambda _block, _inputs, output, scale=scale: features.update({scale: output})
            )
            for scale in self.scales
        ]
        try:
            yield features
        finally:
            for hook in hooks:
                hook.remove()

    def forward(self, features: Mapping[int, Tensor], structures: Tensor) -> Tensor:
        """The mean loss over the scales; 0 if the patch is too thin for any.

        Args:
            features: What ``watch`` holds after a pass.
            structures: (N, 1, D, H, W) class numbers on the network's grid; what the network's input has beyond them at
                the end of an axis is padding, which does not count.
        """
        losses = []
        for scale, head in zip(self.scales, self.heads, strict=True):
            target = at_scale(structures, scale)
            if not target.numel():
                continue
            whole = (..., *(slice(0, size) for size in target.shape[2:]))
            losses.append(self.criterion(head(features[scale])[whole], target))
        return torch.stack(losses).mean() if losses else features[self.scales[0]].sum() * 0


def at_scale(labels: Tensor, scale: int) -> Tensor:
    """Class numbers (N, 1, D, H, W) on the grid of a scale: the voxel in the middle of each whole cell."""
    cell = 2 ** (scale - 1)
    whole = (..., *(slice(0, size // cell * cell) for size in labels.shape[2:]))
    return labels[whole][:, :, cell // 2 :: cell, cell // 2 :: cell, cell // 2 :: cell]
