"""A checkpoint of ``attention-unet-train fit`` as a model, to be measured before (or without) being exported."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from AttentionUNetSegmentationLib.atomic import sha256_of
from AttentionUNetSegmentationLib.inference.network import UNet
from AttentionUNetSegmentationLib.models.description import ARCHITECTURES, WEIGHTS_FILE, ModelSpec
from AttentionUNetSegmentationLib.models.loading import Model

from ..task.checkpoints import TrainingOptions, load_weights, read_training_options
from ..task.networks import build
from ..task.provenance import recorded

DESCRIPTION = Path(__file__).parents[1] / "descriptions" / "my-model.json"
GREY = (128, 128, 128)


def load_checkpoint(path: Path) -> tuple[Model, tuple[str, ...]]:
    """Read a checkpoint, of the paper's networks or of MONAI's, and the organs that it was trained to find.

    Organs that the description to fill in has too are cleaned up as described there (two components for pancreas
    and kidneys), others keep their largest component. Weights are as trained; ``export`` rounds them to half precision.

    Raises:
        ValueError: If the file is no such checkpoint; the message names it.
    """
    options = read_training_options(path)
    network = _network(options, path)
    spec = _spec(path, options, network)
    model = Model(spec, network)  # type: ignore[arg-type]  # MONAI's networks keep the same contract
    return model, options.found


def _network(options: TrainingOptions, path: Path) -> nn.Module:
    network = build(options.network, len(options.organs) + 1)
    load_weights(network, path)
    return network.eval()


def _spec(path: Path, options: TrainingOptions, network: nn.Module) -> ModelSpec:
    fields = options.description()
    if fields["architecture"]["type"] not in ARCHITECTURES:
        fields["architecture"] = _stand_in(network)
    bundled = json.loads(DESCRIPTION.read_text(encoding="utf-8"))["labels"]
    described = {label["name"]: label for label in bundled}
    taken = {value for label in described.values() for value in _values(label)}
    free = (value for value in range(1, 256) if value not in taken)
    labels = [
        described.get(name) or {"name": name, "value": next(free)} | _undescribed(name) for name in options.organs
    ]
    fields |= {
        "name": "checkpoint",
        "title": str(path),
        "version": "0",
        "labels": labels,
        "weights": {"file": WEIGHTS_FILE, "sha256": sha256_of(path)},
        "training_data": "see the checkpoint",
        "licence": "not exported",
        "intended_use": "measuring",
        "provenance": asdict(recorded(options.model, options.data, options.step)),
    }
    return ModelSpec.from_json(json.dumps(fields))


def _stand_in(network: nn.Module) -> dict[str, Any]:
    """The engine pads to, and plans memory by, a U-Net's widths: one with the network's size divisor."""
    divisor = int(getattr(network, "size_divisor", 16))
    if divisor & (divisor - 1):
        raise ValueError(f"the network's size divisor must be a power of 2, got {divisor}")
    scales = divisor.bit_length()
    defaults = inspect.signature(UNet).parameters["widths"].default
    return {"type": "UNet", "widths": [*defaults, *[defaults[-1]] * scales][:scales]}


def _undescribed(name: str) -> dict[str, Any]:
    return {"code": "", "meaning": name, "color_rgb": list(GREY)}


def _values(label: dict[str, Any]) -> list[int]:
    return [label["value"], *(side["value"] for side in (label.get("sides") or {}).values())]
