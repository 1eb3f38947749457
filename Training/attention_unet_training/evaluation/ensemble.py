"""Several networks as one whose probabilities are the mean of theirs, such as the folds of a cross-validation."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from AttentionUNetSegmentationLib.models.description import ModelSpec
from AttentionUNetSegmentationLib.models.loading import Model, load_model
from AttentionUNetSegmentationLib.models.provenance import BaseModel, Provenance
from AttentionUNetSegmentationLib.models.store import find_model

from ..task.checkpoints import read_training_options
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


def load_ensemble(sources: Sequence[str]) -> tuple[Model, tuple[str, ...]]:
    """One model out of several, or the model itself if there is but one; and the organs that it finds.

    Args:
        sources: Models (name, folder or zip) or checkpoints.

    Raises:
        ValueError: If one cannot be loaded, or has another spacing, intensity rule, labels or organs than the first.
    """
    loaded = [_load(source) for source in sources]
    (first, organs), *others = loaded
    for source, (model, found) in zip(sources[1:], others, strict=True):
        for key in ("spacing_mm", "intensity", "labels"):
            if getattr(model.spec, key) != getattr(first.spec, key):
                raise ValueError(f"{source} has another {key} than {sources[0]}, so the two cannot be averaged")
        if found != organs:
            raise ValueError(f"{source} finds other organs than {sources[0]}, so the two cannot be averaged")
    if not others:
        return first, organs
    # what tells ensembles apart is which weights they have
    joined = hashlib.sha256("".join(model.spec.weights.sha256 for model, _ in loaded).encode()).hexdigest()
    weights = dataclasses.replace(first.spec.weights, sha256=joined)
    spec = dataclasses.replace(
        first.spec,
        title=f"mean of {len(loaded)} networks",
        architecture=max((model.spec.architecture for model, _ in loaded), key=lambda one: len(one.widths)),  # for all
        weights=weights,
        provenance=_together([model.spec for model, _ in loaded]),
    )
    network = Ensemble([model.network for model, _ in loaded]).eval()
    return Model(spec, network), organs  # type: ignore[arg-type]  # the engine's contract, not its class


def _together(specs: Sequence[ModelSpec]) -> Provenance | None:
    """What all networks have seen: the others' cases stand among the bases of the first that tells of its own."""
    made = [spec.provenance for spec in specs if spec.provenance is not None]
    if not made:
        return None
    first, *others = made
    bases = [
        BaseModel(
            "another of the mean",
            dataset=other.dataset,
            training_cases=other.training_cases,
            validation_cases=other.validation_cases,
        )
        for other in others
    ]
    return dataclasses.replace(first, bases=(*first.bases, *bases, *(base for other in others for base in other.bases)))


def takes_scaled_volumes(source: str) -> bool:
    """Whether a network was trained on volumes that were scaled one by one, as the public code does, not on HU."""
    found = find_model(source)
    return found.suffix == CHECKPOINT_ENDING and read_training_options(found).per_volume


def _load(source: str) -> tuple[Model, tuple[str, ...]]:
    found = find_model(source)
    if found.suffix == CHECKPOINT_ENDING:
        return load_checkpoint(found)
    model = load_model(found)
    return model, tuple(label.name for label in model.spec.labels)
