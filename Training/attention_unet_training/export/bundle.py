"""A model as a MONAI bundle: configurations, weights, TorchScript, README and licence in one folder.

The bundle runs without this project: the network is in ``models/model.ts``, preprocessing is MONAI's, set to the
model's spacing, orientation and intensity rule. How that differs from the engine's stands in the bundle's README.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from AttentionUNetSegmentationLib.inference.network import UNet
from AttentionUNetSegmentationLib.models.description import ModelSpec

from .bundle_configs import inference_config, metadata
from .bundle_texts import licence, readme
from .onnx import input_size, relative_difference

TRACED_SIZE = (2, 2, 2)  # in multiples of the network's divisor
COMPARED_SIZES = ((2, 2, 2), (1, 2, 3), (3, 2, 2))
TOLERANCE = 1e-5  # of a class's largest logit


class LogitsOnly(nn.Module):
    """A network whose only output is the logits, as MONAI's inferers want it."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, D, H, W) -> logits (N, C, D, H, W)."""
        return self.network(x)[0]


def write_bundle(network: UNet, spec: ModelSpec, folder: Path) -> None:
    """Write the bundle.

    Args:
        network: The network, in evaluation mode.
        spec: Its description.
        folder: Created; must not exist.

    Raises:
        RuntimeError: If the TorchScript file does not give the network's logits.
    """
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True)
    for name, content in (
        ("metadata", metadata(spec, network.size_divisor)),
        ("inference", inference_config(spec, network.size_divisor)),
    ):
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / "configs" / f"{name}.json").write_text(text, encoding="utf-8")
    (folder / "docs" / "README.md").write_text(readme(spec), encoding="utf-8")
    (folder / "LICENSE").write_text(licence(spec), encoding="utf-8")
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    write_torchscript(network, folder / "models" / "model.ts")


def write_torchscript(network: UNet, path: Path) -> None:
    """Trace the network's logits, and compare the file with the network on several sizes.

    Raises:
        RuntimeError: If they differ.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # sizes are compared below
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(LogitsOnly(network).eval(), torch.zeros(1, 1, *input_size(network, TRACED_SIZE)))
        torch.jit.save(traced, str(path))
        loaded = torch.jit.load(str(path))
    generator = torch.Generator().manual_seed(0)
    for multiples in COMPARED_SIZES:
        x = torch.randn(1, 1, *input_size(network, multiples), generator=generator)
        with torch.inference_mode():
            wanted, got = network(x)[0], loaded(x)
        if got.shape != wanted.shape or not relative_difference(got, wanted) <= TOLERANCE:
            raise RuntimeError(f"the TorchScript file does not give the network's logits at size {tuple(x.shape[2:])}")
