"""OpenVINO as a way to run a forward pass on a CPU, in float32, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import openvino

from ..monitor import Monitor
from .backends import Output
from .memory import return_freed_memory
from .openvino_graphs import Graphs
from .slabs import Decoded, DecoderEnds, Ends, run_in_slabs, scales_in_slabs

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
        self._in_slabs = scales_in_slabs(graphs.num_scales)
        self._names = {scale: graphs.attention_names(scale) for scale in range(2, graphs.num_scales)}
        models = {"coarser": graphs.coarser_scales(self._in_slabs + 1), "output": graphs.output()}
        models |= {f"encoder {scale}": graphs.encoder(scale) for scale in range(1, self._in_slabs + 1)}
        models |= {f"decoder {scale}": graphs.decoder(scale) for scale in range(2, self._in_slabs + 1)}
        self._compiled = {name: core.compile_model(model, "CPU", OPTIONS) for name, model in models.items()}
        for compiled in self._compiled.values():
            precision = compiled.get_property("INFERENCE_PRECISION_HINT")
            if precision != openvino.Type.f32:
                raise RuntimeError(f"OpenVINO was asked for float32, but computes in {precision.to_string()}")

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = True) -> Output:
        """See ``Backend``; cancelling interrupts the running request."""
        parts = _Parts(self._compiled, self._in_slabs, self._names, monitor)
        logits, attention = run_in_slabs(parts, image[None, None].astype(np.float32, copy=False), monitor)
        parts.release()
        return logits[0], {name: alpha[0, 0] for name, alpha in attention.items()}

    def free(self) -> None:
        """See ``Backend``; nothing is kept."""


class _Parts:
    """See ``slabs.Parts``. Only the part that ran last keeps its working memory."""

    def __init__(
        self, compiled: Mapping[str, Any], in_slabs: int, names: Mapping[int, Sequence[str]], monitor: Monitor
    ) -> None:
        self.scales_in_slabs = in_slabs
        self._compiled, self._names, self._monitor = compiled, names, monitor
        self._last = ""
        self._request: Any = None

    def encoder(self, scale: int, x: np.ndarray, kept: Ends) -> tuple[np.ndarray, np.ndarray]:
        skip, pooled = self._infer(f"encoder {scale}", [x, *_indices(kept)])
        return skip, pooled

    def coarser_scales(self, x: np.ndarray) -> Decoded:
        outputs = self._infer("coarser", [x])
        names = [name for scale in self._names if scale > self.scales_in_slabs for name in self._names[scale]]
        first_map = len(outputs) - len(names)
        return outputs[0], outputs[1:first_map], dict(zip(names, outputs[first_map:], strict=True))

    def decoder(self, scale: int, skip: np.ndarray, features: np.ndarray, ends: DecoderEnds) -> Decoded:
        inputs = [skip, features, *_indices(ends.gating, ends.block, ends.upsampled, ends.kept)]
        decoded, part, *alphas = self._infer(f"decoder {scale}", inputs)
        return decoded, [part], dict(zip(self._names[scale], alphas, strict=True))

    def output(
        self,
        skip: np.ndarray,
        features: np.ndarray,
        upsampled: Ends,
        kept: Ends,
        scores: Sequence[tuple[np.ndarray, Ends]],
    ) -> np.ndarray:
        inputs = [skip, features, *_indices(upsampled, kept)]
        for part, ends in scores:
            inputs += [part, *_indices(ends)]
        (logits,) = self._infer("output", inputs)
        return logits

    def join(self, slabs: Sequence[np.ndarray]) -> np.ndarray:
        return slabs[0] if len(slabs) == 1 else np.concatenate(slabs, axis=2)

    def release(self) -> None:
        """Give working memory back."""
        if self._last:
            self._request = None
            self._compiled[self._last].release_memory()
            return_freed_memory()
            self._last = ""

    def _infer(self, name: str, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        if name != self._last:
            self.release()
            self._last, self._request = name, self._compiled[name].create_infer_request()
        request = self._request
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
        return [tensor.data.copy() for tensor in request.output_tensors]  # the next run overwrites them


def _indices(*ends: Ends) -> list[np.ndarray]:
    return [np.array([index], np.int64) for pair in ends for index in pair]
