"""Several networks as one whose probabilities are the mean of theirs, such as the folds of a cross-validation."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from AttentionUNetSegmentationLib.models.loading import Model, load_model
from AttentionUNetSegmentationLib.models.store import find_model

from ..task.starting_weights import CHECKPOINT_ENDING
from .checkpoints import load_checkpoint


class Ensemble(nn.Module):
    """``forward(x)`` gives the logarithm of the mean probability, and the mean coefficients of every gate.

    Args:
        networks: With the engine's contract and the same classes; each is run in turn.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> tuple[Tensor, OrderedDict[str, Tensor]]:
        """(N, 1, D, H, W) -> (N, C, D, H, W), name -> (N, 1, d, h, w)."""
        total: Tensor | None = None
        attention: OrderedDict[str, Tensor] = OrderedDict()
        for network in self.networks:
            logits, coefficients = network(x)
            probability = logits.float().softmax(dim=1)
            total = probability if total is None else total.add_(probability)
            for name, alpha in coefficients.items():
                attention[name] = attention.get(name, 0) + alpha / len(self.networks)
        if total is None:
            raise RuntimeError("an ensemble needs a network")
        return (total / len(self.networks)).clamp_(min=torch.finfo(torch.float32).tiny).log(), attention


def load_ensemble(sources: Sequence[str]) -> Model:
    """One model out of several, or the model itself if there is but one.

    Args:
        sources: Models (name, folder or zip) or checkpoints.

    Raises:
        ValueError: If one cannot be loaded, or has another spacing, intensity rule or other labels than the first.
    """
    models = [_load(source) for source in sources]
    first = models[0]
    for source, model in zip(sources[1:], models[1:], strict=True):
        for key in ("spacing_mm", "intensity", "labels"):
            if getattr(model.spec, key) != getattr(first.spec, key):
                raise ValueError(f"{source} has another {key} than {sources[0]}, so the two cannot be averaged")
    if len(models) == 1:
        return first
    title = f"mean of {len(models)} networks"
    network = Ensemble([model.network for model in models]).eval()
    spec = dataclasses.replace(first.spec, title=title)
    return Model(spec, network)  # type: ignore[arg-type]  # the engine's contract, not its class


def _load(source: str) -> Model:
    found = find_model(source)
    return load_checkpoint(Path(found))[0] if found.suffix == CHECKPOINT_ENDING else load_model(found)
