"""Parts of the network that stay as they are for a while, outputs left out of the softmax, batch norm held still."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from AttentionUNetSegmentationLib.inference.network import AttentionUNet, UNet

PARTS = ("none", "gates", "trunk")
NEVER = -1e4  # a logit whose probability is 0 in float32, and that half precision can hold


def frozen_modules(network: nn.Module, part: str) -> list[nn.Module]:
    """The modules of a part: the attention gates, or everything else (the trunk).

    Raises:
        ValueError: If the part is unknown, or the network has no gates.
    """
    if part not in PARTS:
        raise ValueError(f"freezing.part must be one of {', '.join(PARTS)}, got {part!r}")
    if part == "none":
        return []
    if not isinstance(network, AttentionUNet):
        raise ValueError(f"freezing.part {part} needs an AttentionUNet, got {type(network).__name__}")
    gates: list[nn.Module] = [module for module in (network.gates, network.gating_signal) if module is not None]
    if part == "gates":
        return gates
    return [module for module in network.children() if not any(module is gate for gate in gates)]


def hold_batch_norm(modules: Sequence[nn.Module]) -> None:
    """Let every batch norm in ``modules`` use its running statistics and leave them as they are."""
    for module in modules:
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.eval()


def drop_gradients(modules: Sequence[nn.Module]) -> None:
    """Take the gradients away, so that an optimiser neither moves nor decays the parameters.

    (Unlike ``requires_grad``, this may change from epoch to epoch under distributed training.)
    """
    for module in modules:
        for parameter in module.parameters():
            parameter.grad = None


@torch.no_grad()
def leave_out_of_softmax(network: nn.Module, classes: Sequence[int]) -> None:
    """Give classes a probability of zero everywhere, in training and ever after (paper, section 3: AFT).

    Their rows of the last convolution become zero and their bias ``NEVER``. The softmax over all classes is then the
    softmax over the others, no gradient flows into these outputs, and a model that is exported later never predicts
    them.

    Raises:
        ValueError: If the network is not the engine's.
    """
    if not classes:
        return
    if not isinstance(network, UNet):
        raise ValueError(f"active_organs needs the architecture AttentionUNet or UNet, got {type(network).__name__}")
    network.get_parameter("mix.weight")[list(classes)] = 0
    network.get_parameter("mix.bias")[list(classes)] = NEVER
