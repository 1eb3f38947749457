"""The machine: what it is, and how fast it multiplies matrices, which the other figures are compared with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .processes import answer, measured

SIZE, REPEATS = 2048, 12
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve")
PACKAGES = ("slicer-attention-unet", "numpy", "SimpleITK", "openvino", "torch", "monai", "lightning")


def describe() -> dict[str, Any]:
    """Processor, memory and versions."""
    facts: dict[str, str] = {}
    if Path("/proc/cpuinfo").exists():
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        facts = {name.strip(): value.strip() for name, _, value in lines}
    found = facts.get("flags", facts.get("Features", "")).split()
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in FLAGS if flag in found],
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }


class Rates:
    """The rate of matrix products, measured before, between and after other measurements, so that drift is seen.

    Attributes:
        measured: GFLOP/s of numpy and of PyTorch each time, in order.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self.measured: list[dict[str, float]] = []
        self.again()

    def again(self) -> None:
        """Measure once more."""
        rates, _ = measured("machine", size=self._size)
        self.measured.append(rates)


def measure(size: int = SIZE, repeats: int = REPEATS) -> dict[str, float]:
    """The best rate of a product of two (size, size) float32 matrices by numpy and by PyTorch, in GFLOP/s."""
    import numpy as np
    import torch

    a, b = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    products = {"numpy": lambda: a @ b, "torch": lambda: torch.from_numpy(a) @ torch.from_numpy(b)}
    return {name: _best_rate(product, 2 * size**3, repeats) for name, product in products.items()}


def _best_rate(product: Callable[[], Any], operations: int, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - began)
    return round(operations / min(seconds) / 1e9, 1)


if __name__ == "__main__":
    answer(measure)
