"""Forward passes of several networks, run in several ways."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .machine import Rates
from .networks import MONAI_ATTENTION, MONAI_SEGRESNET, PAPER, PRODUCT, make_network, make_weights
from .processes import answer, measured

OPENVINO, OUR_PYTORCH, PYTORCH, BFLOAT16 = "OpenVINO", "our PyTorch", "PyTorch", "PyTorch, bfloat16"
Run = Callable[[np.ndarray], object]


@dataclass(frozen=True)
class Case:
    """A network, and a way to run it.

    Attributes:
        network: One of ``networks.NETWORKS``.
        way: "OpenVINO" and "our PyTorch" (in slabs) are the product's on a CPU; "PyTorch" and "PyTorch, bfloat16"
            call the network as PyTorch's and MONAI's users do.
    """

    network: str
    way: str


CASES = (
    *(Case(network, OPENVINO) for network in PAPER),
    Case(PRODUCT, OUR_PYTORCH),
    *(Case(network, PYTORCH) for network in (*PAPER, MONAI_ATTENTION, MONAI_SEGRESNET)),
    *(Case(network, BFLOAT16) for network in (PRODUCT, "U-Net", MONAI_ATTENTION, MONAI_SEGRESNET)),
)


def rows(field_kji: Sequence[int], runs: int, with_bfloat16: bool, rates: Rates) -> list[dict[str, Any]]:
    """Measure all cases, then all of them again, so that a slow minute does not hit all runs of one."""
    cases = [case for case in CASES if with_bfloat16 or case.way != BFLOAT16]
    sizes, _ = measured("networks", field_kji=field_kji, names=sorted({case.network for case in cases}))
    found: list[dict[str, Any]] = [{**asdict(case), **sizes[case.network], "runs": []} for case in cases]
    for _ in range(runs):
        for case, row in zip(cases, found, strict=True):
            seconds, peak_gb = measured("forward", **asdict(case), field_kji=field_kji)
            row["runs"].append({**seconds, "peak_gb": peak_gb})
            rates.again()
    return found


def measure(network: str, way: str, field_kji: Sequence[int]) -> dict[str, float]:
    """Seconds of the first pass over a field of noise, with all that is made of the weights for it, and of the next.

    Imports, weights and noise are there before.
    """
    make = prepare(Case(network, way))
    image = np.random.default_rng(0).normal(size=field_kji).astype(np.float32)
    gc.collect()
    began = time.perf_counter()
    run = make()
    run(image)
    first = time.perf_counter() - began
    gc.collect()
    began = time.perf_counter()
    run(image)
    return {"first": first, "second": time.perf_counter() - began}


def prepare(case: Case) -> Callable[[], Run]:
    """Import what a case needs; returns what makes the function that runs the network on an image (D, H, W)."""
    from AttentionUNetSegmentationLib.monitor import Monitor

    if case.way == OPENVINO:  # without PyTorch, as in the product
        from AttentionUNetSegmentationLib.inference.openvino_backend import OpenVinoBackend

        weights = make_weights(case.network)

        def make_openvino() -> Run:
            backend = OpenVinoBackend(weights)
            return lambda image: backend.run(image, Monitor())

        return make_openvino

    from AttentionUNetSegmentationLib.inference.torch_backend import TorchBackend, take_large_pages

    if case.way == OUR_PYTORCH:
        take_large_pages()  # as the command does, before there is any tensor
    network = make_network(case.network)

    def make_our_pytorch() -> Run:
        backend = TorchBackend(network)  # type: ignore[arg-type] # a network that gives what a Predictor does
        return lambda image: backend.run(image, Monitor(), in_slabs=True)

    return make_our_pytorch if case.way == OUR_PYTORCH else lambda: _plain(network, case.way == BFLOAT16)


def _plain(network: Any, bfloat16: bool) -> Run:
    import torch

    def run(image: np.ndarray) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return network(torch.from_numpy(image)[None, None])

    return run


if __name__ == "__main__":
    answer(measure)
