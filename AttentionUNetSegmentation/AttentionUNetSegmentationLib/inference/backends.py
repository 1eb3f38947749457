"""What every way to run one forward pass offers; ``torch_backend.py`` and ``openvino_backend.py`` are the ways."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..monitor import Monitor

HALO = 2  # slices that two 3x3x3 convolutions see to either side
SLAB_SLICES = 24  # that are computed at a time: thinner slabs compute more twice, thicker ones need more memory
Output = tuple[np.ndarray, dict[str, np.ndarray]]


class Backend(Protocol):
    """One way to run a forward pass.

    Attributes:
        name: "torch" or "openvino".
        device: "cpu", "cuda", "cuda:1", "mps".
    """

    name: str
    device: str

    def run(self, image: np.ndarray, monitor: Monitor, in_slabs: bool = False) -> Output:
        """Run the network.

        Args:
            image: (D, H, W) float32, normalised; sizes are multiples of the network's divisor.
            monitor: Progress and cancellation.
            in_slabs: Compute full resolution in slabs: the same result in less memory.

        Returns:
            Logits (C, D, H, W) and the attention coefficients by name, each (d, h, w), all float32 on the CPU.

        Raises:
            Cancelled: When asked to stop.
        """
        ...

    def free(self) -> None:
        """Give back the device's memory that is kept for the next run."""
        ...
