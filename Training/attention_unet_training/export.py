"""A checkpoint -> the model folder that 3D Slicer and ``attention-unet`` load.

The description (labels, training data, licence, intended use) is a JSON file of the user's; what the checkpoint knows
(architecture, spacing, intensity rule) is taken from it, and measured figures come from ``evaluate``'s file.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from AttentionUNetSegmentationLib.model import build_network, save_model
from AttentionUNetSegmentationLib.model_spec import ModelSpec

from .task import read_network_state

ARCHITECTURE_KEYS = ("widths", "num_subgates", "gating_conv")


def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train export``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="attention-unet-train export", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint of attention-unet-train fit")
    parser.add_argument("output", type=Path, help="model folder to write")
    parser.add_argument("--description", type=Path, required=True, help="JSON: name, labels, licence, ...")
    parser.add_argument("--measured", type=Path, help="JSON: list of {data, organ, metric, value, cases}")
    parsed = parser.parse_args(arguments)
    try:
        spec = export(parsed.checkpoint, parsed.output, parsed.description, parsed.measured)
    except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote the model {spec.name} {spec.version} to {parsed.output}")
    return 0


def export(checkpoint: Path, output: Path, description: Path, measured: Path | None = None) -> ModelSpec:
    """Write a model folder.

    Raises:
        ValueError: If the description is incomplete, or does not fit what was trained.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model, data = content["hyper_parameters"], content["datamodule_hyper_parameters"]
    fields = json.loads(description.read_text(encoding="utf-8"))
    names = [label["name"] for label in fields.get("labels", [])]
    if names != list(model["organs"]):
        raise ValueError(f"{description} describes {names}, the checkpoint was trained for {list(model['organs'])}")
    fields |= _from_training(model, data)
    fields["measured"] = json.loads(measured.read_text(encoding="utf-8")) if measured else []
    fields["training"] = {"steps": content["global_step"], "command": "attention-unet-train fit"}
    fields["weights"] = {"file": "weights.pt", "sha256": "0" * 64}  # replaced on saving
    spec = ModelSpec.from_json(json.dumps(fields))
    network = build_network(spec.architecture, spec.num_classes)
    network.load_state_dict(read_network_state(str(checkpoint)))
    return save_model(output, network, spec)


def _from_training(model: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    architecture = {"type": model["architecture"], **{key: model[key] for key in ARCHITECTURE_KEYS}}
    architecture["widths"] = list(architecture["widths"])
    return {
        "architecture": architecture,
        "spacing_mm": [float(data["spacing_mm"])] * 3,
        "intensity": {
            "clip_hu": [float(bound) for bound in data["clip_hu"]],
            "mean_hu": float(data["mean_hu"]),
            "std_hu": float(data["std_hu"]),
        },
    }
