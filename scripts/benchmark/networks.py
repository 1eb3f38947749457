"""The networks that are compared, with random weights, and what a forward pass of each must compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from AttentionUNetSegmentationLib.models.description import ArchitectureSpec
from AttentionUNetSegmentationLib.models.shapes import weight_shapes

from .processes import answer

if TYPE_CHECKING:
    from torch import nn

CLASSES = 4
PRODUCT = "Attention U-Net"
PAPER = {
    PRODUCT: ArchitectureSpec("AttentionUNet"),
    "U-Net": ArchitectureSpec("UNet"),
    "U-Net of 6.44 M (table 2)": ArchitectureSpec("UNet", (17, 33, 67, 134, 268)),
    "U-Net of 10.4 M (table 2)": ArchitectureSpec("UNet", (21, 43, 85, 170, 340)),
}
MONAI_ATTENTION, MONAI_SEGRESNET = "MONAI AttentionUnet", "MONAI SegResNet"
NETWORKS = (*PAPER, MONAI_ATTENTION, MONAI_SEGRESNET)
FLOP_PER_VOXEL = 2 * 70_500  # multiplications and additions of the Attention U-Net


def make_weights(network: str) -> Mapping[str, np.ndarray]:
    """Random weights of one of the paper's networks, by the names of its ``state_dict``."""
    random = np.random.default_rng(0)
    weights = {}
    for name, shape in weight_shapes(PAPER[network], CLASSES).items():
        if len(shape) > 1:
            array = random.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
        else:
            array = np.ones(shape) if name.endswith(("weight", "running_var")) else np.zeros(shape)
        weights[name] = array.astype(np.float32 if shape else np.int64)
    return weights


def make_network(network: str) -> nn.Module:
    """A network in evaluation mode; the paper's have the weights of ``make_weights``."""
    made = _build(network)
    if network in PAPER:
        import torch

        made.load_state_dict({name: torch.from_numpy(array) for name, array in make_weights(network).items()})
    return made


def _build(network: str) -> nn.Module:
    if network in PAPER:
        from AttentionUNetSegmentationLib.models.loading import build_network

        return build_network(PAPER[network], CLASSES).eval()
    from monai.networks import nets  # takes memory, which would count for the others

    if network == MONAI_ATTENTION:
        return nets.AttentionUnet(3, 1, CLASSES, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2)).eval()
    if network == MONAI_SEGRESNET:
        return nets.SegResNet(3, 16, 1, CLASSES, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1)).eval()
    raise ValueError(f"the network must be one of {', '.join(NETWORKS)}, got {network!r}")


def measure(field_kji: Sequence[int], names: Sequence[str] = NETWORKS) -> dict[str, Any]:
    """Parameters of networks and GFLOP of a forward pass, counted without computing it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    sizes = {}
    for name in names:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            network = _build(name)
            network(torch.empty((1, 1, *field_kji)))
        parameters = sum(weights.numel() for weights in network.parameters())
        sizes[name] = {"parameters": parameters, "gflop": counter.get_total_flops() / 1e9}
    return sizes


if __name__ == "__main__":
    answer(measure)
