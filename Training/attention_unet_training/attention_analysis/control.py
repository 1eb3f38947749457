"""The control: the same network with randomised weights, on the same case.

What such networks show comes from the architecture and the CT alone. Two kinds: "initial", as training begins, and
"shuffled", the trained values of each weight tensor in random places (after Adebayo et al. 2018, Sanity Checks for
Saliency Maps). The batch norms take the statistics of the case, so that features keep their scale.
"""

from __future__ import annotations

import copy

import torch

from AttentionUNetSegmentationLib.inference.network import AttentionUNet
from AttentionUNetSegmentationLib.models.loading import build_network

from ..task.networks import initialise_as_public_code
from .series import TrainedNetwork

KINDS = ("initial", "shuffled")


def randomised(trained: TrainedNetwork, kind: str, seed: int) -> AttentionUNet:
    """A copy of a network with random weights, in training mode for its batch norms.

    Args:
        trained: The network; not changed.
        kind: "initial": new weights, as at the start of a training. "shuffled": the values of each weight tensor
            exchange their places.
        seed: The same seed gives the same network.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"the control's kind must be one of {', '.join(KINDS)}, got {kind!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = copy.deepcopy(trained.network).cpu()
        if kind == "initial":
            network.load_state_dict(build_network(trained.architecture, network.num_classes).state_dict())
            if trained.initialisation == "kaiming":
                initialise_as_public_code(network)
            return network.train()
        with torch.no_grad():
            for parameter in network.parameters():
                order = torch.randperm(parameter.numel())
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return network.train()
