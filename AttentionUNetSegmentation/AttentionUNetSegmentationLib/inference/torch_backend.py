"""PyTorch as a way to run a forward pass: the reference, and the one that uses GPUs."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..monitor import Monitor
from .backends import Output
from .network import ConvolutionBlock, Predictor, UNet, resample_linearly
from .slabs import Decoded, DecoderEnds, Ends, run_in_slabs, scales_in_slabs
from .stages import SLAB_WORK, StageGuard, network_work

Network = TypeVar("Network", bound=nn.Module)
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # PyTorch's name for it


class TorchBackend:
    """PyTorch: float32 in channels-last layout on a CPU, the same in half precision on CUDA, float32 on Apple GPUs.

    Args:
        network: A module (copied, its batch norms folded into the convolutions) or any other ``Predictor``.
        device: "cpu", "cuda", "cuda:1", "mps".
    """

    name = "torch"

    def __init__(self, network: Predictor, device: str = "cpu") -> None:
        self.device = device
        self._meta: nn.Module | None = None
        # on Apple GPUs PyTorch has read weights of the other layout as if they had this one
        self._layout = torch.contiguous_format if device == "mps" else torch.channels_last_3d
        if isinstance(network, nn.Module):
            network = fold_batch_norm(network)
            self._meta = copy.deepcopy(network).to("meta")
            # torch documents memory_format, but its type hints leave it out
            network = network.to(device, memory_format=self._layout)  # type: ignore[call-overload]
        self._network = network

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = False) -> Output:
        """See ``Backend``; asks the monitor between stages, and reports the share of the work that is done.

        Raises:
            ValueError: If slabs are wanted of a predictor that is no network of ``network.py``.
        """
        x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]
        x = x.to(self.device, memory_format=self._layout)
        if in_slabs:
            if not isinstance(self._network, UNet):
                raise ValueError(f"only U-Nets can run in slabs, got {type(self._network).__name__}")
            with self._mode(lambda work: monitor.check()):
                logits, attention = run_in_slabs(_Parts(self._network), x, monitor)
        else:
            total = network_work(self._meta, x.shape) if self._meta is not None else 0.0
            with self._mode(lambda done: monitor.update(done / total) if total else monitor.check()):
                logits, attention = self._network(x)
        monitor.check()
        return _to_numpy(logits), {name: _to_numpy(alpha)[0] for name, alpha in attention.items()}

    @contextmanager
    def _mode(self, on_work: Callable[[float], None]) -> Iterator[None]:
        """How the network is run: without gradients, in the device's precision, interruptible."""
        slab_work = SLAB_WORK if self.device == "cpu" else 0.0
        with torch.inference_mode(), self._autocast(), StageGuard(on_work, slab_work):
            yield

    def free(self) -> None:
        """See ``Backend``."""
        free_gpu()

    def _autocast(self) -> Any:
        if not self.device.startswith("cuda"):
            return nullcontext()
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.autocast("cuda", dtype=half)


class _Parts:
    """See ``slabs.Parts``."""

    def __init__(self, network: UNet) -> None:
        self._network = network
        self.scales_in_slabs = scales_in_slabs(len(network.widths))
        self.work_per_slice = 0.0  # StageGuard makes long work interruptible

    def encoder(self, scale: int, x: Tensor, kept: Ends) -> tuple[Tensor, Tensor]:
        skip = _slices(self._network.encoder[scale - 1](x), kept).clone()  # a view would keep all slices
        return skip, F.max_pool3d(skip, kernel_size=2)

    def coarser_scales(self, x: Tensor) -> Decoded:
        return self._network.scales_from(self.scales_in_slabs + 1, x)

    def decoder(self, scale: int, skip: Tensor, features: Tensor, ends: DecoderEnds) -> Decoded:
        filtered, attention = self._network.filter_skip(scale, skip, _slices(features, ends.gating))
        upsampled = _upsampled(features, skip.shape[3:], ends.upsampled)
        decoded, scores = self._network.decode(scale, _slices(filtered, ends.block), upsampled)
        kept_attention = {name: _slices(_slices(alpha, ends.block), ends.kept) for name, alpha in attention.items()}
        return _slices(decoded, ends.kept).clone(), [_slices(scores, ends.kept)], kept_attention

    def output(
        self, skip: Tensor, features: Tensor, upsampled: Ends, kept: Ends, scores: Sequence[tuple[Tensor, Ends]]
    ) -> Tensor:
        size = skip.shape[3:]
        _, top = self._network.decode(1, skip, _upsampled(features, size, upsampled))
        coarse = [_upsampled(part, size, ends) for part, ends in scores]
        return self._network.mix(torch.cat([_slices(top, kept), *coarse], dim=1))

    def join(self, slabs: Sequence[Tensor]) -> Tensor:
        return slabs[0] if len(slabs) == 1 else torch.cat(list(slabs), dim=2)


def _slices(x: Tensor, ends: Ends) -> Tensor:
    return x[:, :, ends[0] : ends[1]]


def _upsampled(x: Tensor, in_plane: Sequence[int], ends: Ends) -> Tensor:
    """Slices of ``x`` when it is upsampled by the same factor along every axis."""
    factor = in_plane[0] // x.shape[3]
    return _slices(resample_linearly(x, (x.shape[2] * factor, *in_plane)), ends)


def fold_batch_norm(network: Network) -> Network:
    """A copy in evaluation mode whose convolution blocks carry their batch norms in the convolutions' weights."""
    network = copy.deepcopy(network).cpu().eval()
    for block in network.modules():
        if isinstance(block, ConvolutionBlock):
            block.conv1 = _folded(block.conv1, block.norm1)
            block.conv2 = _folded(block.conv2, block.norm2)
            block.norm1 = block.norm2 = nn.Identity()
    return network


def _folded(convolution: nn.Conv3d, norm: nn.BatchNorm3d | nn.Identity) -> nn.Conv3d:
    """A convolution with the batch norm that follows it; the same one if that was folded into it before."""
    return convolution if isinstance(norm, nn.Identity) else fuse_conv_bn_eval(convolution, norm)


def _to_numpy(x: Tensor) -> np.ndarray:
    return x[0].float().cpu().contiguous().numpy()


def free_gpu() -> None:
    """Give back the GPU's memory that PyTorch keeps for itself."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def take_large_pages() -> None:
    """Let PyTorch on Linux take large pages for large tensors, if nobody has decided otherwise.

    A forward pass takes gigabytes from the system and gives them back, layer after layer, which costs a page fault for
    every 4 kB of it. PyTorch reads the setting once, when it makes the process's first tensor, so one is made; if there
    was one before, nothing changes. The environment is as before afterwards. For the main thread: others may be reading
    the environment.
    """
    if sys.platform == "linux" and LARGE_PAGES not in os.environ:
        os.environ[LARGE_PAGES] = "1"
        try:
            torch.zeros(1)
        finally:
            del os.environ[LARGE_PAGES]
