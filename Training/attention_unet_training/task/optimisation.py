"""Optimiser and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from pytorch_optimizer import Muon
from torch import nn

OPTIMIZERS = ("adam", "adamw", "muon", "sgd")
SCHEDULES = ("cosine", "steps", "constant")
MUON_SIZE = 8  # an orthogonal update of fewer rows or columns is little more than a gradient of unit length


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> torch.optim.Optimizer:
    """The optimiser of a network's weights.

    Args:
        name: "adam" (the paper's), whose weight decay is part of the gradient; "adamw"; "muon" (Jordan et al. 2024);
            "sgd" (the public code's) with Nesterov momentum.
        parameters: All weights.
        learning_rate: Peak learning rate. One that suits "adamw" suits "muon": its updates are as large (Liu et al.
            2025, arXiv:2502.16982).
        betas: Of "adam" and "adamw"; of "sgd" the first is the momentum.
        weight_decay: Weight decay.

    "muon" makes the update of every convolution orthogonal, seen as a matrix of output channels by everything else.
    Biases, batch norms and convolutions with fewer than ``MUON_SIZE`` rows or columns get AdamW.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    if name == "sgd":
        return torch.optim.SGD(parameters, learning_rate, betas[0], weight_decay=weight_decay, nesterov=True)
    if name == "muon":
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for weights in parameters:
            groups[_is_matrix(weights)].append(weights)
        return Muon(
            [
                {"params": chosen, "use_muon": orthogonal, "lr": learning_rate, "weight_decay": weight_decay}
                for orthogonal, chosen in groups.items()
            ],
            use_adjusted_lr=True,
            adamw_betas=(betas[0], betas[1]),
            adamw_eps=1e-8,
            foreach=False,  # one by one, which is faster on a CPU
        )
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(parameters, lr=learning_rate, betas=(betas[0], betas[1]), weight_decay=weight_decay)


def _is_matrix(weights: nn.Parameter) -> bool:
    return weights.ndim >= 2 and min(len(weights), weights[0].numel()) >= MUON_SIZE


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
