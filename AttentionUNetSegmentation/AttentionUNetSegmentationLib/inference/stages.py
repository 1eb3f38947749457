"""Runs a network so that it can be watched and stopped, whatever its architecture.

``StageGuard`` sees every torch function that a network calls. Before each it asks whether to go on, and it computes the
long ones (convolutions, interpolations, concatenations of large volumes) in slabs along the first spatial axis, with
exactly the same result, so that no single stage blocks longer than a fraction of a second on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..volume import Triple, triple

SLAB_WORK = 10e9  # multiply-accumulates per slab, about 0.2 s on two CPU cores
WORK_PER_INTERPOLATED = 400.0  # measured time of one interpolated value, in multiply-accumulates of a convolution
WORK_PER_COPIED = 200.0  # likewise for a copied value


class StageGuard(TorchFunctionMode):
    """Context in which a network's convolutions are counted, cut into slabs and interruptible.

    Args:
        on_work: Called before each function and after each slab with the multiply-accumulates of convolutions done so
            far; may raise to stop.
        slab_work: Largest work of one slab; 0 for whole functions.
    """

    def __init__(self, on_work: Callable[[float], None], slab_work: float = SLAB_WORK) -> None:
        super().__init__()
        self._on_work, self._slab_work = on_work, slab_work
        self._in_slabs = {torch.conv3d: self._conv3d, F.interpolate: self._interpolate, torch.cat: self._concatenate}
        self.work = 0.0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Called by torch in place of ``func``; torch switches the mode off inside."""
        if getattr(func, "__name__", "") == "__get__":  # an attribute such as x.shape
            return func(*args, **(kwargs or {}))
        self._on_work(self.work)
        return self._in_slabs.get(func, func)(*args, **(kwargs or {}))

    def _slices_per_slab(self, depth: int, work_per_slice: float) -> int:
        return max(1, int(self._slab_work / max(1.0, work_per_slice))) if self._slab_work else depth

    def _conv3d(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
        plain = _triple(stride) == (1, 1, 1) == _triple(dilation) and isinstance(padding, int | tuple | list)
        work_per_slice = weight.numel() * math.prod(input.shape[3:]) * input.shape[0] / math.prod(_triple(stride)[1:])
        slices = self._slices_per_slab(input.shape[2], work_per_slice)
        if not plain or slices >= input.shape[2] or input.ndim != 5:
            result = F.conv3d(input, weight, bias, stride, padding, dilation, groups)
            self._advance(work_per_slice * input.shape[2] / _triple(stride)[0])
            return result
        kernel, (pad, *pad_in_plane) = weight.shape[2], _triple(padding)
        depth = input.shape[2]

        def slab(start: int, stop: int) -> Tensor:
            low, high = start - pad, stop - pad + kernel - 1  # input slices that this slab sees
            part = input[:, :, max(low, 0) : min(high, depth)]
            if low < 0 or high > depth:
                part = F.pad(part, (0, 0, 0, 0, max(-low, 0), max(high - depth, 0)))
            return F.conv3d(part, weight, bias, 1, (0, *pad_in_plane), 1, groups)

        return self._assemble(slab, depth + 2 * pad - kernel + 1, slices, input, work_per_slice)

    def _interpolate(self, input, size=None, scale_factor=None, mode="nearest", **options) -> Tensor:
        whole = size is None or input.ndim != 5 or mode != "trilinear" or options.get("align_corners")
        factor, rest = (0, 1) if whole else divmod(int(size[0]), input.shape[2])
        per_slice = 0 if whole else WORK_PER_INTERPOLATED * math.prod(size[1:]) * math.prod(input.shape[:2])
        slices = self._slices_per_slab(input.shape[2], per_slice * factor)
        if rest or slices >= input.shape[2]:
            return F.interpolate(input, size, scale_factor, mode, **options)
        depth, in_plane = input.shape[2], tuple(size[1:])

        def slab(start: int, stop: int) -> Tensor:
            first, last = (
                start // factor,
                stop // factor,
            )  # input slices in the slab; it sees one more each way
            low, high = max(first - 1, 0), min(last + 1, depth)
            part = F.interpolate(input[:, :, low:high], ((high - low) * factor, *in_plane), mode=mode, **options)
            return part[:, :, start - low * factor : stop - low * factor]

        return self._assemble(slab, depth * factor, slices * factor, input, 0.0)

    def _concatenate(self, tensors: list[Tensor] | tuple[Tensor, ...], dim: int = 0) -> Tensor:
        first = tensors[0]
        if first.ndim != 5 or dim != 1:
            return torch.cat(tensors, dim)
        channels = sum(tensor.shape[1] for tensor in tensors)
        depth, work_per_slice = first.shape[2], WORK_PER_COPIED * channels * math.prod(first.shape[3:]) * first.shape[0]
        slices = self._slices_per_slab(depth, work_per_slice)
        if slices >= depth:
            return torch.cat(tensors, dim)

        def slab(start: int, stop: int) -> Tensor:
            return torch.cat([tensor[:, :, start:stop] for tensor in tensors], 1)

        return self._assemble(slab, depth, slices, first, 0.0)

    def _assemble(
        self, slab: Callable[[int, int], Tensor], depth: int, slices: int, like: Tensor, work_per_slice: float
    ) -> Tensor:
        """Put together what ``slab(start, stop)`` returns for parts of the first spatial axis."""
        part = slab(0, min(slices, depth))  # tells the result's channels, in-plane size and type
        is_last = like.is_contiguous(memory_format=torch.channels_last_3d)
        layout = torch.channels_last_3d if is_last else torch.contiguous_format
        shape = (*part.shape[:2], depth, *part.shape[3:])
        result = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=layout)
        for start in range(0, depth, slices):
            stop = min(start + slices, depth)
            if start > 0:
                part = slab(start, stop)
            result[:, :, start:stop] = part
            self._advance(work_per_slice * (stop - start))
        return result

    def _advance(self, work: float) -> None:
        self.work += work
        self._on_work(self.work)


def network_work(network: torch.nn.Module, shape: tuple[int, ...]) -> float:
    """Multiply-accumulates of the 3D convolutions of one forward pass on an input of ``shape``; nothing is computed.

    Args:
        network: Module that is on the ``meta`` device.
        shape: (N, C, D, H, W).
    """
    with torch.no_grad(), StageGuard(lambda work: None, slab_work=0) as guard:
        network(torch.empty(shape, device="meta"))
    return guard.work


def _triple(value: int | tuple[int, ...]) -> Triple:
    if isinstance(value, int):
        return value, value, value
    return triple(value if len(value) == 3 else value * 3)
