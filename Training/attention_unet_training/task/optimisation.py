"""Optimiser and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("cosine", "steps", "constant")


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> torch.optim.Optimizer:
    """Adam (the paper's), whose weight decay is part of the gradient, AdamW, or SGD (the public code's).

    SGD has Nesterov momentum, the first of ``betas``.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    if name == "sgd":
        return torch.optim.SGD(parameters, learning_rate, betas[0], weight_decay=weight_decay, nesterov=True)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(parameters, lr=learning_rate, betas=(betas[0], betas[1]), weight_decay=weight_decay)


def learning_rate_factor(schedule: str, total_steps: float, warm_up_steps: int, floor: float) -> Callable[[int], float]:
    """Factor of the peak learning rate by step, after a linear warm-up.

    Args:
        schedule: "cosine": falls to ``floor``; "steps": halves after every quarter of the training, as the public code
            does; "constant".
        total_steps: Steps of the whole training.
        warm_up_steps: Steps until the peak.
        floor: Factor of the last step of "cosine".

    Raises:
        ValueError: If the schedule is unknown, or the training has no end that "cosine" and "steps" could use.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if schedule != "constant" and not math.isfinite(total_steps):
        raise ValueError(f"the schedule {schedule!r} needs trainer.max_epochs or trainer.max_steps; use constant")

    def factor(step: int) -> float:
        if step < warm_up_steps:
            return (step + 1) / warm_up_steps
        if schedule == "constant":
            return 1.0
        if schedule == "steps":
            return 0.5 ** min(3, int(4 * step / total_steps))
        done = (step - warm_up_steps) / max(1, total_steps - warm_up_steps)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return factor
