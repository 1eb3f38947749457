"""Trained networks in files: a checkpoint of ``attention-unet-train fit``, or a model, and what the file tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from AttentionUNetSegmentationLib.atomic import sha256_of
from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.inference.network import UNet
from AttentionUNetSegmentationLib.models.description import ARCHITECTURES, ArchitectureSpec
from AttentionUNetSegmentationLib.models.loading import build_network, load_model
from AttentionUNetSegmentationLib.models.store import find_model

from .options import NetworkOptions, from_saved
from .provenance import recorded
from .starting_weights import (
    CHECKPOINT_ENDING,
    NO_CHECKPOINT,
    PREFIX,
    UNREADABLE,
    read_checkpoint,
    read_starting_weights,
)

# what a checkpoint of other weights takes over: without the optimiser's state no run can be resumed from it
CARRIED = ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "datamodule_hyper_parameters")
SCALED_ALREADY: dict[str, Any] = {"clip_hu": [-1e4, 1e4], "mean_hu": 0.0, "std_hu": 1.0}  # the network takes no HU


@dataclass(frozen=True)
class TrainingOptions:
    """The options of a run, as its checkpoints hold them.

    Attributes:
        model: Those of the task.
        data: Those of the data, and what it added of its dataset.
        step: Training steps done.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    step: int

    @property
    def organs(self) -> tuple[str, ...]:
        """Names of the network's classes 1, 2, ..."""
        return tuple(self.model["organs"])

    @property
    def found(self) -> tuple[str, ...]:
        """Organs that it was trained to find: all, or the task's active ones."""
        return tuple(self.model.get("active_organs") or self.organs)

    @property
    def network(self) -> NetworkOptions:
        """Which network was trained."""
        return from_saved(NetworkOptions, self.model["network"])

    @property
    def per_volume(self) -> bool:
        """Whether volumes were scaled one by one, as the public code does."""
        return bool(self.data.get("per_volume"))

    def description(self) -> dict[str, Any]:
        """The entries of model.json that follow from the training."""
        network, intensity = self.network, SCALED_ALREADY if self.per_volume else self.data["intensity"]
        return {
            "architecture": {
                "type": network.architecture,
                "widths": list(network.widths),
                "num_subgates": network.num_subgates,
                "gating_conv": network.gating_conv,
            },
            "spacing_mm": [float(self.data["spacing_mm"])] * 3,
            "intensity": {
                "clip_hu": [float(bound) for bound in intensity["clip_hu"]],
                "mean_hu": float(intensity["mean_hu"]),
                "std_hu": float(intensity["std_hu"]),
            },
        }


@dataclass(frozen=True)
class LoadedNetwork:
    """A trained network of the paper's and what its file tells of it.

    Attributes:
        network: In evaluation mode, on the CPU.
        known: Entries of model.json; all of them if it is a model.
        organs: Names of the classes 1, 2, ...
        found: Those that it was trained to find.
        sha256: Hash of the file of weights.
    """

    network: UNet
    known: dict[str, Any]
    organs: tuple[str, ...]
    found: tuple[str, ...]
    sha256: str


def read_training_options(path: Path) -> TrainingOptions:
    """Read the options of the run that wrote a checkpoint.

    Raises:
        ValueError: If the file is no such checkpoint; the message names it.
    """
    content = read_checkpoint(path)
    try:
        options = TrainingOptions(
            content["hyper_parameters"], content["datamodule_hyper_parameters"], content.get("global_step", 0)
        )
        earlier = "architecture" in options.model  # before options had groups
        if not earlier:
            _ = options.organs, options.description()  # whether all is there
    except UNREADABLE as error:
        raise ValueError(f"{path} {NO_CHECKPOINT}: {one_sentence(error)[:200]}") from error
    if earlier:
        raise ValueError(
            f"{path} was written by an earlier version of attention-unet-train, whose options had other names: only "
            "--model.init_from reads it"
        )
    return options


def load_network(source: Path | str) -> LoadedNetwork:
    """Read a checkpoint, or a model by name, folder or zip.

    Raises:
        ValueError: If it cannot be read, or its network cannot be loaded by the module.
    """
    path = Path(source)
    if path.suffix != CHECKPOINT_ENDING:
        model = load_model(find_model(source))
        organs = tuple(label.name for label in model.spec.labels)
        return LoadedNetwork(model.network, json.loads(model.spec.to_json()), organs, organs, model.spec.weights.sha256)
    options = read_training_options(path)
    if options.per_volume:
        raise ValueError(
            f"{path} was trained with data.per_volume, so no model can be made from it; use evaluate to measure it"
        )
    known = options.description()
    kind = known["architecture"]["type"]
    if kind not in ARCHITECTURES:
        raise ValueError(f"only {' and '.join(ARCHITECTURES)} can be loaded by the module, got {kind}")
    known["training"] = {"steps": options.step, "command": "attention-unet-train fit"}
    known["provenance"] = asdict(recorded(options.model, options.data, options.step))
    network = build_network(ArchitectureSpec(**known["architecture"]), len(options.organs) + 1)
    load_weights(network, path)
    return LoadedNetwork(network.eval(), known, options.organs, options.found, sha256_of(path))


def load_weights(network: nn.Module, path: Path) -> None:
    """Give a network the weights of a checkpoint.

    Raises:
        ValueError: If they are another network's, or not finite; the message names the file.
    """
    state = read_starting_weights(path).state
    if lost := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(f"{path} holds weights that are not finite ({lost[0]}): the training diverged")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold the weights of its network: {one_sentence(error)[:200]}") from error


def write_weights(
    path: Path, origin: Path | str, state: dict[str, Tensor], change: str, bases: Sequence[dict[str, Any]] = ()
) -> None:
    """Write a checkpoint of other weights with the options and step count of ``origin``, but no optimiser's state.

    Args:
        path: Where.
        origin: Checkpoint whose options are taken over.
        state: The weights.
        change: What was done to the origin's weights, for the provenance of an exported model.
        bases: What else the weights come from, as ``Provenance.bases`` in plain values.
    """
    options = read_checkpoint(Path(origin))
    content = {key: options[key] for key in CARRIED if key in options}
    task = content["hyper_parameters"]
    known = {(base["name"], base.get("sha256")): base for base in (*(task.get("bases") or ()), *bases)}
    changes = [*task.get("changes", ()), change]
    content["hyper_parameters"] = {**task, "changes": changes, "bases": [*known.values()]}
    content["state_dict"] = {f"{PREFIX}{name}": tensor for name, tensor in state.items()}
    torch.save(content, path)


def follow_moved_folder(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Let a run that is resumed in a moved folder know its best checkpoint.

    Lightning compares absolute paths: it would forget the best score, and replace the best checkpoint by the next one.

    Args:
        checkpoint: What is resumed from; changed in place.
        trainer: Of the resumed run.
    """
    for callback in trainer.checkpoint_callbacks:
        state, folder = checkpoint.get("callbacks", {}).get(callback.state_key, {}), getattr(callback, "dirpath", None)
        best = state.get("best_model_path")
        if not best or not folder or state.get("dirpath") == folder or not (Path(folder) / Path(best).name).is_file():
            continue
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = _moved(state.get(key), folder)
        state["best_k_models"] = {_moved(path, folder): score for path, score in state["best_k_models"].items()}
        state["dirpath"] = folder


def _moved(path: str, folder: str) -> str:
    return str(Path(folder) / Path(path).name) if path else path
