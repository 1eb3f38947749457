"""Measure a model on cases with reference labels: the engine's own result against the reference, on the CT's grid."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.files import read_volume
from AttentionUNetSegmentationLib.model import Model, load_model
from AttentionUNetSegmentationLib.model_store import find_model
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.resampling import resample
from AttentionUNetSegmentationLib.volume import Volume


def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train evaluate``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="attention-unet-train evaluate", description=__doc__)
    parser.add_argument("--model", required=True, help="name or path of a model")
    parser.add_argument("--ct", required=True, help="CT file or DICOM folder")
    parser.add_argument("--labels", required=True, help="reference label map")
    parser.add_argument(
        "--organ", required=True, action="append", metavar="NAME=VALUE[,VALUE]", help="values of an organ in the labels"
    )
    parser.add_argument("--data-name", required=True, help="what the case is called in the model's figures")
    parser.add_argument("--output", type=Path, help="add the figures to this JSON file, for export --measured")
    parsed = parser.parse_args(arguments)
    try:
        organs = dict(_parse_organ(text) for text in parsed.organ)
        model = load_model(find_model(parsed.model))
        dice = evaluate_case(model, read_volume(parsed.ct), read_volume(parsed.labels), organs)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    measured = []
    for organ, value in dice.items():
        print(f"{parsed.data_name}: {organ}: Dice {value:.3f}")
        measured.append(
            {"data": parsed.data_name, "organ": organ, "metric": "Dice", "value": round(value, 4), "cases": 1}
        )
    if parsed.output:
        old = json.loads(parsed.output.read_text(encoding="utf-8")) if parsed.output.exists() else []
        kept = [entry for entry in old if entry["data"] != parsed.data_name]
        parsed.output.write_text(json.dumps([*kept, *measured], indent=2) + "\n", encoding="utf-8")
    return 0


def evaluate_case(model: Model, ct: Volume, reference: Volume, organs: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Dice of each organ class of the model, both sides of a paired organ together.

    Args:
        model: The model.
        ct: The CT.
        reference: Label map, on any grid; brought to the CT's grid.
        organs: Name of an organ class -> its values in the reference.

    Raises:
        ValueError: If an organ is not one of the model's.
    """
    specs = {label.name: label for label in model.spec.labels}
    unknown = sorted(set(organs) - set(specs))
    if unknown:
        raise ValueError(f"the model has no organ {unknown[0]!r}; it has {', '.join(specs)}")
    result = segment(ct, model, Options(attention=False))
    scores = {}
    for name, values in organs.items():
        wanted = np.isin(reference.voxels, list(values))
        if not reference.grid.same_as(ct.grid):
            wanted = resample(wanted, reference.grid, ct.grid, antialias=False) > 0.5
        label = specs[name]
        own = [organ.value for organ in (*label.organs(split=False), *label.organs(split=True))]
        scores[name] = dice(np.isin(result.labels, own), wanted)
    return scores


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two boolean masks; 1 if both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2.0 * np.count_nonzero(a & b) / total if total else 1.0


def _parse_organ(text: str) -> tuple[str, list[int]]:
    name, _, values = text.partition("=")
    try:
        return name, [int(value) for value in values.split(",")]
    except ValueError:
        raise ValueError(f"--organ must look like kidney=3,4, got {text!r}") from None
