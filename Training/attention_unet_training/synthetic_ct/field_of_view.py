"""The part of the body that the scan covers: slabs along z with replicated edges, circles in plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .config import FieldOfViewConfig
from .randomness import Randomness


@dataclass(frozen=True)
class Slab:
    """First and last slice that show anatomy, both included; slices beyond repeat them."""

    first: int
    last: int

    def replicate(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the volume (K, J, I) with the slices beyond the slab replaced by its edge slices."""
        size = volume.shape[0]
        if (self.first, self.last) == (0, size - 1):
            return volume
        return volume[torch.arange(size).clamp(self.first, self.last)]


def valid_slab(source_z_mm: torch.Tensor, length_mm: float, smallest_share: float) -> Slab:
    """Return the slices of which at least the given share comes from inside the anatomy's extent along z.

    Args:
        source_z_mm: (K, J, I) z coordinate in the anatomy.
        length_mm: Extent of the anatomy, from the centre of the first slice to that of the last.
        smallest_share: Share of a slice's voxels in [0, 1].
    """
    margin_mm = 1.0
    share = ((source_z_mm >= -margin_mm) & (source_z_mm <= length_mm + margin_mm)).float().mean((1, 2))
    best = int(share.argmax())
    valid = share >= min(smallest_share, float(share[best]))
    first = last = best
    while first > 0 and valid[first - 1]:
        first -= 1
    while last < len(valid) - 1 and valid[last + 1]:
        last += 1
    return Slab(first, last)


def draw_slab(valid: Slab, spacing_mm: float, config: FieldOfViewConfig, randomness: Randomness) -> Slab:
    """Cut the valid slab at the top, at the bottom, or down to a thin slab."""
    first, last = valid.first, valid.last
    count = last - first + 1
    if randomness.chance(config.thin_slab_probability):
        thickness = min(max(1, round(config.thin_slab_mm.draw(randomness) / spacing_mm)), count)
        first = randomness.integer(first, last - thickness + 1)
        return Slab(first, first + thickness - 1)
    largest = int(count * config.largest_cut_share)
    if randomness.chance(config.cut_bottom_probability):
        first += randomness.integer(0, largest)
    if randomness.chance(config.cut_top_probability):
        last -= randomness.integer(0, largest)
    return Slab(first, max(first, last))


def draw_circle(
    shape_kji: tuple[int, int, int], config: FieldOfViewConfig, randomness: Randomness
) -> torch.Tensor | None:
    """Return the (J, I) mask outside a circular field, or None."""
    if not randomness.chance(config.circle_probability):
        return None
    rows, columns = shape_kji[1:]
    dy = torch.arange(rows) - rows / 2 + config.circle_off_centre_share.draw(randomness) * rows
    dx = torch.arange(columns) - columns / 2 + config.circle_off_centre_share.draw(randomness) * columns
    radius = config.circle_radius_share.draw(randomness) * max(rows, columns)
    return torch.hypot(dy[:, None], dx[None]) > radius
