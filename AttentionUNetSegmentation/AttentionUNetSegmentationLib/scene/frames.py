"""One CT, or every frame of a sequence of CTs, through the pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ..models.loading import Model
from ..monitor import CancelCheck, ProgressCallback
from ..pipeline import Options, segment
from ..volume import Segmentation, Volume


def segment_frames(
    volumes: Sequence[Volume],
    model: Model,
    options: Options,
    current: int = 0,
    progress: ProgressCallback | None = None,
    cancel: CancelCheck | None = None,
) -> list[Segmentation]:
    """Segment frames one after the other.

    Args:
        volumes: The frames, each a CT in HU.
        model: Network and description.
        options: What to do; attention and probability maps are made of the current frame only.
        current: Index of the frame whose maps are wanted.
        progress: Called with a rising fraction in [0, 1] of all frames, and the current step.
        cancel: Asked often; True stops the run.

    Returns:
        A result for each frame, in order.

    Raises:
        Cancelled: When asked to stop.
        ValueError: If a frame cannot be used; the message names it.
        RuntimeError: If memory does not suffice.
    """
    results = []
    for n, volume in enumerate(volumes):
        wanted = options if n == current else dataclasses.replace(options, attention=False, probabilities=False)
        results.append(segment(volume, model, wanted, _part_of(progress, n, len(volumes)), cancel))
    return results


def _part_of(progress: ProgressCallback | None, index: int, count: int) -> Callable[[float, str], None] | None:
    """Maps one frame's progress onto the progress of all."""
    if progress is None or count == 1:
        return progress
    return lambda done, step: progress((index + done) / count, f"frame {index + 1} of {count}: {step}")
