"""The weights a training run starts from: an earlier checkpoint's or a model's, as far as they fit.

A U-Net's weights fit the Attention U-Net but for its gates, which stay as they were initialised: passing everything
(the paper's discussion suggests this start). Outputs are matched by the organs' names.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.formats.files import OTHER_CONTENT
from AttentionUNetSegmentationLib.models.loading import load_model
from AttentionUNetSegmentationLib.models.store import find_model

from .provenance import bases_of_checkpoint, bases_of_model

CHECKPOINT_ENDING = ".ckpt"
PREFIX = "network."
GATES = ("gates.", "gating_signal.")
OUTPUTS = ("heads.", "mix.")
MIXING = "mix.weight"
UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, EOFError, ValueError)
NO_CHECKPOINT = "is not a checkpoint of attention-unet-train fit"


@dataclass(frozen=True)
class StartingWeights:
    """A network's state and what its file tells.

    Attributes:
        state: The state dict.
        organs: Of its outputs 1, 2, ...; none if the file does not tell.
        bases: Where the weights come from, plain values as checkpoints hold them: the file, what it started from, ...
    """

    state: dict[str, Tensor]
    organs: tuple[str, ...]
    bases: list[dict[str, Any]] = field(default_factory=list)


def read_starting_weights(source: str | Path) -> StartingWeights:
    """Read a Lightning checkpoint, a model folder or zip, or a model by its name.

    Of a checkpoint with averaged weights, these are taken.

    Raises:
        ValueError: If nothing usable is there.
    """
    path = Path(source)
    if path.suffix != CHECKPOINT_ENDING:
        model = load_model(find_model(str(source)))
        organs = tuple(label.name for label in model.spec.labels)
        return StartingWeights(model.network.state_dict(), organs, bases_of_model(model.spec))
    content = read_checkpoint(path)
    if not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"{path} {NO_CHECKPOINT}: it has no state_dict")
    state = {k.removeprefix(PREFIX): v for k, v in content["state_dict"].items() if k.startswith(PREFIX)}
    organs = tuple(content.get("hyper_parameters", {}).get("organs", ()))
    return StartingWeights(state, organs, bases_of_checkpoint(path, content))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint's file, whatever it holds.

    Raises:
        ValueError: If it is none; the message names the file and says what it is, without PyTorch's advice.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                start = stream.read(64)
            damaged = start.startswith(b"PK")  # PyTorch's own archive, not whole
            found = next((words for mark, words in OTHER_CONTENT.items() if start.startswith(mark) and not damaged), "")
            raise ValueError(f"it {found or 'was not written by PyTorch, or is damaged'}")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError(f"it holds one {type(content).__name__}")
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} {NO_CHECKPOINT}: it holds more than tensors and plain values") from error
    except UNREADABLE as error:
        raise ValueError(f"{path} {NO_CHECKPOINT}: {one_sentence(error)[:200]}") from error
    return content


def check_resumable(path: Path, folder: Path) -> None:
    """Refuse a file from which no run can be resumed; Lightning would only name the key that it misses.

    Args:
        path: The checkpoint.
        folder: Where the run goes on.

    Raises:
        ValueError: If it is one, or the folder is not its own and holds another run.
    """
    if "pytorch-lightning_version" not in read_checkpoint(path):
        raise ValueError(f"{path} holds weights, from which no run can be resumed; start a new run from them instead")
    if path.resolve().parent != folder.resolve():
        check_no_run_in(folder)


def check_no_run_in(folder: Path) -> None:
    """Refuse to begin a run where another has left checkpoints: the first validation would replace them.

    Raises:
        ValueError: If there are any.
    """
    if found := [name for name in ("best.ckpt", "last.ckpt") if (folder / name).is_file()]:
        raise ValueError(f"{folder} holds {found[0]} of an earlier run: go on with that one, or choose another folder")


def start_from(network: nn.Module, organs: Sequence[str], weights: StartingWeights) -> str:
    """Copy what fits into ``network``.

    Args:
        network: Changed in place.
        organs: Organs of its outputs 1, 2, ...
        weights: Where to start; organs that it lacks keep the outputs they were initialised with.

    Returns:
        One sentence on what was copied and what stays as it was initialised.

    Raises:
        ValueError: If anything but gates and outputs is missing, left over or of another shape.
    """
    own, given = network.state_dict(), dict(weights.state)
    if weights.organs and weights.organs != tuple(organs):
        for name in [name for name in own if name.startswith(OUTPUTS) and name in given]:
            given[name] = _outputs_by_organ(name, own[name], given[name], tuple(organs), weights.organs)
    fresh = [name for name in own if name not in given]
    strangers = [name for name in given if name not in own]
    misfits = [name for name in own if name in given and own[name].shape != given[name].shape]
    lacking = [name for name in fresh if not name.startswith(GATES)]
    if strangers or misfits or lacking:
        name = (strangers + misfits + lacking)[0]
        shapes = f"{_shape(given.get(name))} there, {_shape(own.get(name))} here"
        raise ValueError(f"the weights to start from belong to another architecture: {name} is {shapes}")
    network.load_state_dict({**own, **given})
    new = [organ for organ in organs if weights.organs and organ not in weights.organs]
    parts = [f"{len(own) - len(fresh)} of {len(own)} tensors copied"]
    parts += [f"attention gates fresh ({len(fresh)} tensors)"] if fresh else []
    parts += [f"outputs fresh for {', '.join(new)}"] if new else []
    return "; ".join(parts)


def _outputs_by_organ(name: str, own: Tensor, given: Tensor, organs: Sequence[str], source: Sequence[str]) -> Tensor:
    """The outputs of the organs that both have; the network's own for the others."""
    to, here = _pairs(organs, source)
    result = own.clone()
    if name != MIXING:
        result[to] = given[here]
        return result
    scales = own.shape[1] // (len(organs) + 1)  # its inputs are the outputs of all scales
    if given.shape[1] != scales * (len(source) + 1):
        return given
    columns_to = [scale * (len(organs) + 1) + n for scale in range(scales) for n in to]
    columns_here = [scale * (len(source) + 1) + n for scale in range(scales) for n in here]
    result[torch.tensor(to)[:, None], columns_to] = given[torch.tensor(here)[:, None], columns_here]
    return result


def _pairs(organs: Sequence[str], source: Sequence[str]) -> tuple[list[int], list[int]]:
    both = [organ for organ in organs if organ in source]
    return [0, *(organs.index(organ) + 1 for organ in both)], [0, *(source.index(organ) + 1 for organ in both)]


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))
