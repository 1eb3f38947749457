"""One seeded source of all randomness of a sample; the global random states stay untouched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .separable import apply_separable


class Randomness:
    """Random draws of one sample, a pure function of the seed.

    Args:
        seed: Any non-negative integer.

    Raises:
        ValueError: If the seed is negative.
    """

    def __init__(self, seed: int) -> None:
        """Seed the scalar generator (numpy) and the field generator (torch) from one number."""
        if seed < 0:
            raise ValueError(f"A seed must not be negative, got {seed}.")
        self._seed = seed
        scalar_seed, field_seed = np.random.SeedSequence(seed).generate_state(2, dtype=np.uint64)
        self._scalars = np.random.default_rng(scalar_seed)
        self._fields = torch.Generator().manual_seed(int(field_seed) >> 1)

    def branch(self, name: str) -> Randomness:
        """Return an independent source, a pure function of seed and name: drawing from it changes no other draw."""
        return Randomness(int(np.random.SeedSequence([self._seed, *name.encode()]).generate_state(1)[0]))

    def uniform(self, low: float, high: float) -> float:
        """Draw from the uniform distribution on [low, high]."""
        return float(self._scalars.uniform(low, high))

    def normal(self, standard_deviation: float) -> float:
        """Draw from the normal distribution around zero."""
        return float(self._scalars.normal(0.0, standard_deviation))

    def gamma(self, shape: float, scale: float) -> float:
        """Draw from the gamma distribution."""
        return float(self._scalars.gamma(shape, scale))

    def beta(self, first: float, second: float) -> float:
        """Draw from the beta distribution."""
        return float(self._scalars.beta(first, second))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return bool(self._scalars.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """Draw an integer in [low, high], both included."""
        return int(self._scalars.integers(low, high, endpoint=True))

    def pick(self, weights: Mapping[str, float]) -> str:
        """Draw one key with probability proportional to its weight."""
        names = list(weights)
        shares = np.array([weights[name] for name in names], dtype=float)
        return names[int(self._scalars.choice(len(names), p=shares / shares.sum()))]

    def white_noise(self, shape: Sequence[int]) -> torch.Tensor:
        """Return independent standard normal values, float32, of the given shape."""
        return torch.randn(tuple(shape), generator=self._fields)

    def smooth_noise(self, shape_kji: Sequence[int], correlation_vox: float | Sequence[float]) -> torch.Tensor:
        """Return a smooth Gaussian random field: mean 0, standard deviation 1 at every voxel.

        White noise on a coarse grid is spread by Gaussians whose weights have unit Euclidean norm at every voxel, so
        no voxel is more variable than another.

        Args:
            shape_kji: Shape of the field.
            correlation_vox: Distance at which values are nearly independent, in voxels, one for all axes or one each.

        Returns:
            (K, J, I) float32.
        """
        lengths = [correlation_vox] * 3 if isinstance(correlation_vox, int | float) else list(correlation_vox)
        if max(lengths) <= 1:
            return self.white_noise(shape_kji)
        spreads = [self._spreading_matrix(size, length) for size, length in zip(shape_kji, lengths, strict=True)]
        coarse = self.white_noise(
            [size if matrix is None else matrix.shape[1] for size, matrix in zip(shape_kji, spreads, strict=True)]
        )
        return apply_separable(coarse, tuple(spreads))

    def _spreading_matrix(self, size: int, correlation_vox: float) -> torch.Tensor | None:
        if correlation_vox <= 1:
            return None
        step = correlation_vox / 2
        count = math.ceil(size / step) + 5  # some lie beyond both ends, so that edges vary like the middle
        knots = (torch.arange(count) - 2 - self.uniform(0, 1)) * step
        distance = (torch.arange(size)[:, None] - knots[None]) / step
        weights = torch.exp(-0.5 * distance**2)
        return weights / weights.norm(dim=1, keepdim=True)
