"""How well labels fit a CT, as a number, and the same for the labels flipped and with x and y exchanged.

An organ's border lies where the tissue changes: inside, HU are much the same, in a shell around it they have another
mean or another spread. The fit says how much the border tells about the HU: two normal distributions, one inside and
one in the shell, against a single one for both, in nats per voxel (after the Jensen-Shannon divergence; both sides
weigh the same). Labels elsewhere in soft tissue, as a pancreas flipped from left to right into the liver, have the same
tissue on both sides and a fit near 0; that all their voxels are soft tissue does not help them. HU are clipped to soft
tissue, so that a border to bone or air does not decide alone. Unlike the difference of the means alone, this also sees
an organ of even tissue among fat, vessels and bowel that have its mean together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from AttentionUNetSegmentationLib.volume import Volume, nonzero_box

from .records import IGNORED

CLIP_HU = (-200.0, 300.0)
SHELL_MM = 4.0
NOISE_HU = 10.0  # added to every spread: differences below it are none
MIN_VOXELS = 30  # of an organ, and of its shell; a smaller one says nothing


class Turn(NamedTuple):
    """How the axes of labels are changed.

    Attributes:
        flip: Array axes (0 k, 1 j, 2 i) along which labels are flipped; empty for none.
        transposed: Whether the last two, y and x, are exchanged before that.
    """

    flip: tuple[int, ...] = ()
    transposed: bool = False

    def applied(self, array: np.ndarray) -> np.ndarray:
        """A view of the labels (K, J, I), turned."""
        return np.flip(array.swapaxes(1, 2) if self.transposed else array, self.flip)


AS_IS = Turn()
TURNS = tuple(
    Turn(tuple(axis for axis, flipped in enumerate(choice) if flipped), transposed)
    for transposed in (False, True)
    for choice in product((False, True), repeat=3)
)


@dataclass(frozen=True)
class Shell:
    """One organ, cut out: its voxels and those around it.

    Attributes:
        box: Where in the CT's array.
        inside: Boolean, the organ.
        around: Boolean, up to ``SHELL_MM`` outside.
    """

    box: tuple[slice, slice, slice]
    inside: np.ndarray
    around: np.ndarray


def fits(classes: np.ndarray, ct: Volume) -> dict[Turn, float]:
    """The fit of class numbers to a CT, for every turn that gives them the CT's shape.

    Args:
        classes: (K, J, I) class numbers, 0 background.
        ct: The CT in HU.

    Returns:
        Turn of the labels -> mean fit of the organs, 0 or more. Empty if no organ is large enough to tell.
    """
    found: dict[Turn, float] = {}
    for transposed in (False, True):
        labels = Turn(transposed=transposed).applied(classes)
        if labels.shape != ct.voxels.shape:
            continue
        values = [value for value in np.unique(labels) if value not in (0, IGNORED)]
        shells = [shell for value in values if (shell := _shell(labels == value, ct.spacing_mm))]
        for turn in TURNS:
            if shells and turn.transposed == transposed:
                # flipping the CT under the labels is flipping the labels on the CT
                found[turn] = float(np.mean([_fit(np.flip(ct.voxels, turn.flip), shell) for shell in shells]))
    return found


def _shell(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> Shell | None:
    reach = [max(1, round(SHELL_MM / spacing)) for spacing in spacing_mm]  # i, j, k
    tight = nonzero_box(mask)
    if tight is None:
        return None
    k, j, i = (
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, margin, size in zip(tight, reach[::-1], mask.shape, strict=True)
    )
    box = (k, j, i)
    inside = mask[box]
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    around = sitk.GetArrayFromImage(sitk.BinaryDilate(image, reach)).astype(bool) & ~inside
    if min(np.count_nonzero(inside), np.count_nonzero(around)) < MIN_VOXELS:
        return None
    return Shell(box, inside, around)


def _fit(hu: np.ndarray, shell: Shell) -> float:
    part = np.clip(hu[shell.box], *CLIP_HU).astype(np.float32)
    sides = part[shell.inside], part[shell.around]
    means = [float(side.mean(dtype=np.float64)) for side in sides]
    variances = [float(side.var(dtype=np.float64)) for side in sides]
    # variance of both sides mixed half and half, which is what one normal distribution for both has to cover
    pooled = sum(variances) / 2 + (means[0] - means[1]) ** 2 / 4
    noise = NOISE_HU**2
    return float(np.log(pooled + noise) / 2 - sum(np.log(variance + noise) for variance in variances) / 4)
