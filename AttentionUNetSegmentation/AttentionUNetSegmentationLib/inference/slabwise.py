"""The whole volume in one pass with about a third of the memory: the first scale is computed in slabs, twice.

Most memory of a forward pass is taken by full resolution. A voxel of the first encoder or decoder block depends on its
neighbours up to two voxels away only, so those blocks can be computed slab by slab with two voxels more on either side:
first the encoder block, of which only the pooled result is kept; then all coarser scales as usual; then encoder block,
decoder block and scores slab by slab again. The result is that of ``UNet.forward`` up to rounding.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..volume import Triple, triple
from .network import UNet

SLAB = 16  # slices that are finished at a time; even, as pooling needs
HALO = 2  # slices more on either side: two 3x3x3 convolutions


class SlabwiseUNet(nn.Module):
    """A trained network of this family, run in slabs along the first spatial axis; for inference only.

    Args:
        network: ``UNet`` or ``AttentionUNet`` in evaluation mode.
        slab: Slices per slab, an even number.

    Raises:
        ValueError: If ``slab`` is odd or below 2.
    """

    def __init__(self, network: UNet, slab: int = SLAB) -> None:
        super().__init__()
        if slab < 2 or slab % 2:
            raise ValueError(f"slab must be an even number of at least 2, got {slab}")
        self.network, self.slab = network, slab

    def forward(self, x: Tensor) -> tuple[Tensor, OrderedDict[str, Tensor]]:
        """See ``UNet.forward``."""
        divisor = self.network.size_divisor
        if any(size % divisor for size in x.shape[2:]):
            raise ValueError(f"spatial sizes must be multiples of {divisor}, got {tuple(x.shape[2:])}")
        features, scores, attention = self.network.below_full_resolution(self._pooled(x))
        parts = [self._logits(x, features, scores, *ends) for ends in self._slabs(x.shape[2])]
        return torch.cat(parts, dim=2), attention

    def _slabs(self, depth: int) -> list[tuple[int, int]]:
        return [(start, min(start + self.slab, depth)) for start in range(0, depth, self.slab)]

    def _pooled(self, x: Tensor) -> Tensor:
        parts = [F.max_pool3d(self._skip(x, *ends), kernel_size=2) for ends in self._slabs(x.shape[2])]
        return torch.cat(parts, dim=2)

    def _skip(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop`` of the first encoder block's output."""
        low, high = max(start - HALO, 0), min(stop + HALO, x.shape[2])
        return self.network.encoder[0](x[:, :, low:high])[:, :, start - low : stop - low]

    def _logits(self, x: Tensor, features: Tensor, scores: list[Tensor], start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop`` of the mixed output."""
        size = triple(x.shape[2:])
        low, high = max(start - HALO, 0), min(stop + HALO, size[0])
        upsampled = interpolated_slices(features, size, low, high)
        top = self.network.full_resolution_scores(self._skip(x, low, high), upsampled)[:, :, start - low : stop - low]
        coarse = [interpolated_slices(part, size, start, stop) for part in scores]
        return self.network.mix(torch.cat([top, *coarse], dim=1))


def interpolated_slices(x: Tensor, size: Triple, start: int, stop: int) -> Tensor:
    """Slices ``start`` to ``stop`` of ``x`` interpolated linearly to ``size``.

    Args:
        x: (N, C, d, h, w).
        size: (D, H, W) of the whole result; D / d must be a whole number.
        start: First slice wanted.
        stop: The slice after the last one wanted.
    """
    factor, rest = divmod(size[0], x.shape[2])
    if rest:
        raise ValueError(f"{size[0]} slices are no multiple of {x.shape[2]}")
    low = max(start // factor - 1, 0)  # an interpolated slice sees one source slice to either side
    high = min(-(-stop // factor) + 1, x.shape[2])
    part = F.interpolate(
        x[:, :, low:high], size=((high - low) * factor, *size[1:]), mode="trilinear", align_corners=False
    )
    return part[:, :, start - low * factor : stop - low * factor]
