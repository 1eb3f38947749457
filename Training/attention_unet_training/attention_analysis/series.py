"""A series of checkpoints, in order: the networks of one training at several steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from AttentionUNetSegmentationLib.inference.network import AttentionUNet
from AttentionUNetSegmentationLib.models.description import ArchitectureSpec, IntensitySpec

from ..task.checkpoints import load_network, read_training_options
from ..task.starting_weights import CHECKPOINT_ENDING


@dataclass(frozen=True)
class TrainedNetwork:
    """One network of the series.

    Attributes:
        title: What it is called in pictures and tables.
        step: Training step, None if its file does not tell.
        network: In evaluation mode, on the CPU.
        architecture: How it is built.
        spacing_mm: Its grid's spacing along i, j, k.
        intensity: Its intensity rule.
        initialisation: How its training began, as in ``NetworkOptions``; a model does not tell.
    """

    title: str
    step: int | None
    network: AttentionUNet
    architecture: ArchitectureSpec
    spacing_mm: tuple[float, float, float]
    intensity: IntensitySpec
    initialisation: str = "open"


def titles(sources: Sequence[str]) -> list[str]:
    """Short names of checkpoints and models, each different from the others.

    The last part of the path, of a checkpoint with its folder, and as many parts before it as it takes.

    Raises:
        ValueError: If one is given twice.
    """
    paths = [Path(source).parts for source in sources]
    if len(set(paths)) != len(paths):
        twice = next(source for n, source in enumerate(sources) if paths[n] in paths[:n])
        raise ValueError(f"every --model must be another one, got {twice} twice")
    for length in range(1, max(map(len, paths)) + 1):
        lengths = [max(length, 2 if parts[-1].endswith(CHECKPOINT_ENDING) else 1) for parts in paths]
        names = ["/".join(parts[-n:]).removesuffix(CHECKPOINT_ENDING) for parts, n in zip(paths, lengths, strict=True)]
        if len(set(names)) == len(names):
            return names
    return [str(source) for source in sources]


def read_network(source: str, title: str) -> TrainedNetwork:
    """Read one of the series.

    Raises:
        ValueError: If it cannot be read, or has no attention gates.
    """
    trained = load_network(source)
    network, known = trained.network, trained.known
    if not isinstance(network, AttentionUNet):
        raise ValueError(f"{source} is a {known['architecture']['type']}: it has no attention gates")
    path = Path(source)
    rule, architecture = known["intensity"], known["architecture"]
    return TrainedNetwork(
        title,
        known.get("training", {}).get("steps"),
        network,
        ArchitectureSpec(**architecture | {"widths": tuple(architecture["widths"])}),
        tuple(known["spacing_mm"]),
        IntensitySpec(tuple(rule["clip_hu"]), rule["mean_hu"], rule["std_hu"]),
        read_training_options(path).network.initialisation if path.suffix == CHECKPOINT_ENDING else "open",
    )
