"""Checkpoints as ``attention-unet-train fit`` leaves them, of tiny networks that nobody trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

import attention_unet_training
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


DESCRIPTIONS = Path(attention_unet_training.__file__).parent / "descriptions"
WRITTEN = {"title": "A test", "training_data": "CTs of a test", "licence": "none", "intended_use": "testing"}


def write_description(path: Path, **changes: object) -> Path:
    """Fill in the description that users fill in; ``changes`` to None leave an entry out."""
    fields = json.loads((DESCRIPTIONS / "my-model.json").read_text(encoding="utf-8")) | WRITTEN | changes
    path.write_text(json.dumps({key: value for key, value in fields.items() if value is not None}), encoding="utf-8")
    return path


def write_checkpoint(
    path: Path,
    network: UNet,
    step: int = 7,
    kind: str = "",
    spacing_mm: float = 2.0,
    task: Mapping[str, object] | None = None,
    **data: object,
) -> Path:
    """Write a checkpoint of the network.

    Args:
        path: Where.
        network: The network.
        step: Training steps done.
        kind: Replaces the architecture's name.
        spacing_mm: Of its data.
        task: More options of the task.
        data: More options of the data.
    """
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
            }
            | dict(task or {}),
            "datamodule_hyper_parameters": {
                "spacing_mm": spacing_mm,
                "intensity": {"clip_hu": list(CLIP_HU), "mean_hu": MEAN_HU, "std_hu": STD_HU},
            }
            | data,
        },
        path,
    )
    return path
