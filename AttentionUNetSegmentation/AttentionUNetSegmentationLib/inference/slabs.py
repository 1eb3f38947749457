"""One pass over a whole volume in which full resolution is computed in slabs of slices, in half the memory.

Most memory of a forward pass is taken by full resolution. A voxel of the first encoder or decoder block depends on
its neighbours up to two voxels away only, so those blocks can be computed slab by slab with two slices more on either
side: first the encoder block, of which the skip connection and the pooled features are kept; then all coarser scales
whole; then the decoder block and the logits. The result is that of ``UNet.forward`` up to rounding.

Images and features are arrays or tensors (1, C, D, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..monitor import Monitor
from .backends import HALO, SLAB_VOXELS

Features = Any  # an array or a tensor
Ends = tuple[int, int]
"""The first slice of a part, and the one after its last."""

ENCODER_SHARE, COARSER_SHARE = 0.2, 0.4  # of the time, for the progress


class Parts(Protocol):
    """A network in three parts, run by one backend."""

    def encoder(self, image: Features, kept: Ends, pooled: Ends) -> tuple[Features, Features]:
        """The first encoder block on some slices; slices ``kept`` of its output, and slices ``pooled`` pooled."""
        ...

    def coarser_scales(self, pooled: Sequence[Features]) -> tuple[Features, Sequence[Features], Mapping[str, Any]]:
        """Everything below full resolution.

        Args:
            pooled: The pooled features in consecutive slabs.

        Returns:
            Decoder features of scale 2; each coarser scale's part of the output at its own resolution, fine to
            coarse; the attention coefficients by name.
        """
        ...

    def decoder(
        self, skip: Features, features: Features, upsampled: Ends, kept: Ends, scores: Sequence[tuple[Features, Ends]]
    ) -> Features:
        """The first decoder block and the logits.

        Args:
            skip: Slices of the skip connection.
            features: The slices of scale 2 that reach them.
            upsampled: Which slices of the upsampled features belong to the skip connection's.
            kept: Which slices of the block's output are wanted.
            scores: Slices of each coarser scale's part, and which of the upsampled ones are wanted.
        """
        ...


def run_in_slabs(
    parts: Parts, image: Features, monitor: Monitor, slab_voxels: int = SLAB_VOXELS
) -> tuple[list[Features], Mapping[str, Any]]:
    """Run a network.

    Args:
        parts: The network.
        image: (1, C, D, H, W); sizes are multiples of the network's divisor.
        monitor: Told the progress.
        slab_voxels: About so many voxels are finished at a time.

    Returns:
        The logits in consecutive slabs, and the attention coefficients by name.
    """
    depth = int(image.shape[2])
    thickness = max(2, slab_voxels // math.prod(image.shape[3:]) // 2 * 2)  # even, as pooling needs
    slabs = [_Slab(start, min(start + thickness, depth), depth) for start in range(0, depth, thickness)]
    skips, pooled = [], []
    for n, slab in enumerate(slabs):
        skip, part = parts.encoder(image[:, :, slice(*slab.seen)], *slab.from_seen())
        skips.append(skip)
        pooled.append(part)
        monitor.update(ENCODER_SHARE * (n + 1) / len(slabs))
    features, scores, attention = parts.coarser_scales(pooled)
    begun = ENCODER_SHARE + COARSER_SHARE
    monitor.update(begun)
    logits = []
    for n, slab in enumerate(slabs):
        rows, upsampled = _rows(features, depth, slab.skip)
        wanted = [_rows(part, depth, slab.own) for part in scores]
        logits.append(parts.decoder(skips[n], rows, upsampled, slab.from_skip(), wanted))
        skips[n] = None  # gives its memory back
        monitor.update(begun + (1 - begun) * (n + 1) / len(slabs))
    return logits, attention


class _Slab:
    """Slices that are finished together, and what is needed of their neighbours."""

    def __init__(self, start: int, stop: int, depth: int) -> None:
        self.own = start, stop
        self.skip = max(start - HALO, 0), min(stop + HALO, depth)  # for the decoder block
        self.seen = max(start - 2 * HALO, 0), min(stop + 2 * HALO, depth)  # for the encoder block to give that

    def from_seen(self) -> tuple[Ends, Ends]:
        return _counted_from(self.seen[0], self.skip), _counted_from(self.seen[0], self.own)

    def from_skip(self) -> Ends:
        return _counted_from(self.skip[0], self.own)


def _rows(coarse: Features, depth: int, wanted: Ends) -> tuple[Features, Ends]:
    """The coarse slices that the wanted upsampled ones depend on, and where these are when only those are upsampled."""
    factor = depth // int(coarse.shape[2])
    low = max(wanted[0] // factor - 1, 0)
    high = -(-wanted[1] // factor) + 1
    return coarse[:, :, low:high], _counted_from(low * factor, wanted)


def _counted_from(first: int, ends: Ends) -> Ends:
    return ends[0] - first, ends[1] - first
