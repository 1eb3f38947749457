"""One CT, or every frame of a sequence of CTs, through the pipeline, with the figures that are kept of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..imaging.measures import GateMeasure, OrganMeasure, measure_attention, measure_organs
from ..inference.backends import Predictor
from ..models.loading import Model
from ..monitor import CancelCheck, Monitor, ProgressCallback
from ..pipeline import Options, segment
from ..volume import Segmentation, Volume


@dataclass
class Outcome:
    """A frame's result and its figures.

    Attributes:
        result: The segmentation, on the frame's grid.
        organs: Figures of every organ, in the result's order.
        gates: Figures of every gate, by name.
    """

    result: Segmentation
    organs: list[OrganMeasure]
    gates: dict[str, GateMeasure] = field(default_factory=dict)


def segment_frames(
    volumes: Sequence[Volume],
    model: Model,
    options: Options,
    current: int = 0,
    progress: ProgressCallback | None = None,
    cancel: CancelCheck | None = None,
    predictor: Predictor | None = None,
) -> list[Outcome]:
    """Segment frames one after the other.

    Args:
        volumes: The frames, each a CT in HU.
        model: Network and description.
        options: What to do; attention and probability maps are made of the current frame only.
        current: Index of the frame whose maps are wanted.
        progress: Called with a rising fraction in [0, 1] of all frames, and the current step.
        cancel: Asked often; True stops the run.
        predictor: Takes the network's place.

    Returns:
        An outcome per frame, in order.

    Raises:
        Cancelled: When asked to stop.
        ValueError: If a frame cannot be used; the message names it.
        RuntimeError: If memory does not suffice.
    """
    outcomes = []
    for n, volume in enumerate(volumes):
        wanted = options if n == current else _without_maps(options)
        report = _part_of(progress, n, len(volumes))
        result = segment(volume, model, wanted, report, cancel, predictor)
        monitor = Monitor(cancel=cancel)
        monitor.check()
        organs = measure_organs(result, volume)
        monitor.check()
        gates = measure_attention(result)
        monitor.check()
        outcomes.append(Outcome(result, organs, gates))
    return outcomes


def _without_maps(options: Options) -> Options:
    return dataclasses.replace(options, attention=False, probabilities=False)


def _part_of(progress: ProgressCallback | None, index: int, count: int) -> Callable[[float, str], None] | None:
    """Maps one frame's progress onto the progress of all."""
    if progress is None or count == 1:
        return progress
    return lambda done, step: progress((index + done) / count, f"frame {index + 1} of {count}: {step}")
