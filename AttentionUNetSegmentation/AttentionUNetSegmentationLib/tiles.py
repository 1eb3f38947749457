"""Overlapping tiles of a volume, and how their results are blended into one.

Tile corners lie on multiples of the network's size divisor, so that the coarser grids of the attention maps are cut at
whole voxels. Weights fall linearly from a tile's middle to its border and are divided by their sum, so a constant comes
back as the same constant in every voxel, whatever the tiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Tiling:
    """Where the tiles of a volume begin.

    Attributes:
        shape: The volume's shape (D, H, W), multiples of ``divisor``.
        tile: A tile's shape, multiples of ``divisor``, no larger than the volume.
        divisor: Corners are multiples of this.
    """

    shape: Triple
    tile: Triple
    divisor: int = 16

    def __post_init__(self) -> None:
        for name in ("shape", "tile"):
            if any(size < 1 or size % self.divisor for size in getattr(self, name)):
                raise ValueError(f"{name} must hold multiples of {self.divisor}, got {getattr(self, name)}")
        if any(tile > size for tile, size in zip(self.tile, self.shape, strict=True)):
            raise ValueError(f"a tile of {self.tile} does not fit into {self.shape}")

    @classmethod
    def of_at_most(cls, shape: Triple, edge: int, divisor: int = 16) -> Tiling:
        """Tiles of at most ``edge`` voxels along each axis."""
        longest = max(divisor, edge // divisor * divisor)
        return cls(shape, tuple(min(size, longest) for size in shape), divisor)

    def starts(self) -> list[Triple]:
        """First voxel of every tile; neighbours overlap by a third of a tile or more."""
        return list(product(*map(self._starts_along, self.shape, self.tile)))

    def _starts_along(self, size: int, tile: int) -> list[int]:
        room = (size - tile) // self.divisor
        stride = max(1, tile * 2 // 3 // self.divisor)
        count = -(-room // stride) + 1
        return [round(n * room / max(1, count - 1)) * self.divisor for n in range(count)]


class Blend:
    """Weighted mean of tile results on one grid.

    Args:
        channels: Channels of the result.
        shape: (D, H, W) of the result.
    """

    def __init__(self, channels: int, shape: Sequence[int]) -> None:
        self._sum = np.zeros((channels, *shape), dtype=np.float32)
        self._weight = np.zeros(tuple(shape), dtype=np.float32)

    def add(self, part: np.ndarray, start: Sequence[int]) -> None:
        """Add a tile's result (C, d, h, w) whose first voxel is ``start``."""
        weight = tile_weights(part.shape[1:])
        region = tuple(slice(first, first + size) for first, size in zip(start, part.shape[1:], strict=True))
        self._sum[(slice(None), *region)] += part * weight
        self._weight[region] += weight

    def result(self) -> np.ndarray:
        """The blended result (C, D, H, W).

        Raises:
            ValueError: If a voxel was covered by no tile.
        """
        if not (self._weight > 0).all():
            raise ValueError("the tiles do not cover the volume")
        return self._sum / self._weight


def tile_weights(shape: Sequence[int]) -> np.ndarray:
    """Weights in (0, 1] of a tile's voxels (D, H, W): a ramp along each axis, highest in the middle."""
    ramps = []
    for size in shape:
        distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
        ramps.append((distance / distance.max()).astype(np.float32))
    return ramps[0][:, None, None] * ramps[1][None, :, None] * ramps[2][None, None, :]
