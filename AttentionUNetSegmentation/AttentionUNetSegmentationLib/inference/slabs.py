"""One pass over a whole volume in which the finest scales are computed in slabs of slices, in a fraction of the memory.

Most memory of a forward pass is taken by the first two scales. A voxel of an encoder or decoder block depends on its
neighbours up to two voxels away only, so those blocks can be computed slab by slab with two slices more on either side:
first the encoder blocks, of which the skip connections and the pooled features are kept; then all coarser scales whole;
then the gates, decoder blocks and logits. The result is that of ``UNet.forward`` up to rounding.

Images and features are arrays or tensors (1, C, D, H, W); scales are counted from 1, full resolution.
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
Decoded = tuple[Features, Sequence[Features], Mapping[str, Features]]
"""Decoder features of a scale; the parts of the output of this scale and all coarser ones, each at its own resolution,
fine to coarse; the attention coefficients by name."""

GATE_HALO = 2  # slices that a gate's upsampled coefficients see to either side, made even for its stride
ENCODER_SHARES, COARSER_SHARE, DECODER_SHARES = (0.2, 0.08), 0.2, (0.32, 0.2)  # of the time, for the progress


class Parts(Protocol):
    """A network in parts, run by one backend.

    Attributes:
        scales_in_slabs: How many scales, counted from the finest, are run in slabs.
    """

    scales_in_slabs: int

    def encoder(self, scale: int, x: Features, kept: Ends, pooled: Ends) -> tuple[Features, Features]:
        """An encoder block on some slices; slices ``kept`` of its output, and slices ``pooled`` pooled."""
        ...

    def coarser_scales(self, x: Features) -> Decoded:
        """Everything below the scales that are run in slabs, from the pooled features."""
        ...

    def decoder(self, scale: int, skip: Features, features: Features, upsampled: Ends, kept: Ends) -> Decoded:
        """The gate and the decoder block of a scale but the first, on some slices.

        Args:
            scale: 2 or more.
            skip: Slices of the skip connection, an even number from an even slice on.
            features: The slices of the coarser scale's features that reach them.
            upsampled: Which slices of the upsampled features belong to the skip connection's.
            kept: Which slices of the block's output are wanted.
        """
        ...

    def output(
        self, skip: Features, features: Features, upsampled: Ends, kept: Ends, scores: Sequence[tuple[Features, Ends]]
    ) -> Features:
        """The first decoder block and the logits, on some slices.

        Args:
            skip: Slices of the skip connection.
            features: The slices of scale 2 that reach them.
            upsampled: Which slices of the upsampled features belong to the skip connection's.
            kept: Which slices of the block's output are wanted.
            scores: Slices of each coarser scale's part, and which of the upsampled ones are wanted.
        """
        ...

    def join(self, slabs: Sequence[Features]) -> Features:
        """Consecutive slabs as one."""
        ...


def scales_in_slabs(num_scales: int) -> int:
    """How many scales are run in slabs; what is left has a decoder block, whose features steer the next gate."""
    return max(1, min(2, num_scales - 2))


def run_in_slabs(
    parts: Parts, image: Features, monitor: Monitor, slab_voxels: int = SLAB_VOXELS
) -> tuple[Features, Mapping[str, Features]]:
    """Run a network.

    Args:
        parts: The network.
        image: (1, C, D, H, W); sizes are multiples of the network's divisor.
        monitor: Told the progress.
        slab_voxels: About so many voxels of full resolution are finished at a time.

    Returns:
        The logits, and the attention coefficients by name.
    """
    progress = _Progress(monitor)
    slabs = _slabs(1, image, slab_voxels)
    skips, pooled = _encode(parts, 1, image, slabs, progress)
    features, scores, attention = _coarser(parts, 2, pooled, slab_voxels, progress)
    logits = []
    for n, slab in enumerate(slabs):
        rows, upsampled = _rows(features, slab.depth, slab.skip)
        wanted = [_rows(part, slab.depth, slab.own) for part in scores]
        logits.append(parts.output(skips[n], rows, upsampled, slab.from_skip(), wanted))
        skips[n] = None  # gives its memory back
        progress.advance(DECODER_SHARES[0] / len(slabs))
    return parts.join(logits), attention


def _coarser(parts: Parts, scale: int, x: Features, slab_voxels: int, progress: _Progress) -> Decoded:
    """A scale and all below it, from its encoder block's input."""
    if scale > parts.scales_in_slabs:
        decoded = parts.coarser_scales(x)
        progress.advance(COARSER_SHARE)
        return decoded
    slabs = _slabs(scale, x, slab_voxels)
    skips, pooled = _encode(parts, scale, x, slabs, progress)
    below, coarser_scores, coarser_attention = _coarser(parts, scale + 1, pooled, slab_voxels, progress)
    features, scores, attention = [], [], []
    for n, slab in enumerate(slabs):
        rows, upsampled = _rows(below, slab.depth, slab.skip)
        decoded = parts.decoder(scale, skips[n], rows, upsampled, slab.from_skip())
        features.append(decoded[0])
        scores.append(decoded[1][0])
        attention.append(decoded[2])
        skips[n] = None
        progress.advance(DECODER_SHARES[scale - 1] / len(slabs))
    joined = {name: parts.join([part[name] for part in attention]) for name in attention[0]}
    return parts.join(features), [parts.join(scores), *coarser_scores], {**joined, **coarser_attention}


def _encode(
    parts: Parts, scale: int, x: Features, slabs: Sequence[_Slab], progress: _Progress
) -> tuple[list[Features], Features]:
    """Each slab's slices of the skip connection, and the pooled features of all."""
    skips, pooled = [], []
    for slab in slabs:
        skip, part = parts.encoder(scale, x[:, :, slice(*slab.seen)], *slab.from_seen())
        skips.append(skip)
        pooled.append(part)
        progress.advance(ENCODER_SHARES[scale - 1] / len(slabs))
    return skips, parts.join(pooled)


class _Progress:
    def __init__(self, monitor: Monitor) -> None:
        self._monitor, self._done = monitor, 0.0

    def advance(self, share: float) -> None:
        self._done += share
        self._monitor.update(min(1.0, self._done))


def _slabs(scale: int, x: Features, slab_voxels: int) -> list[_Slab]:
    """Slabs of a scale; its voxels have about twice the channels of the next finer one's."""
    depth = int(x.shape[2])
    thickness = max(2, slab_voxels // 2 ** (scale - 1) // math.prod(x.shape[3:]) // 2 * 2)  # even, as pooling needs
    halo = HALO if scale == 1 else HALO + GATE_HALO
    return [_Slab(start, min(start + thickness, depth), depth, halo) for start in range(0, depth, thickness)]


class _Slab:
    """Slices that are finished together, and what is needed of their neighbours."""

    def __init__(self, start: int, stop: int, depth: int, halo: int) -> None:
        self.depth = depth
        self.own = start, stop
        self.skip = max(start - halo, 0), min(stop + halo, depth)  # for the decoder block and its gate
        self.seen = max(self.skip[0] - HALO, 0), min(self.skip[1] + HALO, depth)  # for the encoder block to give that

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
