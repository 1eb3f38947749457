"""One pass over a whole volume in which the finest scales are computed in slabs of slices, in a fraction of the memory.

Most memory of a forward pass is taken by the first scales. A voxel of an encoder or decoder block depends on its
neighbours up to two voxels away only, so those blocks can be computed slab by slab with two slices more on either side:
first the encoder blocks, of which the skip connections and the pooled features are kept; then all coarser scales whole;
then the gates, decoder blocks and logits. The result is that of ``UNet.forward`` up to rounding.

Images and features are arrays or tensors (1, C, D, H, W); scales are counted from 1, full resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..monitor import Monitor
from .backends import HALO, SLAB_SLICES

Features = Any  # an array or a tensor
Ends = tuple[int, int]
"""The first slice of a part, and the one after its last."""
Decoded = tuple[Features, Sequence[Features], Mapping[str, Features]]
"""Decoder features of a scale; the parts of the output of this scale and all coarser ones, each at its own resolution,
fine to coarse; the attention coefficients by name."""

GATE_HALO = 2  # slices that a gate's upsampled coefficients see to either side, made even for its stride
MOST_SCALES = 3  # in slabs
SLAB_WORK = 80e9  # multiply-accumulates of a slab that cannot be interrupted, about 1.6 s on two CPU cores
ENCODER_SHARES, COARSER_SHARE, DECODER_SHARES = (0.2, 0.08, 0.05), 0.1, (0.3, 0.2, 0.07)  # of the time


@dataclass(frozen=True)
class DecoderEnds:
    """How the slices that a gate and its decoder block get fit together.

    Attributes:
        gating: Which of the features lie below the skip connection's slices.
        block: Which slices of the filtered skip connection the block gets.
        upsampled: Which slices of the upsampled features belong to those.
        kept: Which slices of the block's output are wanted.
    """

    gating: Ends
    block: Ends
    upsampled: Ends
    kept: Ends


class Parts(Protocol):
    """A network in parts, run by one backend.

    Attributes:
        scales_in_slabs: How many scales, counted from the finest, are run in slabs.
        work_per_slice: Multiply-accumulates of a slice, where a slab cannot be interrupted; 0 where it can.
    """

    scales_in_slabs: int
    work_per_slice: float

    def encoder(self, scale: int, x: Features, kept: Ends) -> tuple[Features, Features]:
        """Slices ``kept`` of an encoder block's output on some slices, and the same pooled."""
        ...

    def coarser_scales(self, x: Features) -> Decoded:
        """Everything below the scales that are run in slabs, from the pooled features."""
        ...

    def decoder(self, scale: int, skip: Features, features: Features, ends: DecoderEnds) -> Decoded:
        """The gate and the decoder block of a scale but the first, on some slices.

        Args:
            scale: 2 or more.
            skip: Slices of the skip connection, an even number from an even slice on.
            features: The slices of the coarser scale's features that reach them.
            ends: How these fit together.
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
    return max(1, min(MOST_SCALES, num_scales - 2))


def slices_at_a_time(work_per_slice: float) -> int:
    """How many slices are finished together, an even number: few where the network or its planes are large."""
    slices = int(SLAB_WORK / max(1.0, work_per_slice)) - 2 * HALO
    return max(2, min(slices // 2 * 2, SLAB_SLICES))


def run_in_slabs(parts: Parts, image: Features, monitor: Monitor) -> tuple[Features, Mapping[str, Features]]:
    """Run a network.

    Args:
        parts: The network.
        image: (1, C, D, H, W); sizes are multiples of the network's divisor.
        monitor: Told the progress.

    Returns:
        The logits, and the attention coefficients by name.
    """
    run = _Run(parts, monitor)
    logits, attention = run.whole(_Pieces(parts, [image]))
    return logits.joined(), {name: pieces.joined() for name, pieces in attention.items()}


class _Pieces:
    """Consecutive slabs of an array, which give their memory back one by one."""

    def __init__(self, parts: Parts, pieces: Sequence[Features] = ()) -> None:
        self._parts = parts
        self._pieces: list[Features] = []
        self._starts = [0]
        for piece in pieces:
            self.append(piece)

    @property
    def depth(self) -> int:
        return self._starts[-1]

    def append(self, piece: Features) -> None:
        self._pieces.append(piece)
        self._starts.append(self._starts[-1] + int(piece.shape[2]))

    def slices(self, ends: Ends) -> Features:
        wanted = []
        for start, piece in zip(self._starts[:-1], self._pieces, strict=True):
            low, high = max(ends[0] - start, 0), ends[1] - start
            if piece is not None and high > 0 and low < piece.shape[2]:
                wanted.append(piece[:, :, low:high])
        return self._parts.join(wanted)

    def joined(self) -> Features:
        return self._parts.join(self._pieces)

    def drop_before(self, index: int) -> None:
        for n, end in enumerate(self._starts[1:]):
            if end <= index:
                self._pieces[n] = None


_DecodedPieces = tuple[_Pieces, list[_Pieces], dict[str, _Pieces]]


class _Run:
    def __init__(self, parts: Parts, monitor: Monitor) -> None:
        self._parts, self._monitor = parts, monitor
        self._done = 0.0

    def whole(self, image: _Pieces) -> tuple[_Pieces, dict[str, _Pieces]]:
        slabs = self._slabs(image)
        skips, pooled = self._encoded(1, image, slabs)
        features, scores, attention = self._from(2, pooled)
        logits = _Pieces(self._parts)
        for own in slabs:
            around = _widened(own, HALO, image.depth)
            skips.drop_before(around[0])
            rows, upsampled = _rows(features, image.depth, around)
            wanted = [_rows(part, image.depth, own) for part in scores]
            kept = _counted_from(around[0], own)
            logits.append(self._parts.output(skips.slices(around), rows, upsampled, kept, wanted))
            self._advance(DECODER_SHARES[0] / len(slabs))
        return logits, attention

    def _from(self, scale: int, x: _Pieces) -> _DecodedPieces:
        """A scale and all below it, from its encoder block's input, which is used up."""
        if scale > self._parts.scales_in_slabs:
            decoded = self._parts.coarser_scales(x.joined())
            self._advance(COARSER_SHARE)
            return (
                _Pieces(self._parts, [decoded[0]]),
                [_Pieces(self._parts, [part]) for part in decoded[1]],
                {name: _Pieces(self._parts, [alpha]) for name, alpha in decoded[2].items()},
            )
        slabs = self._slabs(x)
        skips, pooled = self._encoded(scale, x, slabs)
        x.drop_before(x.depth)
        below, coarser_scores, coarser_attention = self._from(scale + 1, pooled)
        features, scores = _Pieces(self._parts), _Pieces(self._parts)
        attention: dict[str, _Pieces] = {}
        for own in slabs:
            block = _widened(own, HALO, x.depth)
            around = _widened(block, GATE_HALO, x.depth)
            skips.drop_before(around[0])
            rows, fitting = _rows(below, x.depth, around)
            ends = DecoderEnds(
                gating=(fitting[0] // 2, fitting[1] // 2),
                block=_counted_from(around[0], block),
                upsampled=_counted_from(around[0] - fitting[0], block),
                kept=_counted_from(block[0], own),
            )
            decoded = self._parts.decoder(scale, skips.slices(around), rows, ends)
            features.append(decoded[0])
            scores.append(decoded[1][0])
            for name, alpha in decoded[2].items():
                attention.setdefault(name, _Pieces(self._parts)).append(alpha)
            self._advance(DECODER_SHARES[scale - 1] / len(slabs))
        return features, [scores, *coarser_scores], {**attention, **coarser_attention}

    def _slabs(self, x: _Pieces) -> list[Ends]:
        """The slices that are finished together: as many at each scale, as coarser ones have fewer but wider voxels."""
        step = slices_at_a_time(self._parts.work_per_slice)
        return [(start, min(start + step, x.depth)) for start in range(0, x.depth, step)]

    def _encoded(self, scale: int, x: _Pieces, slabs: Sequence[Ends]) -> tuple[_Pieces, _Pieces]:
        """The skip connection and the pooled features."""
        skips, pooled = _Pieces(self._parts), _Pieces(self._parts)
        for own in slabs:
            seen = _widened(own, HALO, x.depth)
            skip, part = self._parts.encoder(scale, x.slices(seen), _counted_from(seen[0], own))
            skips.append(skip)
            pooled.append(part)
            self._advance(ENCODER_SHARES[scale - 1] / len(slabs))
        return skips, pooled

    def _advance(self, share: float) -> None:
        self._done += share
        self._monitor.update(min(1.0, self._done))


def _rows(coarse: _Pieces, depth: int, wanted: Ends) -> tuple[Features, Ends]:
    """The coarse slices that the wanted upsampled ones depend on, and where these are when only those are upsampled."""
    factor = depth // coarse.depth
    low = max(wanted[0] // factor - 1, 0)
    high = -(-wanted[1] // factor) + 1
    return coarse.slices((low, high)), _counted_from(low * factor, wanted)


def _widened(ends: Ends, halo: int, depth: int) -> Ends:
    return max(ends[0] - halo, 0), min(ends[1] + halo, depth)


def _counted_from(first: int, ends: Ends) -> Ends:
    return ends[0] - first, ends[1] - first
