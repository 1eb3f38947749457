"""A model's description must not say what is true of another model only, such as the one it was copied from.

What can be checked is refused: a name and version that another model has, statements copied from it, and "no real CT"
of weights that have seen real ones. What a description says beyond that is its author's.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from AttentionUNetSegmentationLib.models.description import ModelError, ModelSpec
from AttentionUNetSegmentationLib.models.loading import load_model
from AttentionUNetSegmentationLib.models.provenance import Provenance
from AttentionUNetSegmentationLib.models.store import InstalledModel, list_models

NO_REAL_CT = re.compile(
    r"\bno real\b|\bwithout (a single |any )?real\b|\bnot (trained )?on real\b|\b(only|purely|solely|exclusively) "
    r"(on )?synthetic\b|\bsynthetic( \w+)? (only|alone|exclusively)\b",
    re.IGNORECASE,
)
SYNTHETIC = re.compile(r"\btrained on synthetic\b", re.IGNORECASE)  # untrue unless real CTs are named too
NAMES_REAL_CT = re.compile(r"\breal\b|\bfine-?tuned\b", re.IGNORECASE)


def check_claims(spec: ModelSpec, network: nn.Module, where: str) -> None:
    """Refuse a description that belongs to another model.

    Args:
        spec: The description of a model to be exported.
        network: Its network, with the weights that will be written.
        where: The description's file, for messages.

    Raises:
        ValueError: If an installed model has the name and version, or statements are copied or contradict the training.
    """
    provenance = spec.provenance or Provenance()
    untrue: list[str] = []
    for entry in list_models():
        other = entry.spec
        if other is None or not (copied := _copied(spec, other, entry.packaged)) or _same_weights(network, entry):
            continue
        if (spec.name, spec.version) == (other.name, other.version):
            raise ValueError(
                f"{where}: {spec.name} {spec.version} is another model, in {entry.folder}; "
                "give this one another name or version"
            )
        untrue += [f"{claim} of {other.name}" for claim in copied]
    untrue += [f"training_data of {base.name}" for base in provenance.bases if base.training_data == spec.training_data]
    if not provenance.synthetic and spec.provenance is not None:
        untrue += _synthetic_only(spec)
    if untrue:
        raise ValueError(
            f"{where} says what is not true of these weights ({provenance.told()}): "
            f"{', '.join(dict.fromkeys(untrue))}; correct it or leave it out"
        )


def _copied(spec: ModelSpec, other: ModelSpec, packaged: bool) -> list[str]:
    """What is the same in another model's description, and wrong for other weights.

    That is figures in a caution; and of the bundled model's description what follows from its training. A training on
    synthetic CT alone may use the same label maps.
    """
    same = ["name and version"] * ((spec.name, spec.version) == (other.name, other.version))
    theirs = {label.name: label for label in other.labels}
    pairs = [(label, theirs[label.name]) for label in spec.labels if label.name in theirs]
    figures = [own.name for own, its in pairs if own.caution == its.caution and re.search(r"\d", own.caution)]
    same += [f"caution ({name})" for name in figures]
    made = spec.provenance
    if packaged and made is not None and not made.synthetic:
        same += ["training_data"] * (spec.training_data == other.training_data)
        same += [
            f"trained_hu ({own.name})" for own, its in pairs if own.trained_hu and own.trained_hu == its.trained_hu
        ]
    return same


def _synthetic_only(spec: ModelSpec) -> list[str]:
    """Statements that the model has seen synthetic CT only."""
    texts = {key: getattr(spec, key) for key in ("title", "intended_use", "citation")}
    texts |= {f"caution ({label.name})": label.caution for label in spec.labels}
    texts["training_data"] = f"trained on {spec.training_data}"
    found = {
        key: NO_REAL_CT.search(text) or (None if NAMES_REAL_CT.search(text) else SYNTHETIC.search(text))
        for key, text in texts.items()
    }
    return [f'"{match[0]}" in {key}' for key, match in found.items() if match]


def _same_weights(network: nn.Module, entry: InstalledModel) -> bool:
    try:
        own, its = network.state_dict(), load_model(entry.folder).network.state_dict()
    except ModelError:
        return False
    return own.keys() == its.keys() and all(torch.equal(own[name].float(), its[name].float()) for name in own)
