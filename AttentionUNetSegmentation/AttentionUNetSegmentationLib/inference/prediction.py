"""A whole volume through the network: in one pass where it fits, else with less memory.

When memory runs out, the next smaller way is tried: one pass (on a GPU), one pass in slabs (the same result),
overlapping tiles in slabs, smaller tiles, the CPU. Every such step is reported. Which way is tried first follows from
an estimate, before anything is computed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..devices import device_name
from ..errors import is_out_of_memory
from ..monitor import Monitor
from ..volume import Triple, triple
from .backends import Backend
from .memory import forward_bytes, free_bytes, scores_bytes
from .tiles import Blend, Tiling

TILE_EDGES = (192, 160)  # voxels; smaller tiles see too little of the body to give the result of one pass
MEMORY_SHARE = 0.8  # of the free memory may be planned for
LACKS_OPERATION = "the device lacks an operation"


@dataclass(frozen=True)
class Attempt:
    """One way to run the network.

    Attributes:
        device: Where.
        tile: Longest edge of a tile in voxels; None for one pass.
        in_slabs: Whether full resolution is computed in slabs (``slabs.py``).
    """

    device: str
    tile: int | None
    in_slabs: bool = False

    @property
    def way(self) -> str:
        """What is done, without the device."""
        passes = "one pass" if self.tile is None else f"tiles of {self.tile} voxels"
        return f"{passes} in slabs" if self.in_slabs else passes

    def __str__(self) -> str:
        return f"{self.way} on {device_name(self.device)}"


@dataclass
class Prediction:
    """What the network said on its grid.

    Attributes:
        logits: (C, D, H, W) float32, cropped to the unpadded size.
        attention: Name -> (d, h, w) float32 in [0, 1] on the coarser grids, cropped likewise.
        strides: Name -> voxels of the input per voxel of the coefficient map, along D, H, W.
        how: The attempt that succeeded.
        backend: Name of the backend.
        reports: Steps that were taken because memory ran out, one sentence each.
    """

    logits: np.ndarray
    attention: dict[str, np.ndarray]
    strides: dict[str, Triple]
    how: Attempt
    backend: str
    reports: list[str] = field(default_factory=list)


def predict(
    image: np.ndarray,
    make_backend: Callable[[str], Backend],
    device: str,
    widths: Sequence[int],
    monitor: Monitor,
    divisor: int = 16,
    tile: int | None = None,
    slabs: bool = False,
    num_classes: int = 4,
) -> Prediction:
    """Run the network on a volume of any size.

    Args:
        image: (D, H, W) float32, normalised; padded here by edge values to multiples of ``divisor``.
        make_backend: Makes the backend for a device; called once per device.
        device: The device to begin with.
        widths: The network's widths, for the memory estimate.
        monitor: Progress and cancellation.
        divisor: The network's size divisor.
        tile: Longest edge of a tile in voxels if tiles are wanted; None lets memory decide.
        slabs: Whether the backends can run in slabs.
        num_classes: The network's classes, background included, for the memory estimate.

    Raises:
        Cancelled: When asked to stop.
        RuntimeError: If memory does not suffice for the smallest tiles on the CPU.
    """
    shape = image.shape
    padded = pad_to_multiple(image, divisor)
    del image  # the only reference to it, as may be: a long scan's is large
    attempts, reports = plan(padded.shape, device, widths, tile, slabs, num_classes)
    if tile is not None and tile < min(TILE_EDGES) and max(padded.shape) > tile:
        reports.append(f"tiles of {tile} voxels see little of the body: results are worse than with {min(TILE_EDGES)}")
    backend: Backend | None = None
    while True:
        attempt = attempts.pop(0)
        try:
            if backend is None or backend.device != attempt.device:
                backend = None  # frees the other device before this one is filled
                backend = make_backend(attempt.device)
            logits, attention = _run(padded, backend, attempt, divisor, monitor)
            _free_gpu_of(backend)
            return _cropped(logits, attention, padded.shape, shape, attempt, backend.name, reports)
        except (RuntimeError, MemoryError) as error:
            reason = _reason_to_fall_back(error, attempt.device)
            if reason == LACKS_OPERATION:
                attempts = [other for other in attempts if other.device != attempt.device]
            if not reason or not attempts:
                traceback.clear_frames(error.__traceback__)  # they hold what the network has computed so far
                _free_gpu_of(backend)
                if is_out_of_memory(error):
                    raise RuntimeError(f"not enough memory: {attempt} ran out of it") from error
                raise
        reports.append(f"{attempt}: {reason}; went on with {attempts[0]}")
        if backend is not None:
            backend.free()


def _free_gpu_of(backend: Backend | None) -> None:
    """What PyTorch keeps of a GPU counts as taken in the next run, and for all others."""
    if backend is not None and backend.device != "cpu":
        backend.free()


def _cropped(
    logits: np.ndarray,
    attention: dict[str, np.ndarray],
    padded: Sequence[int],
    shape: Sequence[int],
    how: Attempt,
    backend: str,
    reports: list[str],
) -> Prediction:
    """Take the padding away again: from the logits, and from each coefficient map on its coarser grid."""
    strides = {name: _strides(padded, alpha.shape, name) for name, alpha in attention.items()}
    cropped = {}
    for name, alpha in attention.items():
        sizes = [-(-size // stride) for size, stride in zip(shape, strides[name], strict=True)]
        cropped[name] = np.ascontiguousarray(alpha[_region(sizes)])
    return Prediction(logits[(slice(None), *_region(shape))], cropped, strides, how, backend, reports)


def plan(
    shape: Sequence[int],
    device: str,
    widths: Sequence[int],
    tile: int | None = None,
    slabs: bool = False,
    num_classes: int = 4,
) -> tuple[list[Attempt], list[str]]:
    """The ways to try, in order, and what is to be reported of those that the estimate rules out.

    Raises:
        RuntimeError: If the smallest way on the CPU would not fit either, or what follows the network's run.
    """
    if tile is not None and tile >= max(shape):
        tile = None
    wanted = [way for name in dict.fromkeys((device, "cpu")) for way in _ways(name, max(shape), tile, slabs)]
    free = {name: free_bytes(name) for name in {"cpu", *(attempt.device for attempt in wanted)}}
    if (scores := scores_bytes(shape, num_classes)) > MEMORY_SHARE * free["cpu"]:  # they leave the GPU for the clean-up
        raise RuntimeError(
            f"not enough memory: the scores of a volume of this size take {_against(scores, free['cpu'])}; "
            "choose a smaller part of it"
        )
    attempts, ruled_out = [], []
    for attempt in wanted:
        edge = attempt.tile or max(shape)
        needed = forward_bytes(widths, [min(size, edge) for size in shape], attempt.in_slabs)
        if needed <= MEMORY_SHARE * free[attempt.device]:
            attempts.append(attempt)
        elif not attempts:
            ruled_out.append(f"{attempt} takes {_against(needed, free[attempt.device])}")
    if not attempts:
        raise RuntimeError(f"not enough memory: {ruled_out[-1]}")
    return attempts, [f"{step}; went on with {attempts[0]}" for step in ruled_out]


def _against(needed: int, free: int) -> str:
    return f"about {needed / 1e9:.1f} GB, {MEMORY_SHARE * free / 1e9:.1f} of {free / 1e9:.1f} GB free may be used"


def _ways(device: str, longest: int, tile: int | None, slabs: bool) -> list[Attempt]:
    """What may be tried on a device, from the most memory to the least; a CPU gains nothing by leaving slabs out."""
    first = [False, True] if slabs and device != "cpu" else [slabs]
    edges = [edge for edge in TILE_EDGES if edge < (tile or longest)]
    return [Attempt(device, tile, in_slabs) for in_slabs in first] + [Attempt(device, edge, slabs) for edge in edges]


def pad_to_multiple(image: np.ndarray, divisor: int) -> np.ndarray:
    """Repeat the edge voxels at the end of each axis up to the next multiple of ``divisor``."""
    padding = [(0, -size % divisor) for size in image.shape]
    return np.pad(image, padding, mode="edge") if any(after for _, after in padding) else image


def _run(
    padded: np.ndarray, backend: Backend, attempt: Attempt, divisor: int, monitor: Monitor
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if attempt.tile is None:
        return backend.run(padded, monitor, attempt.in_slabs)
    tiling = Tiling.of_at_most(padded.shape, attempt.tile, divisor)
    starts = tiling.starts()
    blends: dict[str, Blend] = {}
    for n, start in enumerate(starts):
        part = padded[tuple(slice(first, first + size) for first, size in zip(start, tiling.tile, strict=True))]
        logits, attention = backend.run(part, _TileMonitor(monitor, n, len(starts)), attempt.in_slabs)
        outputs = {"": logits, **{name: alpha[None] for name, alpha in attention.items()}}
        for name, output in outputs.items():
            stride = _strides(tiling.tile, output.shape[1:], name)
            if name not in blends:
                blends[name] = Blend(len(output), [size // f for size, f in zip(padded.shape, stride, strict=True)])
            blends[name].add(output, [first // f for first, f in zip(start, stride, strict=True)])
    results = {name: blend.result() for name, blend in blends.items()}
    return results.pop(""), {name: alpha[0] for name, alpha in results.items()}


class _TileMonitor(Monitor):
    """Maps the progress of one tile onto the progress of the whole step."""

    def __init__(self, outer: Monitor, index: int, count: int) -> None:
        super().__init__()
        self._outer, self._index, self._count = outer, index, count

    def check(self) -> None:
        self._outer.check()

    def update(self, fraction: float, detail: str = "") -> None:
        done = (self._index + min(1.0, fraction)) / self._count
        self._outer.update(done, f"tile {self._index + 1} of {self._count}")


def _strides(shape: Sequence[int], coarse: Sequence[int], name: str) -> Triple:
    strides = triple(size // small for size, small in zip(shape, coarse, strict=True))
    if any(size != small * f for size, small, f in zip(shape, coarse, strides, strict=True)):
        raise ValueError(f"the map {name!r} of shape {tuple(coarse)} does not divide the input {tuple(shape)}")
    return strides


def _region(sizes: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in sizes)


def _reason_to_fall_back(error: BaseException, device: str) -> str:
    """Why the next smaller way may help, or "" if the error has nothing to do with memory or the device."""
    if is_out_of_memory(error):
        return "out of memory"
    if device != "cpu" and isinstance(error, NotImplementedError):
        return LACKS_OPERATION
    return ""
