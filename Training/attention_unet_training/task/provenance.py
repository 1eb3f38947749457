"""What a training is made of, recorded in its checkpoints, and read from them for an exported model."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from AttentionUNetSegmentationLib import __version__
from AttentionUNetSegmentationLib.atomic import sha256_of
from AttentionUNetSegmentationLib.models.description import ModelSpec, build_typed
from AttentionUNetSegmentationLib.models.provenance import BaseModel, Provenance

PACKAGES = ("torch", "lightning", "monai", "numpy")
NO_REAL_CT = "no real CT"  # how models older than provenance say it


def circumstances() -> dict[str, Any]:
    """Seed and versions of software of a training that begins now; plain values."""
    software = {"attention-unet": __version__, "python": platform.python_version()}
    software |= {name: version(name) for name in PACKAGES}
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {"software": software, "seed": int(seed) if seed else None}


def bases_of_model(spec: ModelSpec) -> list[dict[str, Any]]:
    """A model, and what it started from, as ``Provenance.bases`` in plain values."""
    made = spec.provenance
    base = BaseModel(
        spec.name,
        spec.version,
        spec.weights.sha256,
        spec.training_data,
        made.training_cases if made else (),
        made.synthetic if made else NO_REAL_CT in spec.training_data,
        made.dataset if made else "",
        made.validation_cases if made else (),
    )
    return _plain(base, *(made.bases if made else ()))


def checkpoint_name(path: Path) -> str:
    """Folder and file: the rest of a path is nobody else's business."""
    return f"{path.absolute().parent.name}/{path.name}"


def bases_of_checkpoint(path: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A checkpoint, and what it started from, as ``Provenance.bases`` in plain values.

    Args:
        path: Of the checkpoint.
        content: What it holds; older and foreign ones may lack options.
    """
    model, data = content.get("hyper_parameters", {}), content.get("datamodule_hyper_parameters", {})
    made = recorded(model, data, content.get("global_step", 0))
    base = BaseModel(
        checkpoint_name(path),
        f"step {made.steps}",
        sha256_of(path),
        made.dataset,
        made.training_cases,
        made.synthetic,
        validation_cases=made.validation_cases,
    )
    return _plain(base, *made.bases)


def recorded(model: Mapping[str, Any], data: Mapping[str, Any], steps: int) -> Provenance:
    """The provenance of a checkpoint's weights; of an older one, as far as it tells.

    Args:
        model: The task's options; before options had groups, there was no dictionary of the loss.
        data: The data's options.
        steps: Training steps done.
    """
    is_synthetic, bases = "anatomies" in data, model.get("bases")
    if bases is None:  # before they were recorded; there were no others than of the same kind
        bases = [{"name": Path(model["init_from"]).name, "synthetic": is_synthetic}] if model.get("init_from") else []
    split = data.get("split") or ""
    return build_typed(
        Provenance,
        {
            "bases": bases,
            "dataset": data.get("dataset_name") or (Path(data["atlas"]).name if data.get("atlas") else ""),
            "split": split,
            "fold": data.get("fold") if split else None,
            "training_cases": list(data.get("training_ids", ())),
            "validation_cases": list(data.get("validation_ids", ())),
            "test_cases": list(data.get("test_ids", ())),
            "synthetic": is_synthetic and all(base.get("synthetic", False) for base in bases),
            "seed": model.get("seed", data.get("seed")),
            "steps": steps,
            "changes": list(model.get("changes", ())),
            **{key: model[key] for key in ("loss", "optimisation", "software") if isinstance(model.get(key), dict)},
        },
        "provenance",
    )


def learnt_from(made: Provenance) -> set[str]:
    """Names of all cases, or label maps, that weights or what they started from were trained on, as far as told."""
    return {*made.training_cases, *(name for base in made.bases for name in base.training_cases)}


def _plain(*bases: BaseModel) -> list[dict[str, Any]]:
    lists = ("training_cases", "validation_cases")
    return [asdict(base) | {name: list(getattr(base, name)) for name in lists} for base in bases]
