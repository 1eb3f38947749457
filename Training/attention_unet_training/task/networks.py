"""The network of a training run: the engine's own, or any MONAI network by name, to compare with."""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks import nets
from torch import Tensor, nn

from AttentionUNetSegmentationLib.models.description import ARCHITECTURES, ArchitectureSpec
from AttentionUNetSegmentationLib.models.loading import build_network

from .options import NetworkOptions

MONAI_PREFIX = "monai."
MONAI_NETWORKS = ("AttentionUnet", "SegResNet", "DynUNet", "VNet", "UNet")
ENGINE_DIVISOR = 16  # inference.predict
# PyTorch 2.13 on a CPU: where the coarsest scales are one or two voxels thin (patches of 16 and 32 slices), weight
# gradients of bfloat16 convolutions differ from call to call and are sometimes infinite; never with 48 to 96 slices.
SAFE_MULTIPLE = 3
GIVEN = ("spatial_dims", "in_channels", "out_channels")  # follow from the task


class MonaiNetwork(nn.Module):
    """A MONAI network with the engine's contract: ``forward(x)`` gives logits and no attention coefficients.

    Such a network can be trained and measured, and stands beside the paper's in tables. It cannot be exported: the
    module and the ``attention-unet`` command load the paper's two architectures only.

    Args:
        name: One of ``MONAI_NETWORKS``.
        num_classes: Classes of the output, background included.
        options: Further arguments of the network's constructor.

    Raises:
        ValueError: If the name or an option is unknown, or an option does not fit.
    """

    def __init__(self, name: str, num_classes: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        if name not in MONAI_NETWORKS:
            raise ValueError(f"network.architecture monai.NAME knows {', '.join(MONAI_NETWORKS)}, got {name!r}")
        kind = getattr(nets, name)
        known = set(inspect.signature(kind).parameters) - set(GIVEN)
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(f"monai.{name} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
        if options.get("deep_supervision"):
            raise ValueError("deep_supervision of MONAI's networks changes their output and is not supported")
        given = {"spatial_dims": 3, "in_channels": 1, "out_channels": num_classes}
        try:
            self.body = kind(**given, **options)
        except TypeError as error:
            raise ValueError(f"monai.{name}: {error}") from error
        self.size_divisor = _size_divisor(name, options)

    def forward(self, x: Tensor) -> tuple[Tensor, OrderedDict[str, Tensor]]:
        """(N, 1, D, H, W) -> logits (N, C, D, H, W) and an empty dict."""
        logits = self.body(x)
        return logits.as_tensor() if hasattr(logits, "as_tensor") else logits, OrderedDict()


def build(options: NetworkOptions, num_classes: int) -> nn.Module:
    """An untrained network.

    Args:
        options: Which; of a MONAI network only ``monai_options`` count beside its name.
        num_classes: Classes of the output, background included.

    Raises:
        ValueError: If the architecture is unknown, or an option does not fit it.
    """
    name = options.architecture
    if name.startswith(MONAI_PREFIX):
        return MonaiNetwork(name.removeprefix(MONAI_PREFIX), num_classes, options.monai_options or {})
    if options.monai_options:
        raise ValueError(f"monai_options are for monai networks, got {sorted(options.monai_options)} for {name}")
    if name not in ARCHITECTURES:
        known = ", ".join([*ARCHITECTURES, *(MONAI_PREFIX + network for network in MONAI_NETWORKS)])
        raise ValueError(f"network.architecture must be one of {known}, got {name!r}")
    spec = ArchitectureSpec(name, options.widths, 1, options.num_subgates, options.gating_conv)
    network = build_network(spec, num_classes)
    if options.initialisation == "kaiming":
        initialise_as_public_code(network)
    return network


@torch.no_grad()
def initialise_as_public_code(network: nn.Module) -> None:
    """Draw every weight as the authors' public code does (``init_weights`` with "kaiming").

    Convolutions: normal by fan-in; batch norm: normal around 1 with a standard deviation of 0.02. Gates are then closed
    as often as open, although the paper lets them pass everything at the start.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.reset_parameters()  # biases, which that code leaves as PyTorch draws them
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.weight, 1.0, 0.02)


def set_batch_norm_momentum(network: nn.Module, momentum: float) -> None:
    """Set the share of the newest batch in every batch norm's running statistics."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum


def pad_to_divisor(x: Tensor, divisor: int, at_least: int = 1) -> Tensor:
    """Repeat edge voxels at the end of each axis of (N, C, D, H, W) up to multiples, as the engine does.

    Args:
        x: The image.
        divisor: Sizes become multiples of it,
        at_least: and no less than this many times it.
    """
    sizes = [max(-(-size // divisor), at_least) * divisor for size in x.shape[2:]]
    padding = [
        amount for size, wanted in zip(x.shape[:1:-1], sizes[::-1], strict=True) for amount in (0, wanted - size)
    ]
    return torch.nn.functional.pad(x, padding, mode="replicate") if any(padding) else x


def pad_for_training(x: Tensor, network: nn.Module) -> Tensor:
    """Pad (N, C, D, H, W) to multiples of what the network needs; with autocast on a CPU to more, see SAFE_MULTIPLE."""
    reduced = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return pad_to_divisor(x, getattr(network, "size_divisor", 1), SAFE_MULTIPLE if reduced else 1)


def pad_as_engine(x: Tensor, network: nn.Module) -> Tensor:
    """Pad (N, C, D, H, W) as the engine pads a volume for this network: to multiples of 16, or of what it needs."""
    return pad_to_divisor(x, math.lcm(ENGINE_DIVISOR, getattr(network, "size_divisor", 1)))


def _size_divisor(name: str, options: Mapping[str, Any]) -> int:
    if "strides" in options:
        return math.prod(max(stride) if isinstance(stride, Sequence) else stride for stride in options["strides"])
    if name == "SegResNet":
        return 2 ** (len(options.get("blocks_down", (1, 2, 2, 4))) - 1)
    return 16  # VNet halves four times
