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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from AttentionUNetSegmentationLib.models.description import ArchitectureSpec

from ..refusals import told_in_one_line
from ..staging import Output, staged
from ..task.checkpoints import LoadedNetwork, load_network, write_weights
from ..task.provenance import checkpoint_name
from ..task.starting_weights import CHECKPOINT_ENDING, read_starting_weights


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train average``; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    average(parsed.checkpoints, parsed.output, parsed.overwrite)
    print(f"wrote the mean of {len(parsed.checkpoints)} checkpoints to {parsed.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train average",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="of attention-unet-train fit or, except the last, a model"
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
        ValueError: If there are fewer than two, one is unreadable or does not fit the first, or the output exists, or
            it or the last checkpoint does not end in ``.ckpt``.
    """
    if len(checkpoints) < 2:
        raise ValueError(f"a mean needs two checkpoints or more, got {len(checkpoints)}")
    for path in (checkpoints[-1], output):
        if Path(path).suffix != CHECKPOINT_ENDING:
            raise ValueError(f"the last checkpoint, and the mean, must end in {CHECKPOINT_ENDING}, got {path}")
    with staged([Output(output)], overwrite) as (draft,):
        loaded = [load_network(path) for path in checkpoints]
        for path, network in zip(checkpoints, loaded, strict=True):
            _check_alike(checkpoints[0], loaded[0], path, network)
        state = mean_state([entry.network.state_dict() for entry in loaded])
        averaged = ", ".join(checkpoint_name(Path(path)) for path in checkpoints)
        bases = [base for path in checkpoints[:-1] for base in read_starting_weights(path).bases]
        write_weights(draft, checkpoints[-1], state, f"mean of {averaged}", bases)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks' states, tensor by tensor; integers (batch norm's counters) are the last one's."""
    mean = dict(states[-1])
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            mean[name] = torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
    return mean


def _check_alike(first_path: Path | str, first: LoadedNetwork, path: Path | str, other: LoadedNetwork) -> None:
    for key in ("architecture", "spacing_mm", "intensity"):
        found, expected = _complete(key, other.known[key]), _complete(key, first.known[key])
        if found != expected:
            raise ValueError(f"{path} has another {key} than {first_path}: {found}, not {expected}")
    for found, expected in ((other.organs, first.organs), (other.found, first.found)):
        if found != expected:
            raise ValueError(f"{path} has other organs than {first_path}: {found}, not {expected}")


def _complete(key: str, value: Any) -> Any:
    """An architecture with the options that its file left out; anything else as it is."""
    return dataclasses.asdict(ArchitectureSpec(**value)) if key == "architecture" else value
