"""A checkpoint -> the model folder that 3D Slicer and ``attention-unet`` load, an ONNX file, a MONAI bundle.

The description (labels, training data, licence, intended use) is a JSON file of the user's; what the checkpoint knows
(architecture, spacing, intensity rule) is taken from it, and measured figures come from ``evaluate``'s file. A model
folder can be given in the checkpoint's place. All outputs carry the same weights, rounded to half precision.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from AttentionUNetSegmentationLib.inference.network import UNet
from AttentionUNetSegmentationLib.models.description import (
    ARCHITECTURES,
    SPEC_FILE,
    WEIGHTS_FILE,
    ArchitectureSpec,
    ModelSpec,
)
from AttentionUNetSegmentationLib.models.loading import build_network, load_model, save_model
from AttentionUNetSegmentationLib.models.store import find_model

from ..export.description import FIELDS_HELP, describe
from ..staging import Output, staged
from ..task.segmentation_task import read_network_state

ARCHITECTURE_KEYS = ("widths", "num_subgates", "gating_conv")
CHECKPOINT_ENDING = ".ckpt"
BUNDLE_FILES = ("configs/*.json", "models/model.pt", "models/model.ts", "docs/README.md", "LICENSE")


@dataclass(frozen=True)
class Source:
    """A trained network and what its file tells of it.

    Attributes:
        network: In evaluation mode, on the CPU.
        known: Entries of model.json; all of them if it is a model.
        organs: Names of the classes 1, 2, ...
    """

    network: UNet
    known: dict[str, Any]
    organs: tuple[str, ...]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        spec: The model's description.
        onnx_difference: Largest difference between ONNX Runtime and PyTorch, relative to a channel's largest value;
            None if no ONNX file was asked for.
    """

    spec: ModelSpec
    onnx_difference: float | None = None


def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train export``; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        done = export(
            parsed.source,
            parsed.output,
            parsed.description,
            parsed.measured,
            parsed.onnx,
            parsed.bundle,
            parsed.overwrite,
        )
    except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if parsed.output:
        print(f"wrote the model {done.spec.name} {done.spec.version} to {parsed.output}")
    if parsed.onnx:
        print(f"wrote {parsed.onnx}: it and PyTorch differ by at most {done.onnx_difference:.1e} of the largest value")
    if parsed.bundle:
        print(f"wrote the MONAI bundle {parsed.bundle}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train export",
        description=__doc__,
        epilog=FIELDS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="checkpoint of attention-unet-train fit, or name, folder or zip of a model")
    parser.add_argument("output", type=Path, nargs="?", help="model folder to write")
    parser.add_argument("--description", type=Path, help="JSON, see below; needed for a checkpoint")
    parser.add_argument("--measured", type=Path, help="JSON, see below; needed for a checkpoint")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write ONNX: logits and every attention map")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="write a MONAI bundle")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    return parser


def export(
    source: Path | str,
    output: Path | None = None,
    description: Path | None = None,
    measured: Path | None = None,
    onnx: Path | None = None,
    bundle: Path | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write what is asked for: all of it, or nothing.

    Args:
        source: Checkpoint, or name, folder or zip of a model.
        output: Model folder.
        description: JSON, see ``export_description``.
        measured: JSON list of measured figures.
        onnx: ONNX file.
        bundle: Folder of a MONAI bundle.
        overwrite: Replace outputs that exist.

    Raises:
        ValueError: If the description is incomplete, does not fit what was trained, or an output exists.
        RuntimeError: If what was written does not give the network's results.
    """
    targets = {"model": (output, (SPEC_FILE, WEIGHTS_FILE)), "onnx": (onnx, ()), "bundle": (bundle, BUNDLE_FILES)}
    wanted = {kind: Output(path, files) for kind, (path, files) in targets.items() if path is not None}
    if not wanted:
        raise ValueError("nothing to write: give a model folder, --onnx FILE or --bundle DIR")
    with staged(list(wanted.values()), overwrite) as drafts:
        places = dict(zip(wanted, drafts, strict=True))
        trained = read_source(source)
        spec = describe(trained.known, trained.organs, description, measured)
        network = trained.network
        network.load_state_dict(half_rounded(network.state_dict()))
        difference = None
        if "model" in places:
            spec = save_model(places["model"], network, spec)
        if "onnx" in places:
            from ..export.onnx import write_onnx

            difference = write_onnx(network, spec, places["onnx"])
        if "bundle" in places:
            from ..export.bundle import write_bundle

            write_bundle(network, spec, places["bundle"])
    return Exported(spec, difference)


def read_source(source: Path | str) -> Source:
    """Read a checkpoint, or a model by name, folder or zip.

    Raises:
        ValueError: If it cannot be read, or its network cannot be loaded by the module.
    """
    path = Path(source)
    if path.suffix != CHECKPOINT_ENDING:
        model = load_model(find_model(source))
        organs = tuple(label.name for label in model.spec.labels)
        return Source(model.network, json.loads(model.spec.to_json()), organs)
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        options, data = content["hyper_parameters"], content["datamodule_hyper_parameters"]
        known = _from_training(options, data)
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is not a checkpoint of attention-unet-train fit: {reason}") from error
    kind = known["architecture"]["type"]
    if kind not in ARCHITECTURES:
        raise ValueError(f"only {' and '.join(ARCHITECTURES)} can be loaded by the module, got {kind}")
    known["training"] = {"steps": content["global_step"], "command": "attention-unet-train fit"}
    network = build_network(ArchitectureSpec(**known["architecture"]), len(options["organs"]) + 1)
    network.load_state_dict(read_network_state(str(path)))
    return Source(network.eval(), known, tuple(options["organs"]))


def half_rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a model folder gives them back: rounded to half precision, in float32.

    Raises:
        ValueError: If a weight is not finite, or too large for half precision.
    """
    rounded = {name: t.half().float() if t.is_floating_point() else t for name, t in state.items()}
    unusable = [name for name, tensor in rounded.items() if not torch.isfinite(tensor).all()]
    if unusable:
        raise ValueError(f"{unusable[0]} is not finite in half precision: the training diverged")
    return rounded


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
