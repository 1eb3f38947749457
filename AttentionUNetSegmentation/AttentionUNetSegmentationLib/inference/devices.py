"""Where a network can run here, found without importing PyTorch unless there is a GPU for it."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

DEVICES = ("auto", "cpu", "cuda", "mps")
BACKENDS = ("auto", "torch", "openvino")
MIN_TORCH = (2, 4)
TORCH = f"PyTorch {MIN_TORCH[0]}.{MIN_TORCH[1]} or newer"


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
    """Whether PyTorch is installed, and new enough."""
    if not _is_installed("torch"):
        return False
    try:
        return is_new_enough(importlib.metadata.version("torch") or "")
    except importlib.metadata.PackageNotFoundError:  # its import will tell
        return True


def is_new_enough(version: str) -> bool:
    """Whether a version of PyTorch will do; one that cannot be read may."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is None or (int(numbers[1]), int(numbers[2])) >= MIN_TORCH


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return _is_installed("openvino")


def _is_installed(package: str) -> bool:
    """Whether there is a package to import. A folder that an uninstallation left behind is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def kind_of(device: str) -> str:
    """The device without a number: "auto", "cpu", "cuda", "mps".

    Raises:
        ValueError: If it is none of them.
    """
    kind, colon, number = device.partition(":")
    if kind not in DEVICES or (colon and number != "0" and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"device must be one of {', '.join(DEVICES)} or cuda:NUMBER, got {device!r}")
    return kind


def choose_device(wanted: str = "auto", backend: str = "auto") -> str:
    """Turn "auto" into the best device there is (the CPU for OpenVINO), and check that a named one exists.

    Raises:
        ValueError: If the device is unknown or not available here.
    """
    name = kind_of(wanted)
    if name == "cpu" or (name == "auto" and backend == "openvino"):
        return "cpu"
    if name == "auto":
        gpu = find_gpu()
        return gpu if gpu and not _why_unavailable(gpu) else "cpu"
    reason = _why_unavailable(name) or _why_not_among(wanted)
    if reason:
        raise ValueError(f"the device {wanted!r} is not available: {reason}")
    return wanted


def needs_torch(device: str) -> bool:
    """Whether PyTorch is to run the network on a device as a user names it; nothing is imported to find out.

    Raises:
        ValueError: If the device is unknown.
    """
    kind = kind_of(device)
    if kind == "cpu" or (kind == "auto" and not (find_gpu() and has_torch())):
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
        return f"{TORCH} is not installed"
    import torch

    if device == "mps":
        return "" if torch.backends.mps.is_available() else "PyTorch finds no Apple GPU"
    if torch.cuda.is_available():
        return _why_too_new(torch) if torch.version.cuda is not None else ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"PyTorch {torch.__version__} is a CPU build"
    return "PyTorch finds no such GPU or driver"


def _why_not_among(device: str) -> str:
    import torch

    number = int(device.partition(":")[2] or 0)
    return f"the GPUs are numbered 0 to {count - 1}" if 0 < (count := torch.cuda.device_count()) <= number else ""


def _why_too_new(torch: Any) -> str:
    """Why PyTorch has no code for an NVIDIA GPU that it sees; "" if it has."""
    major, minor = torch.cuda.get_device_capability()
    built_for = torch.cuda.get_arch_list()
    if not built_for or any(_serves(arch, major, minor) for arch in built_for):
        return ""
    return f"PyTorch {torch.__version__} was not built for the GPU {torch.cuda.get_device_name()} (sm_{major}{minor})"


def _serves(arch: str, major: int, minor: int) -> bool:
    """Whether code built for ``arch`` ("sm_86", "compute_90") runs on a GPU of that compute capability."""
    kind, _, digits = arch.rstrip("af").partition("_")
    built_major, built_minor = int(digits[:-1]), int(digits[-1])
    if kind == "compute":  # compiled for the GPU when it is loaded
        return (built_major, built_minor) <= (major, minor)
    return built_major == major and built_minor <= minor


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
        raise ValueError(f"the network needs OpenVINO (pip install openvino) or {TORCH} (pip install -U torch)")
    return wanted
