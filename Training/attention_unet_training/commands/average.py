"""Several checkpoints of one network -> one whose weights are their mean, a "model soup" (Wortsman et al. 2022).

Meant for checkpoints of one line of training, each started from another's weights: their mean often generalises better
than any of them, at no cost at inference. Weights of runs that were initialised apart do not average to anything.
Whether the mean is better has to be measured on validation data. Batch norm's running statistics are averaged too.
All but the last may be models (name, folder or zip) instead, such as the one that the last run started from.
The result serves ``fit --model.init_from``, ``evaluate`` and ``export``; no run can be resumed from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from AttentionUNetSegmentationLib.models.description import ArchitectureSpec

from ..staging import Output, staged
from ..task.starting_weights import PREFIX
from .export import CHECKPOINT_ENDING, Source, read_source

CARRIED = ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "datamodule_hyper_parameters")


def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train average``; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        average(parsed.checkpoints, parsed.output, parsed.overwrite)
    except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"wrote the mean of {len(parsed.checkpoints)} checkpoints to {parsed.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train average",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="of attention-unet-train fit; all but the last: or a model"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="checkpoint to write, ending .ckpt")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    return parser


def average(checkpoints: Sequence[Path | str], output: Path, overwrite: bool = False) -> None:
    """Write a checkpoint whose weights are the mean of others'.

    Options and step count are those of the last checkpoint given. Of a checkpoint with averaged (EMA) weights, these
    are taken.

    Args:
        checkpoints: Two or more, of the same network, organs, spacing and intensity rule; all but the last may be
            models.
        output: Checkpoint to write.
        overwrite: Whether it may exist.

    Raises:
        ValueError: If there are fewer than two, one is unreadable or does not fit the first, a weight of the mean is
            not finite, or the output exists, or it or the last checkpoint does not end in ``.ckpt``.
    """
    if len(checkpoints) < 2:
        raise ValueError(f"a mean needs two checkpoints or more, got {len(checkpoints)}")
    for path in (checkpoints[-1], output):
        if Path(path).suffix != CHECKPOINT_ENDING:
            raise ValueError(f"the last checkpoint, and the mean, must end in {CHECKPOINT_ENDING}, got {path}")
    with staged([Output(output)], overwrite) as (draft,):
        sources = [read_source(path) for path in checkpoints]
        for path, source in zip(checkpoints, sources, strict=True):
            _check_alike(checkpoints[0], sources[0], path, source)
        state = mean_state([source.network.state_dict() for source in sources])
        write_weights(draft, checkpoints[-1], state)


def write_weights(path: Path, origin: Path | str, state: dict[str, Tensor]) -> None:
    """Write a checkpoint of other weights with the options and step count of ``origin``, but no optimiser's state."""
    options = torch.load(origin, map_location="cpu", weights_only=True)
    content = {key: options[key] for key in CARRIED if key in options}
    content["state_dict"] = {f"{PREFIX}{name}": tensor for name, tensor in state.items()}
    torch.save(content, path)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks' states, tensor by tensor; integers (batch norm's counters) are the last one's.

    Raises:
        ValueError: If a mean is not finite.
    """
    mean = dict(states[-1])
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            mean[name] = torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
            if not torch.isfinite(mean[name]).all():
                raise ValueError(f"the mean of {name} is not finite: one of the trainings diverged")
    return mean


def _check_alike(first_path: Path | str, first: Source, path: Path | str, source: Source) -> None:
    for key in ("architecture", "spacing_mm", "intensity"):
        found, expected = _complete(key, source.known[key]), _complete(key, first.known[key])
        if found != expected:
            raise ValueError(f"{path} has another {key} than {first_path}: {found}, not {expected}")
    if source.organs != first.organs:
        raise ValueError(f"{path} has other organs than {first_path}: {source.organs}, not {first.organs}")


def _complete(key: str, value: Any) -> Any:
    """An architecture with the options that its file left out; anything else as it is."""
    return dataclasses.asdict(ArchitectureSpec(**value)) if key == "architecture" else value
