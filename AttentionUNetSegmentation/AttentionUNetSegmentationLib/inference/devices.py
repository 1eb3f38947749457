"""Where a network can run here, found without importing PyTorch unless there is a GPU for it."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import platform
import sys
from contextlib import suppress
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda", "mps")
BACKENDS = ("auto", "torch", "openvino")


@functools.cache
def find_gpu() -> str:
    """The kind of GPU that this computer has, as PyTorch calls it: "cuda" (NVIDIA, AMD), "mps" (Apple), or ""."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else ""
    driver = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    with suppress(OSError, AttributeError):
        cuda, count = ctypes.CDLL(driver), ctypes.c_int(0)
        if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value:
            return "cuda"
    return "cuda" if Path("/dev/kfd").exists() else ""  # AMD's compute driver on Linux


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def choose_device(wanted: str = "auto", backend: str = "auto") -> str:
    """Turn "auto" into the best device there is (the CPU for OpenVINO), and check that a named one exists.

    Raises:
        ValueError: If the device is unknown or not available here.
    """
    name = wanted.split(":")[0]
    if name not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {wanted!r}")
    if name == "cpu" or (name == "auto" and backend == "openvino"):
        return "cpu"
    if name == "auto":
        gpu = find_gpu()
        return gpu if gpu and not _why_unavailable(gpu) else "cpu"
    reason = _why_unavailable(name)
    if reason:
        raise ValueError(f"the device {wanted!r} is not available: {reason}")
    return wanted


def needs_torch(device: str) -> bool:
    """Whether PyTorch is to run the network on a device as a user names it; nothing is imported to find out."""
    if device == "cpu" or (device == "auto" and not (find_gpu() and has_torch())):
        return not has_openvino()
    return True


def unused_gpu(device: str) -> str:
    """One sentence on a GPU that PyTorch could use if it were installed for it, or "" if there is nothing to say.

    Args:
        device: Where the network runs.
    """
    gpu = find_gpu()
    if device != "cpu" or not gpu:
        return ""
    reason = _why_unavailable(gpu)
    return f"this computer's GPU is not used: {reason}" if reason else ""


def _why_unavailable(device: str) -> str:
    if not has_torch():
        return "PyTorch is not installed"
    import torch

    if device == "mps":
        return "" if torch.backends.mps.is_available() else "PyTorch finds no Apple GPU"
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"PyTorch {torch.__version__} is a CPU build"
    return "PyTorch finds no such GPU or driver"


def choose_backend(wanted: str, device: str) -> str:
    """Turn "auto" into a backend's name: OpenVINO on a CPU where it is installed, else PyTorch.

    Raises:
        ValueError: If the backend is unknown, not installed, or cannot use the device.
    """
    if wanted not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {wanted!r}")
    if wanted == "openvino" and device != "cpu":
        raise ValueError(f"the backend 'openvino' runs on the CPU only, got device {device!r}")
    if wanted == "auto":
        wanted = "openvino" if device == "cpu" and has_openvino() else "torch"
    if wanted == "openvino" and not has_openvino():
        raise ValueError("the backend 'openvino' needs the package openvino: pip install openvino")
    if wanted == "torch" and not has_torch():
        raise ValueError("the network needs OpenVINO (pip install openvino) or PyTorch (pip install torch)")
    return wanted
