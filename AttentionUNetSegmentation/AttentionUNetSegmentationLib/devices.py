"""What devices and backends are called where people read it; options and reports have short names."""

from __future__ import annotations

NAMES = {"cpu": "CPU", "cuda": "CUDA GPU", "mps": "Apple GPU"}
BACKEND_NAMES = {"torch": "PyTorch", "openvino": "OpenVINO"}


def device_name(device: str) -> str:
    """The name to show for "cpu", "cuda", "cuda:1" or "mps"; of any other device its own."""
    kind, colon, index = device.partition(":")
    return f"{NAMES[kind]}{colon and ' '}{index}" if kind in NAMES else device


def backend_name(backend: str) -> str:
    """The name to show for "torch" or "openvino"; of any other backend its own."""
    return BACKEND_NAMES.get(backend, backend)
