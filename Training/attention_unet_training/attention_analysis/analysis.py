"""The analysis: every network of a series on one case, and the control of the last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .case import AttentionCase, CaseOnGrid, prepare
from .control import KINDS, randomised
from .metrics import MapMetrics, measure
from .recording import record
from .series import TrainedNetwork, read_network, titles
from .views import Views, cut


@dataclass(frozen=True)
class Entry:
    """One network of the series.

    Attributes:
        title: Its name.
        step: Its training step, None if unknown.
        metrics: Map -> metrics.
        views: Slices for the pictures.
    """

    title: str
    step: int | None
    metrics: dict[str, MapMetrics]
    views: Views

    @property
    def label(self) -> str:
        """Title and step."""
        return self.title if self.step is None else f"{self.title}, step {self.step:,}"


@dataclass(frozen=True)
class ControlRun:
    """A network with randomised weights: which kind, which seed, its metrics by map."""

    kind: str
    seed: int
    metrics: dict[str, MapMetrics]


@dataclass(frozen=True)
class Analysis:
    """All that was measured, and what it is drawn from."""

    case: AttentionCase
    entries: list[Entry]
    controls: list[ControlRun]


def analyse(
    case: AttentionCase,
    sources: Sequence[str],
    control_seeds: int,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda step: None,
) -> Analysis:
    """Run every network of the series on the case, and randomised ones beside the last.

    Args:
        case: CT and reference.
        sources: Checkpoints or models, in the order of training.
        control_seeds: Randomised networks of each kind.
        device: Where to run.
        progress: Told what begins.

    Raises:
        ValueError: If a network cannot be read or has no gates, or the case cannot be used.
    """
    if not sources:
        raise ValueError("at least one --model is needed")
    if control_seeds < 1:
        raise ValueError(f"the control needs at least one seed, got {control_seeds}")
    prepared: dict[tuple, CaseOnGrid] = {}
    entries: list[Entry] = []
    networks = dict(zip(sources, titles(sources), strict=True))
    for n, (source, title) in enumerate(networks.items(), start=1):
        progress(f"network {n} of {len(networks)}: {title}")
        trained = read_network(source, title)
        ready = _prepared(case, trained, prepared)
        recording = record(trained.network, ready.network_input, device)
        metrics = measure(recording, ready)
        if entries and list(metrics) != list(entries[0].metrics):
            raise ValueError(f"{source} has the maps {', '.join(metrics)}, others of the series do not")
        entries.append(Entry(title, trained.step, metrics, cut(case, ready, recording)))
    controls = []
    for kind in KINDS:
        for seed in range(control_seeds):
            progress(f"control: {kind} weights, seed {seed}")
            recording = record(randomised(trained, kind, seed), ready.network_input, device)
            controls.append(ControlRun(kind, seed, measure(recording, ready)))
    return Analysis(case, entries, controls)


def _prepared(case: AttentionCase, trained: TrainedNetwork, cache: dict[tuple, CaseOnGrid]) -> CaseOnGrid:
    key = (trained.spacing_mm, trained.intensity)
    if key not in cache:
        cache[key] = prepare(case, trained.spacing_mm, trained.intensity)
    return cache[key]
