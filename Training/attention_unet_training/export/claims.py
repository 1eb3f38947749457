"""A model's description must not say what is true of another model only, such as the one it was copied from.

What can be checked is refused: a name and version that another model has, statements and figures copied from it, and,
of weights that have seen real CTs, any word on whether data were real, unless the author says that it was checked. What
a description says beyond that is its author's.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from AttentionUNetSegmentationLib.models.description import ModelError, ModelSpec
from AttentionUNetSegmentationLib.models.loading import load_model
from AttentionUNetSegmentationLib.models.provenance import Provenance
from AttentionUNetSegmentationLib.models.store import InstalledModel, list_models

ON_DATA = r"synthe(tic|si[sz])\w*|simulat\w*|artificial\w*|phantoms?|real"
ON_PEOPLE = r"patients?|humans?|generated|clinical (ct|data|scan|image)s?"  # of training data; elsewhere, on use
NUMBER = re.compile(r"\d*\.\d+|\d+")


def check_claims(spec: ModelSpec, network: nn.Module, where: str, checked: bool = False) -> None:
    """Refuse a description that belongs to another model.

    Args:
        spec: The description of a model to be exported.
        network: Its network, with the weights that will be written.
        where: The description's file, for messages.
        checked: Whether the author vouches for what it says of real and synthetic data.

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
    own = _normal(spec.training_data)
    untrue += [f"training_data of {base.name}" for base in provenance.bases if _normal(base.training_data) == own]
    if untrue:
        raise ValueError(
            f"{where} says what is not true of these weights ({provenance.told()}): "
            f"{', '.join(dict.fromkeys(untrue))}; correct it or leave it out"
        )
    if spec.provenance is not None and not provenance.synthetic and not checked:
        _check_words(spec, where)


def _copied(spec: ModelSpec, other: ModelSpec, packaged: bool) -> list[str]:
    """What is the same in another model's description, and wrong for other weights.

    That is sentences with figures in a caution, and their decimals unless these weights were measured so; and of the
    bundled model what follows from its training. A training on synthetic CT alone may use the same label maps.
    """
    same = ["name and version"] * ((spec.name, spec.version) == (other.name, other.version))
    theirs = {mark for label in other.labels for mark in _figures(label.caution)}
    measured = {f"{entry.value:.{digits}f}" for entry in spec.measured for digits in (1, 2, 3, 4)}
    theirs -= {_normal(figure) for figure in measured}
    same += [key for key, text in _texts(spec).items() if theirs & _figures(text)]
    made = spec.provenance
    if packaged and made is not None and not made.synthetic:
        same += ["training_data"] * (_normal(spec.training_data) == _normal(other.training_data))
        ranges = {label.name: label.trained_hu for label in other.labels if label.trained_hu}
        same += [f"trained_hu ({own.name})" for own in spec.labels if own.trained_hu == ranges.get(own.name, ())]
    return same


def _texts(spec: ModelSpec) -> dict[str, str]:
    """Statements on the weights: not the data's attribution, nor the paper, which models may share."""
    texts = {key: getattr(spec, key) for key in ("title", "intended_use")}
    return texts | {f"caution ({label.name})": label.caution for label in spec.labels}


def _figures(text: str) -> set[str]:
    """Sentences that hold a number, and decimals, normalised."""
    normal = [_normal(sentence) for sentence in re.split(r"[.;!?](?=\s|$)", text)]
    return {sentence for sentence in normal if NUMBER.search(sentence)} | set(re.findall(r"\d+\.\d+", " ".join(normal)))


def _normal(text: str) -> str:
    """Words and numbers in lower case, without white space, punctuation and trailing zeros between them."""
    text = re.sub(r"(?<=\d),(?=\d)", ".", text.casefold())
    words = re.findall(r"\d*\.\d+|\d+|[^\W\d_]+", text)
    return " ".join(f"{float(word):g}" if NUMBER.fullmatch(word) else word for word in words)


def _check_words(spec: ModelSpec, where: str) -> None:
    """Refuse words on whether data were real: what a text denies with them cannot be told from what it states."""
    texts = _texts(spec) | {"training_data": spec.training_data, "citation": spec.citation}
    for key, text in texts.items():
        words = f"{ON_DATA}|{ON_PEOPLE}" if key == "training_data" else ON_DATA
        if word := re.search(rf"\b({words})\b", _normal(text)):
            raise ValueError(
                f'{where}: {key} speaks of "{word[0]}", and these weights have seen real CTs '
                f'({(spec.provenance or Provenance()).told()}); leave it out, or add "claims_checked": true if it is so'
            )


def _same_weights(network: nn.Module, entry: InstalledModel) -> bool:
    try:
        own, its = network.state_dict(), load_model(entry.folder).network.state_dict()
    except ModelError:
        return False
    return own.keys() == its.keys() and all(torch.equal(own[name].float(), its[name].float()) for name in own)
