"""PyTorch as a way to run a forward pass: the reference, and the one that uses GPUs."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..monitor import Monitor
from .backends import Output
from .network import ConvolutionBlock, Predictor, UNet
from .slabwise import SlabwiseUNet
from .stages import SLAB_WORK, StageGuard, network_work

Network = TypeVar("Network", bound=nn.Module)


class TorchBackend:
    """PyTorch: float32 in channels-last layout on a CPU, half precision on CUDA, float32 on Apple GPUs.

    Args:
        network: A module (copied, its batch norms folded into the convolutions) or any other ``Predictor``.
        device: "cpu", "cuda", "cuda:1", "mps".
    """

    name = "torch"

    def __init__(self, network: Predictor, device: str = "cpu") -> None:
        self.device = device
        self._meta: nn.Module | None = None
        if isinstance(network, nn.Module):
            network = fold_batch_norm(network)
            self._meta = copy.deepcopy(network).to("meta")
            # torch documents memory_format, but its type hints leave it out
            network = network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._network = network

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = False) -> Output:
        """See ``Backend``; asks the monitor between stages, and reports the share of the work that is done.

        Raises:
            ValueError: If slabs are wanted of a predictor that is no network of ``network.py``.
        """
        network: Predictor = _slabwise(self._network) if in_slabs else self._network
        x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]
        total = 0.0
        if self._meta is not None:
            total = network_work(_slabwise(self._meta) if in_slabs else self._meta, x.shape)

        def on_work(done: float) -> None:
            if total:
                monitor.update(done / total)
            else:
                monitor.check()

        x = x.to(self.device, memory_format=torch.channels_last_3d)
        with torch.inference_mode(), self._autocast(), StageGuard(on_work, self._slab_work()):
            logits, attention = network(x)
        monitor.check()
        return _to_numpy(logits), {name: _to_numpy(alpha)[0] for name, alpha in attention.items()}

    def _autocast(self) -> Any:
        if not self.device.startswith("cuda"):
            return nullcontext()
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.autocast("cuda", dtype=half)

    def _slab_work(self) -> float:
        return SLAB_WORK if self.device == "cpu" else 0.0


def _slabwise(network: Predictor) -> SlabwiseUNet:
    if not isinstance(network, UNet):
        raise ValueError(f"only U-Nets can run in slabs, got {type(network).__name__}")
    return SlabwiseUNet(network)


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
