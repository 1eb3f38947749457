"""The average of a run's latest weights."""

from __future__ import annotations

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

MOST_STEPS = 1000


class LateAverage(WeightAveraging):
    """Exponential moving average over about the latest ninth of a run, at most ``MOST_STEPS`` steps.

    The first weights, which know nothing, are forgotten soon, and late ones are averaged over many steps. So one rule
    suits short and long runs, from nothing and from trained weights. Batch norms' statistics are averaged too.
    """

    def __init__(self) -> None:
        super().__init__(use_buffers=True, avg_fn=_average)


def _average(average: Tensor, current: Tensor, updates: Tensor) -> Tensor:
    share = (9 / (updates + 10)).clamp(min=1 / MOST_STEPS)
    return average + (current - average) * share  # no lerp: batch norms count in whole numbers
