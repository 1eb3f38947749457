"""Runs the graphs of ``openvino_graphs.py`` on a CPU, in float32, without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino

from ..monitor import Monitor
from .openvino_graphs import Graphs, Weights

SLAB_VOXELS = 2_500_000  # finished at a time: about 1 GB at the paper's widths
HALO = 2  # slices more on either side: two 3x3x3 convolutions
POLL_MS = 50
OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
Output = tuple[np.ndarray, dict[str, np.ndarray]]


class OpenVinoBackend:
    """See ``backends.Backend``. Full resolution is computed in slabs of slices, everything else whole.

    Args:
        weights: The network's ``state_dict`` as arrays.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, weights: Weights) -> None:
        self._graphs = graphs = Graphs(weights)
        core = openvino.Core()
        compiled = [
            core.compile_model(graph, "CPU", OPTIONS)
            for graph in (graphs.encoder(), graphs.coarser_scales(), graphs.decoder())
        ]
        for network in compiled:
            precision = network.get_property("INFERENCE_PRECISION_HINT")
            if precision != openvino.Type.f32:
                raise RuntimeError(f"OpenVINO was asked for float32, but computes in {precision}")
        self._encoder, self._coarser_scales, self._decoder = (network.create_infer_request() for network in compiled)

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = True) -> Output:
        """See ``Backend``; cancelling interrupts the running request."""
        depth = image.shape[0]
        thickness = max(2, SLAB_VOXELS // math.prod(image.shape[1:]) // 2 * 2)
        slabs = [_Slab(start, min(start + thickness, depth), depth) for start in range(0, depth, thickness)]
        skips, pooled = [], []
        for n, slab in enumerate(slabs):
            skip, part = self._infer(self._encoder, slab.encoder_inputs(image), monitor)
            skips.append(skip.copy())
            pooled.append(part.copy())
            monitor.update(0.25 * (n + 1) / len(slabs))
        outputs = self._infer(self._coarser_scales, [np.concatenate(pooled, axis=2)], monitor)
        features, *scores = outputs[: self._graphs.num_scales - 1]
        attention = {name: alpha[0, 0].copy() for name, alpha in zip(self._graphs.attention_names, outputs[self._graphs.num_scales - 1 :], strict=True)}
        monitor.update(0.6)
        logits = np.empty((self._graphs.num_classes, *image.shape), np.float32)
        for n, slab in enumerate(slabs):
            (part,) = self._infer(self._decoder, slab.decoder_inputs(skips[n], features, scores), monitor)
            skips[n] = None
            logits[:, slab.start : slab.stop] = part[0]
            monitor.update(0.6 + 0.4 * (n + 1) / len(slabs))
        return logits, attention

    def _infer(self, request: Any, inputs: Sequence[np.ndarray], monitor: Monitor) -> list[np.ndarray]:
        arrays = [np.ascontiguousarray(array) for array in inputs]  # kept alive: OpenVINO does not copy them
        for n, array in enumerate(arrays):
            request.set_input_tensor(n, openvino.Tensor(array, shared_memory=True))
        request.start_async()
        try:
            while not request.wait_for(POLL_MS):
                monitor.check()
        except BaseException:
            request.cancel()
            raise
        return [tensor.data for tensor in request.output_tensors]


class _Slab:
    """Slices ``start`` to ``stop`` of a volume of ``depth`` slices, and what is needed to compute them."""

    def __init__(self, start: int, stop: int, depth: int) -> None:
        self.start, self.stop, self._depth = start, stop, depth
        self._low, self._high = max(start - HALO, 0), min(stop + HALO, depth)  # of the skip connection

    def encoder_inputs(self, image: np.ndarray) -> list[np.ndarray]:
        low, high = max(self._low - HALO, 0), min(self._high + HALO, self._depth)
        ends = (self._low - low, self._high - low, self.start - low, self.stop - low)
        return [image[None, None, low:high].astype(np.float32), *map(_index, ends)]

    def decoder_inputs(self, skip, features, scores) -> list[np.ndarray]:
        first, rows = _rows(features, self._depth, self._low, self._high)
        ends = (self._low - first, self._high - first, self.start - self._low, self.stop - self._low)
        inputs = [skip, rows, *map(_index, ends)]
        for part in scores:
            first, rows = _rows(part, self._depth, self.start, self.stop)
            inputs += [rows, _index(self.start - first), _index(self.stop - first)]
        return inputs


def _rows(coarse: np.ndarray, depth: int, start: int, stop: int) -> tuple[int, np.ndarray]:
    """The coarse slices that upsampled slices ``start`` to ``stop`` see, and the first slice they are upsampled to."""
    factor = depth // coarse.shape[2]
    low, high = max(start // factor - 1, 0), -(-stop // factor) + 1
    return low * factor, coarse[:, :, low:high]


def _index(value: int) -> np.ndarray:
    return np.array([value], np.int64)
