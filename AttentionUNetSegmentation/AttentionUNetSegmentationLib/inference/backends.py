"""The ways to run one forward pass: PyTorch on a CPU, CUDA or Apple GPU, and OpenVINO on a CPU.

A backend takes a normalised image (D, H, W), float32, sizes multiples of the network's divisor, and returns logits
(C, D, H, W) and the attention coefficients by name, each (d, h, w), all float32 on the CPU.
"""

from __future__ import annotations

import copy
import importlib.util
import threading
from contextlib import nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..monitor import Monitor
from .network import ConvolutionBlock, Predictor, UNet
from .slabwise import SlabwiseUNet
from .stages import SLAB_WORK, StageGuard, network_work

DEVICES = ("auto", "cpu", "cuda", "mps")
BACKENDS = ("auto", "torch", "openvino")

Network = TypeVar("Network", bound=nn.Module)
Output = tuple[np.ndarray, dict[str, np.ndarray]]


class Backend(Protocol):
    """One way to run a forward pass."""

    name: str
    device: str

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = False) -> Output:
        """Run the network on an image (D, H, W); with ``in_slabs`` in less memory, where the backend can."""
        ...


def choose_device(wanted: str = "auto", backend: str = "auto") -> str:
    """Turn "auto" into the best device there is (the CPU for OpenVINO), and check that a named one exists.

    Raises:
        ValueError: If the device is unknown or not available here.
    """
    name = wanted.split(":")[0]
    if name not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {wanted!r}")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto" and backend == "openvino":
        return "cpu"
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available[name]:
        raise ValueError(f"the device {wanted!r} is not available: {_why_unavailable(name)}")
    return "cpu" if name == "cpu" else wanted


def _why_unavailable(device: str) -> str:
    if device == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return f"PyTorch {torch.__version__} is a CPU build"
    return "PyTorch finds no such GPU or driver"


def choose_backend(wanted: str, device: str) -> str:
    """Turn "auto" into a backend's name: PyTorch, which gives the same results on every device.

    Raises:
        ValueError: If the backend is unknown, not installed, or cannot use the device.
    """
    if wanted not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {wanted!r}")
    if wanted == "openvino":
        if device != "cpu":
            raise ValueError(f"the backend 'openvino' runs on the CPU only, got device {device!r}")
        if importlib.util.find_spec("openvino") is None:
            raise ValueError("the backend 'openvino' needs the package openvino: pip install openvino")
        return "openvino"
    return "torch"


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


class OpenVinoBackend:
    """OpenVINO on a CPU, float32; compiled anew for each input size.

    Args:
        network: The network to convert.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, network: UNet) -> None:
        self._network = fold_batch_norm(network)
        self._compiled: tuple[tuple[int, ...], Any] | None = None

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = False) -> Output:
        """See ``Backend``; cancelling interrupts the running request. Slabs are not offered."""
        if in_slabs:
            raise ValueError("the backend 'openvino' cannot run in slabs")
        compiling = threading.Thread(target=self._compile, args=(image.shape,), daemon=True)
        compiling.start()
        while compiling.is_alive():  # compiling cannot be interrupted, but need not be waited for
            compiling.join(0.1)
            monitor.check()
        if self._compiled is None or self._compiled[0] != image.shape:
            raise RuntimeError("OpenVINO could not compile the network")
        compiled = self._compiled[1]
        request = compiled.create_infer_request()
        request.start_async({0: np.ascontiguousarray(image, dtype=np.float32)[None, None]})
        try:
            while not request.wait_for(100):  # ms
                monitor.check()
        except BaseException:
            request.cancel()
            raise
        names = ["logits", *self._network.attention_names()]
        arrays = [np.array(request.get_output_tensor(n).data[0]) for n in range(len(names))]
        return arrays[0], {name: array[0] for name, array in zip(names[1:], arrays[1:], strict=True)}

    def _compile(self, shape: tuple[int, ...]) -> None:
        if self._compiled is not None and self._compiled[0] == shape:
            return
        import openvino

        with torch.no_grad():
            exported = torch.export.export(_FlatOutputs(self._network), (torch.zeros(1, 1, *shape),))
        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = shape, openvino.Core().compile_model(openvino.convert_model(exported), "CPU", hints)


class _FlatOutputs(nn.Module):
    """Logits and coefficients as a plain tuple, for export."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        logits, attention = self.network(x)
        return logits, *attention.values()


def create_backend(network: Predictor, name: str, device: str) -> Backend:
    """The backend of that name (``choose_backend``) for a network.

    Raises:
        ValueError: If OpenVINO is wanted for a predictor that is no network of ``network.py``.
    """
    if name != "openvino":
        return TorchBackend(network, device)
    if not isinstance(network, UNet):
        raise ValueError(f"only U-Nets can be converted for OpenVINO, got {type(network).__name__}")
    return OpenVinoBackend(network)


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
