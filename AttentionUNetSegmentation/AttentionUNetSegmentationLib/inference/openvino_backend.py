"""OpenVINO as a way to run a forward pass on a CPU, in float32, without PyTorch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..monitor import Monitor
from .backends import Output
from .memory import return_freed_memory
from .openvino_graphs import Graphs
from .openvino_package import openvino
from .slabs import Decoded, DecoderEnds, Ends, run_in_slabs, scales_in_slabs

POLL_MS = 50
LARGE_VOXELS = 4 << 20  # from which memory is given back before the run ends, though the next run takes it anew
OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
THREADS_VARIABLE = "OMP_NUM_THREADS"  # what limits PyTorch and NumPy limits OpenVINO too


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
        core, options = openvino.Core(), OPTIONS | thread_limit()
        self._in_slabs = scales_in_slabs(graphs.num_scales)
        # of full resolution: a coarser scale's slice has fewer voxels
        self._work_per_voxel = max(graphs.work_per_voxel(n + 1) / 4**n for n in range(self._in_slabs))
        self._names = {scale: graphs.attention_names(scale) for scale in range(2, graphs.num_scales)}
        models = {"coarser": graphs.coarser_scales(self._in_slabs + 1), "output": graphs.output()}
        models |= {f"encoder {scale}": graphs.encoder(scale) for scale in range(1, self._in_slabs + 1)}
        models |= {f"decoder {scale}": graphs.decoder(scale) for scale in range(2, self._in_slabs + 1)}
        self._compiled = {name: core.compile_model(model, "CPU", options) for name, model in models.items()}
        for compiled in self._compiled.values():
            precision = compiled.get_property("INFERENCE_PRECISION_HINT")
            if precision != openvino.Type.f32:
                raise RuntimeError(f"OpenVINO was asked for float32, but computes in {precision.to_string()}")

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = True) -> Output:
        """See ``Backend``; cancelling interrupts the running request."""
        work_per_slice = self._work_per_voxel * math.prod(image.shape[1:])
        lean = image.size > LARGE_VOXELS
        parts = _Parts(self._compiled, self._in_slabs, work_per_slice, self._names, monitor, lean)
        logits, attention = run_in_slabs(parts, image[None, None].astype(np.float32, copy=False), monitor)
        return logits[0], {name: alpha[0, 0] for name, alpha in attention.items()}

    def free(self) -> None:
        """See ``Backend``."""
        for compiled in self._compiled.values():
            compiled.release_memory()


def thread_limit() -> dict[str, int]:
    """OpenVINO's option for as many threads as the environment allows; none if it says nothing."""
    threads = os.environ.get(THREADS_VARIABLE, "")
    return {"INFERENCE_NUM_THREADS": int(threads)} if threads.isdigit() and int(threads) else {}


class _Parts:
    """See ``slabs.Parts``.

    Args:
        compiled: The graphs by name.
        in_slabs: How many scales are run in slabs.
        work_per_slice: Multiply-accumulates of a slice: an operation that runs is not interrupted.
        names: Names of the coefficient maps by scale.
        monitor: Asked while a request runs.
        lean: Give the working memory of a part back before the next one runs.
    """

    def __init__(
        self,
        compiled: Mapping[str, Any],
        in_slabs: int,
        work_per_slice: float,
        names: Mapping[int, Sequence[str]],
        monitor: Monitor,
        lean: bool = False,
    ) -> None:
        self.scales_in_slabs, self.work_per_slice = in_slabs, work_per_slice
        self._compiled, self._names, self._monitor, self._lean = compiled, names, monitor, lean
        self._last = ""
        self._requests: dict[str, Any] = {}

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

    def _infer(self, name: str, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self._lean and self._last not in ("", name):
            self._requests.clear()
            self._compiled[self._last].release_memory()
            return_freed_memory()
        self._last = name
        if name not in self._requests:
            self._requests[name] = self._compiled[name].create_infer_request()
        request = self._requests[name]
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
