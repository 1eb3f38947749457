"""OpenVINO as a way to run a forward pass on a CPU, in float32, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import openvino

from ..monitor import Monitor
from .backends import Output
from .openvino_graphs import Graphs
from .slabs import Ends, run_in_slabs

POLL_MS = 50
OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVinoBackend:
    """See ``backends.Backend``. Always runs in slabs.

    Args:
        weights: The network's ``state_dict`` as arrays.

    Raises:
        RuntimeError: If OpenVINO would compute in another precision than float32.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        graphs = Graphs(weights)
        core = openvino.Core()
        compiled = [
            core.compile_model(graph, "CPU", OPTIONS)
            for graph in (graphs.encoder(), graphs.coarser_scales(), graphs.decoder())
        ]
        for network in compiled:
            precision = network.get_property("INFERENCE_PRECISION_HINT")
            if precision != openvino.Type.f32:
                raise RuntimeError(f"OpenVINO was asked for float32, but computes in {precision.to_string()}")
        self._requests = [network.create_infer_request() for network in compiled]
        self._attention_names = graphs.attention_names

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = True) -> Output:
        """See ``Backend``; cancelling interrupts the running request."""
        parts = _Parts(self._requests, self._attention_names, monitor)
        logits, attention = run_in_slabs(parts, image[None, None].astype(np.float32, copy=False), monitor)
        return np.concatenate(logits, axis=2)[0], {name: alpha[0, 0] for name, alpha in attention.items()}

    def free(self) -> None:
        """See ``Backend``; nothing is kept."""


class _Parts:
    """See ``slabs.Parts``."""

    def __init__(self, requests: Sequence[Any], attention_names: Sequence[str], monitor: Monitor) -> None:
        self._encoder, self._coarser_scales, self._decoder = requests
        self._attention_names, self._monitor = attention_names, monitor

    def encoder(self, image: np.ndarray, kept: Ends, pooled: Ends) -> tuple[np.ndarray, np.ndarray]:
        skip, part = self._infer(self._encoder, [image, *_indices(kept), *_indices(pooled)])
        return skip.copy(), part.copy()

    def coarser_scales(
        self, pooled: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray], dict[str, np.ndarray]]:
        outputs = self._infer(self._coarser_scales, [np.concatenate(pooled, axis=2)])
        first_map = len(outputs) - len(self._attention_names)
        attention = zip(self._attention_names, outputs[first_map:], strict=True)
        return outputs[0], outputs[1:first_map], {name: alpha.copy() for name, alpha in attention}

    def decoder(
        self,
        skip: np.ndarray,
        features: np.ndarray,
        upsampled: Ends,
        kept: Ends,
        scores: Sequence[tuple[np.ndarray, Ends]],
    ) -> np.ndarray:
        inputs = [skip, features, *_indices(upsampled), *_indices(kept)]
        for part, ends in scores:
            inputs += [part, *_indices(ends)]
        (logits,) = self._infer(self._decoder, inputs)
        return logits.copy()

    def _infer(self, request: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs of a request; they are overwritten by its next run."""
        arrays = [np.ascontiguousarray(array) for array in inputs]  # held here, as OpenVINO does not copy them
        for n, array in enumerate(arrays):
            request.set_input_tensor(n, openvino.Tensor(array, shared_memory=True))
        request.start_async()
        try:
            while not request.wait_for(POLL_MS):
                self._monitor.check()
        except BaseException:
            request.cancel()
            with suppress(RuntimeError):  # says that it was cancelled
                request.wait()  # the inputs must outlive it
            raise
        return [tensor.data for tensor in request.output_tensors]


def _indices(ends: Ends) -> list[np.ndarray]:
    return [np.array([index], np.int64) for index in ends]
