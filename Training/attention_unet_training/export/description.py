"""What a model must say about itself to be exported: training data, licence, measured figures. Without: refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from AttentionUNetSegmentationLib.models.description import WEIGHTS_FILE, Measurement, ModelSpec, build_typed

from ..evaluation.metrics import METRICS
from ..preparation.records import read_json

REQUIRED = ("name", "title", "version", "labels", "training_data", "licence", "intended_use")
CHECKED = "claims_checked"
ALLOWED = (*REQUIRED, "citation", "format_version", CHECKED)
FIELDS_HELP = """\
fields of the description, a JSON object (descriptions/my-model.json beside this command is one to fill in):
  name           a-z, 0-9, "-", "_", ".": the model's folder and what --model takes
  title          one line, shown to users
  version        of the model
  labels         a list, in the order of the training's organs, each with
                   name            the organ's name in training
                   value           1..255 in label maps, unique
                   code, meaning   SNOMED CT: "78961009", "Spleen"
                   color_rgb       [157, 108, 162]
                   components      optional: connected parts that the clean-up keeps, 1 if left out
                   plausible_ml    optional: [40, 600], outside of which the user is warned
                   plausible_source  optional: where that range comes from
                   trained_hu      optional: range of the organ's mean HU in training, likewise
                   place           optional: "left", "right" or "crosses midline"; a result elsewhere raises a warning
                   place_source    optional: how that is known
                   solid           optional: true for compact tissue, in which fluid raises a warning
                   caution         optional: a known weakness, said with every result that has the organ
                   sides           optional: {"right": {...}, "left": {...}}, each with name, value, modifier_code,
                                   modifier_meaning, for a paired organ
  training_data  what the network was trained on, with attribution
  licence        of the weights, and of the data behind them
  intended_use   what it is for, and what it is not for
  citation       optional
  claims_checked optional: true if you checked what is said of real or synthetic data and of patients; texts of a model
                 that has seen real CTs speak of these only then
What the checkpoint knows (architecture, spacing_mm, intensity, training, provenance) and measured figures have no place
there. The provenance names base model, data set, split, cases, seed, loss, learning rate and software. Names of cases
come from names of files: where these say who a patient is, prepare the data set from a table with a column id.

measured figures, a JSON list (attention-unet-train evaluate writes it):
  [{"data": "what it was measured on", "organ": "spleen", "metric": "Dice", "value": 0.87, "cases": 30}, ...]
an entry may have "weights", the hash of the file that was measured: figures of other weights are refused
"""


def describe(
    known: Mapping[str, Any], organs: tuple[str, ...], description: Path | None, measured: Path | None, sha256: str
) -> ModelSpec:
    """The model's description, complete and valid.

    Args:
        known: Entries of model.json that the source has: all of them if it is a model.
        organs: Organs of the network's classes 1, 2, ...
        description: JSON file with ``ALLOWED`` entries, which replace those of the source.
        measured: JSON file with a list of metrics, which replace those of the source.
        sha256: Hash of the weights that are described.

    Raises:
        ValueError: If something is missing, unknown or invalid; the message names it.
    """
    fields = dict(known)
    where = "the model's description"
    if description is not None:
        where = str(description)
        fields |= _read_description(description)
        fields.pop(CHECKED, None)
    missing = [key for key in REQUIRED if key not in fields]
    if description is None and missing:
        raise ValueError("a checkpoint is exported only with --description: labels, training data, licence, use")
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}, which every export needs")
    if measured is not None:
        fields["measured"] = _read_measured(measured)
    fields["weights"] = {"file": WEIGHTS_FILE, "sha256": "0" * 64}  # replaced on saving
    try:
        spec = ModelSpec.from_json(json.dumps(fields))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    names = tuple(label.name for label in spec.labels)
    if names != organs:
        raise ValueError(f"{where} describes {list(names)}, the checkpoint was trained for {list(organs)}")
    _check_measured(spec, measured, {sha256, "", *(entry.get("weights", "") for entry in known.get("measured", ()))})
    return spec


def is_checked(description: Path) -> bool:
    """Whether the author vouches for what the description says of real and synthetic data."""
    return bool(_read_description(description).get(CHECKED))


def _check_measured(spec: ModelSpec, measured: Path | None, weights: Collection[str]) -> None:
    where = measured or "the model"
    if not all(entry.weights in weights for entry in spec.measured):
        raise ValueError(f"{where} has figures that were measured with other weights than these")
    if not spec.measured:
        raise ValueError(
            "measured figures are missing, but every export needs them; "
            "attention-unet-train evaluate --output FILE measures them, --measured FILE passes them on"
            if measured is None
            else f"{measured} holds no measured figures, which every export needs"
        )
    own = {organ.name for label in spec.labels for split in (False, True) for organ in label.organs(split)}
    if strangers := sorted({entry.organ for entry in spec.measured} - own):
        raise ValueError(
            f"{where} has figures of {', '.join(strangers)}; organs of the model: {', '.join(sorted(own))}"
        )
    told = [(entry.data, entry.organ, entry.metric) for entry in spec.measured]
    if twice := next((entry for n, entry in enumerate(told) if entry in told[:n]), None):
        raise ValueError(f"{where} has two figures of {', '.join(twice)}")
    shares = {metric.name for metric in METRICS if metric.higher_is_better}  # of overlap
    for entry in spec.measured:
        if entry.metric in shares and not 0 <= entry.value <= 1:
            raise ValueError(f"{where}: {entry.metric} must be between 0 and 1, got {entry.value:g}")
        if entry.cases < 1 or not entry.data.strip():
            raise ValueError(f"{where}: a figure needs its data and at least one case, got {entry}")


def _read_description(path: Path) -> dict[str, Any]:
    fields = _read_json(path, dict, "an object")
    foreign = sorted(set(fields) - set(ALLOWED))
    if foreign:
        raise ValueError(f"{path} must not have the key {foreign[0]!r}; it may have {', '.join(ALLOWED)}")
    if not isinstance(fields.get(CHECKED, False), bool):
        raise ValueError(f"{path}: {CHECKED} must be true or false, got {fields[CHECKED]!r}")
    return fields


def _read_measured(path: Path) -> list[Any]:
    content = _read_json(path, list, "a list of figures")
    try:
        build_typed(tuple[Measurement, ...], content, "measured")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return content


def _read_json(path: Path, kind: type, expected: str) -> Any:
    try:
        content = read_json(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} must hold {expected}, got {type(content).__name__}")
    return content
