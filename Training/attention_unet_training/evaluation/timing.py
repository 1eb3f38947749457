"""Forward time and size of a network, as in the paper's tables 1 and 2."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from AttentionUNetSegmentationLib.devices import device_name
from AttentionUNetSegmentationLib.monitor import Monitor
from AttentionUNetSegmentationLib.pipeline import Options, choose, create_backend

from .systems import NetworkSystem

FIELD_KJI = (96, 160, 160)  # the paper's 160 x 160 x 96


@dataclass(frozen=True)
class ForwardTime:
    """How long a forward pass takes.

    Attributes:
        seconds: Median over the runs, from an image in memory to class scores in memory.
        runs: How many, after one more that is not counted.
        where: Device, backend and threads.
    """

    seconds: float
    runs: int
    where: str


def forward_time(system: NetworkSystem, runs: int, shape_kji: tuple[int, int, int] = FIELD_KJI) -> ForwardTime:
    """Time forward passes on noise.

    Raises:
        ValueError: If fewer than one run is asked for, or the device does not exist.
        RuntimeError: If memory does not suffice.
    """
    if runs < 1:
        raise ValueError(f"timing needs at least one run, got {runs}")
    options: Options = system.options
    device, backend_name = choose(system.model, options)
    backend = create_backend(system.model, device, backend_name)
    image = np.random.default_rng(0).normal(size=shape_kji).astype(np.float32)
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        backend.run(image, Monitor())
        seconds.append(time.perf_counter() - began)
    return ForwardTime(statistics.median(seconds[1:]), runs, f"{_named(device)}, {backend.name}")


def _named(device: str) -> str:
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)} ({device})"
    threads = torch.get_num_threads()
    return f"{device_name(device)}, {threads} thread{'' if threads == 1 else 's'}"
