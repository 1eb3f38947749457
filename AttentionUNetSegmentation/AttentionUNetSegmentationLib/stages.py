"""Runs a network so that it can be watched and stopped, whatever its architecture.

``StageGuard`` sees every torch function that a network calls. Before each it asks whether to go on, and it computes a
large 3D convolution in slabs along the first spatial axis, with exactly the same result, so that no single stage blocks
longer than a fraction of a second on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SLAB_WORK = 10e9  # multiply-accumulates per slab, about 0.2 s on two CPU cores


class StageGuard(TorchFunctionMode):
    """Context in which a network's convolutions are counted, cut into slabs and interruptible.

    Args:
        on_work: Called after each slab with the multiply-accumulates done so far; may raise to stop.
        slab_work: Largest work of one slab; 0 for whole convolutions.
    """

    def __init__(self, on_work: Callable[[float], None], slab_work: float = SLAB_WORK) -> None:
        super().__init__()
        self._on_work, self._slab_work = on_work, slab_work
        self.work = 0.0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Called by torch in place of ``func``; torch switches the mode off inside."""
        if func is torch.conv3d:
            return self._conv3d(*args, **(kwargs or {}))
        if callable(func) and getattr(func, "__name__", "") != "__get__":  # not for attributes such as x.shape
            self._on_work(self.work)
        return func(*args, **(kwargs or {}))

    def _conv3d(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
        plain = _triple(stride) == (1, 1, 1) == _triple(dilation) and isinstance(padding, int | tuple | list)
        macs_per_slice = weight.numel() * math.prod(input.shape[3:]) * input.shape[0] / math.prod(_triple(stride)[1:])
        slices = max(1, int(self._slab_work / macs_per_slice)) if self._slab_work else input.shape[2]
        if not plain or slices >= input.shape[2] or input.shape[2] == 0 or input.ndim != 5:
            result = F.conv3d(input, weight, bias, stride, padding, dilation, groups)
            self._advance(macs_per_slice * input.shape[2] / _triple(stride)[0])
            return result
        return self._conv3d_in_slabs(input, weight, bias, _triple(padding), groups, slices, macs_per_slice)

    def _conv3d_in_slabs(self, x, weight, bias, padding, groups, slices, macs_per_slice) -> Tensor:
        depth, kernel, pad = x.shape[2], weight.shape[2], padding[0]
        out_depth = depth + 2 * pad - kernel + 1
        result = None
        for start in range(0, out_depth, slices):
            stop = min(start + slices, out_depth)
            low, high = start - pad, stop - pad + kernel - 1  # input slices that this slab sees
            slab = x[:, :, max(low, 0) : min(high, depth)]
            if low < 0 or high > depth:
                slab = F.pad(slab, (0, 0, 0, 0, max(-low, 0), max(high - depth, 0)))
            part = F.conv3d(slab, weight, bias, 1, (0, *padding[1:]), 1, groups)
            if result is None:
                shape = (*part.shape[:2], out_depth, *part.shape[3:])
                layout = torch.channels_last_3d if _is_channels_last(x) else torch.contiguous_format
                result = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=layout)
            result[:, :, start:stop] = part
            self._advance(macs_per_slice * (stop - start))
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


def _triple(value: int | tuple[int, ...]) -> tuple[int, int, int]:
    return (value,) * 3 if isinstance(value, int) else tuple(value) if len(value) == 3 else tuple(value) * 3


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last_3d)
