"""What happens at the gates during a forward pass: coefficients, and features before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from AttentionUNetSegmentationLib.imaging.postprocessing import attention_volumes
from AttentionUNetSegmentationLib.imaging.preprocessing import NetworkInput
from AttentionUNetSegmentationLib.inference.network import AttentionUNet
from AttentionUNetSegmentationLib.inference.prediction import pad_to_multiple
from AttentionUNetSegmentationLib.volume import Volume


@dataclass(frozen=True)
class Recording:
    """The gates of one network on one case.

    Features are shown as their magnitude: the mean over the channels of the absolute values.

    Attributes:
        coefficients: Map (``s2-1`` ...) -> coefficients in [0, 1] on the gate's grid.
        before: Gate (``s2`` ...) -> magnitude of the skip connection's features as they enter the gate.
        after: Gate -> magnitude of the gate's output, which the decoder takes.
        strides: Map or gate -> voxels of the network's grid per voxel, along D, H, W.
    """

    coefficients: dict[str, Volume]
    before: dict[str, Volume]
    after: dict[str, Volume]
    strides: dict[str, tuple[int, int, int]]

    @property
    def gates(self) -> list[str]:
        """Gates, fine to coarse."""
        return list(self.before)

    def maps_of(self, gate: str) -> list[str]:
        """The gate's coefficient maps, one per sub-gate."""
        return [name for name in self.coefficients if name.partition("-")[0] == gate]


def record(network: AttentionUNet, network_input: NetworkInput, device: str = "cpu") -> Recording:
    """Run a network as far as its gates go, and keep what enters and leaves them.

    The exact tensors are taken at the gates while the network runs. Its batch norms do what its mode says: running
    statistics in evaluation mode, those of this case in training mode.

    Args:
        network: The network; not changed, but for running statistics in training mode.
        network_input: The CT on the network's grid; padded here as the engine pads.
        device: Where to run.
    """
    before: dict[str, np.ndarray] = {}
    after: dict[str, np.ndarray] = {}
    network = network.to(device)

    def hook(name: str):
        def keep(gate: nn.Module, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, list[Tensor]]) -> None:
            before[name], after[name] = _magnitude(inputs[0]), _magnitude(outputs[0])

        return keep

    handles = [gate.register_forward_hook(hook(name)) for name, gate in network.gates.items()]
    padded = pad_to_multiple(network_input.image, network.size_divisor)
    x = torch.from_numpy(np.ascontiguousarray(padded))[None, None].to(device)
    try:
        with torch.inference_mode():  # all but the decoder at full resolution, which comes after the gates
            _, _, attention = network.scales_from(2, F.max_pool3d(network.encoder[0](x), kernel_size=2))
    finally:
        for handle in handles:
            handle.remove()
    coefficients = {name: alpha[0, 0].float().cpu().numpy() for name, alpha in attention.items()}
    arrays = [coefficients, *({name: kept[name] for name in network.gates} for kept in (before, after))]
    strides = {name: _stride(padded.shape, array.shape) for group in arrays for name, array in group.items()}
    inside, entering, leaving = (_volumes(group, strides, network_input) for group in arrays)
    return Recording(inside, entering, leaving, strides)


def _stride(fine: tuple[int, ...], coarse: tuple[int, ...]) -> tuple[int, int, int]:
    d, h, w = (size // small for size, small in zip(fine, coarse, strict=True))
    return d, h, w


def _magnitude(features: Tensor) -> np.ndarray:
    """(1, C, d, h, w) -> (d, h, w): mean of the absolute values over the channels."""
    return features[0].abs().mean(dim=0).float().cpu().numpy()


def _volumes(
    arrays: dict[str, np.ndarray], strides: dict[str, tuple[int, int, int]], network_input: NetworkInput
) -> dict[str, Volume]:
    """Without the padding, in place."""
    cropped = {name: array[_region(network_input.grid.shape_kji, strides[name])] for name, array in arrays.items()}
    return attention_volumes(cropped, strides, network_input.grid)


def _region(shape: Sequence[int], strides: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(0, -(-size // stride)) for size, stride in zip(shape, strides, strict=True))
