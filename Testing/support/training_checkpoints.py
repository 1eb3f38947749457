"""Checkpoints as ``attention-unet-train fit`` leaves them, of tiny networks that nobody trained."""

from __future__ import annotations

from pathlib import Path

import torch

from attention_unet_training.export.half_precision import half_rounded
from AttentionUNetSegmentationLib.inference.network import UNet
from AttentionUNetSegmentationLib.models.description import ArchitectureSpec
from AttentionUNetSegmentationLib.models.loading import build_network
from support import phantoms

ORGANS = ("pancreas", "spleen", "kidney")
CLIP_HU, MEAN_HU, STD_HU = (-200.0, 300.0), -25.0, 130.0


def tiny_network(kind: str = "AttentionUNet", seed: int = 0) -> UNet:
    """An untrained network, in evaluation mode, whose weights half precision holds exactly."""
    torch.manual_seed(seed)
    network = build_network(ArchitectureSpec(kind, phantoms.TINY_WIDTHS), len(ORGANS) + 1).eval()
    network.load_state_dict(half_rounded(network.state_dict()))
    return network


def write_checkpoint(
    path: Path,
    network: UNet,
    step: int = 7,
    kind: str = "",
    spacing_mm: float = 2.0,
    **data: object,
) -> Path:
    """Write a checkpoint of the network; ``kind`` replaces the architecture's name, ``data`` are the data's options."""
    torch.save(
        {
            "global_step": step,
            "state_dict": {f"network.{name}": tensor for name, tensor in network.state_dict().items()},
            "hyper_parameters": {
                "organs": list(ORGANS),
                "network": {
                    "architecture": kind or type(network).__name__,
                    "widths": list(phantoms.TINY_WIDTHS),
                    "num_subgates": 2,
                    "gating_conv": False,
                },
            },
            "datamodule_hyper_parameters": {
                "spacing_mm": spacing_mm,
                "intensity": {"clip_hu": list(CLIP_HU), "mean_hu": MEAN_HU, "std_hu": STD_HU},
            }
            | data,
        },
        path,
    )
    return path
