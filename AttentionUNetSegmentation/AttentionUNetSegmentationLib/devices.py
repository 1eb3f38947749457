"""What a device is called where people read it; options and reports name it as PyTorch does."""

from __future__ import annotations

NAMES = {"cpu": "CPU", "cuda": "CUDA GPU", "mps": "Apple GPU"}


def device_name(device: str) -> str:
    """The name to show for "cpu", "cuda", "cuda:1" or "mps"; of any other device its own."""
    kind, colon, index = device.partition(":")
    return f"{NAMES[kind]}{colon and ' '}{index}" if kind in NAMES else device
