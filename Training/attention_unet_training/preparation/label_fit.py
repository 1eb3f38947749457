"""How well labels fit a CT, as a number, and the same for the labels flipped along each axis.

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

import numpy as np
import SimpleITK as sitk

from AttentionUNetSegmentationLib.volume import Volume, nonzero_box

CLIP_HU = (-200.0, 300.0)
SHELL_MM = 4.0
NOISE_HU = 10.0  # added to every spread: differences below it are none
MIN_VOXELS = 30  # of an organ, and of its shell; a smaller one says nothing

Flip = tuple[int, ...]
"""Array axes (0 k, 1 j, 2 i) along which labels are flipped; empty for none."""

FLIPS: tuple[Flip, ...] = tuple(
    tuple(axis for axis, flipped in enumerate(choice) if flipped) for choice in product((False, True), repeat=3)
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


def fits(classes: np.ndarray, ct: Volume) -> dict[Flip, float]:
    """The fit of class numbers to a CT, for all eight flips.

    Args:
        classes: (K, J, I) class numbers, 0 background, as many voxels as the CT.
        ct: The CT in HU.

    Returns:
        Flip of the labels -> mean fit of the organs, 0 or more. Empty if no organ is large enough to tell.
    """
    shells = [shell for value in np.unique(classes) if value and (shell := _shell(classes == value, ct.spacing_mm))]
    if not shells:
        return {}
    # flipping the CT under the labels is flipping the labels on the CT
    return {flip: float(np.mean([_fit(np.flip(ct.voxels, flip), shell) for shell in shells])) for flip in FLIPS}


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
