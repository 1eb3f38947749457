"""Overlapping tiles of a volume, and how their results are blended into one.

Tile corners lie on multiples of the network's size divisor, so that the coarser grids of the attention maps are cut at
whole voxels. Weights fall from a tile's middle, which sees the most of its surroundings, to its border, and are divided
by their sum, so a constant comes back as the same constant in every voxel, whatever the tiling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..volume import Triple, triple

BELL_WIDTH = 0.15  # standard deviation of the weights, in tile lengths


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
        """Tiles of ``edge`` voxels per axis, or of the volume's size where that is less."""
        longest = max(divisor, edge // divisor * divisor)
        return cls(shape, triple(min(size, longest) for size in shape), divisor)

    def starts(self) -> list[Triple]:
        """First voxel of every tile; they are spread evenly."""
        return list(product(*triple(map(self._starts_along, self.shape, self.tile))))

    def _starts_along(self, size: int, tile: int) -> list[int]:
        room = (size - tile) // self.divisor
        stride = max(1, tile * 2 // 3 // self.divisor)
        count = math.ceil(room / stride) + 1
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
    """Weights in (0, 1] of a tile's voxels (D, H, W): a bell along each axis, highest in the middle."""
    bells = []
    for size in shape:
        from_middle = (np.arange(size) - (size - 1) / 2) / size
        bells.append(np.exp(-0.5 * (from_middle / BELL_WIDTH) ** 2).astype(np.float32))
    return bells[0][:, None, None] * bells[1][None, :, None] * bells[2][None, None, :]
