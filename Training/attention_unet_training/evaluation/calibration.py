"""Constants on the organs' scores with which each organ's total volume is the true one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .metrics import dice

MAX_SWEEPS = 50  # an organ's constant depends a little on its neighbours' constants: usually 2 or 3 are enough
SETTLED = 1e-3  # change of the constants in a sweep, in units of the scores, below which they count as found


@dataclass(frozen=True)
class Scored:
    """The network's scores of one patch.

    Attributes:
        logits: (C, D, H, W) float32, background first.
        target: (D, H, W) class numbers.
    """

    logits: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """What was done to one organ.

    Attributes:
        organ: Its name.
        offset: Added to its score.
        dice_before: Dice over all patches together.
        dice_after: The same with all offsets.
        volume_before: Volume found over true volume, all patches together.
        volume_after: The same with all offsets.
    """

    organ: str
    offset: float
    dice_before: float
    dice_after: float
    volume_before: float
    volume_after: float


def offsets_for_volumes(scored: Sequence[Scored], channels: Sequence[int]) -> np.ndarray:
    """Constants for the classes' scores with which each organ's total volume is the true one.

    A voxel goes to an organ if its offset exceeds the lead of the best other class, so the offset is that lead which
    as many voxels stay below as belong to the organ.

    Args:
        scored: The patches.
        channels: Classes that get an offset; each must occur in the targets, and none be 0, the background.

    Returns:
        (C,) float32, 0 for the classes that get none.

    Raises:
        ValueError: If the organs' offsets keep changing each other.
    """
    offsets = np.zeros(len(scored[0].logits), dtype=np.float32)
    for _ in range(MAX_SWEEPS):
        previous = offsets.copy()
        # one organ after the other, each against the offsets of the others so far, until none changes any more
        for channel in channels:
            leads = np.concatenate([_lead_over(patch.logits, offsets, channel).ravel() for patch in scored])
            true = sum(int(np.count_nonzero(patch.target == channel)) for patch in scored)
            rank = min(true, leads.size - 1)  # an organ that fills every patch has no voxel to leave out
            offsets[channel] = np.partition(leads, rank)[rank]
        if np.abs(offsets - previous).max() < SETTLED:
            return offsets
    raise ValueError(f"the organs' offsets did not settle in {MAX_SWEEPS} rounds: the scores hardly tell them apart")


def _lead_over(logits: np.ndarray, offsets: np.ndarray, channel: int) -> np.ndarray:
    """By how much the best other class leads a class's bare score: (D, H, W)."""
    others = [logits[n] + offsets[n] for n in range(len(logits)) if n != channel]
    return np.maximum.reduce(others) - logits[channel]


def calibrations(organs: Sequence[str], scored: Sequence[Scored], offsets: np.ndarray) -> list[Calibration]:
    """What offsets change, organ by organ, over all patches together.

    Args:
        organs: Names of the classes 1, 2, ...
        scored: The patches.
        offsets: (C,), added to the scores.
    """
    target = np.concatenate([patch.target for patch in scored])  # along z, as heights may differ
    before = np.concatenate([patch.logits.argmax(axis=0) for patch in scored])
    after = np.concatenate([(patch.logits + offsets[:, None, None, None]).argmax(axis=0) for patch in scored])
    rows = []
    for channel, organ in enumerate(organs, start=1):
        true = target == channel
        true_vox = max(1, int(np.count_nonzero(true)))
        volumes = [np.count_nonzero(found == channel) / true_vox for found in (before, after)]
        overlaps = [dice(found == channel, true) for found in (before, after)]
        rows.append(Calibration(organ, float(offsets[channel]), *overlaps, *volumes))
    return rows
