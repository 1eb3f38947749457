"""Mean and standard deviation of a data set's HU, as the network sees them: one case at a time, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from AttentionUNetSegmentationLib.models.description import IntensitySpec

DECIMALS = 3  # of the measured numbers, in HU


@dataclass(frozen=True)
class Moments:
    """Number, sum (HU) and sum of squares (HU^2) of voxels."""

    voxels: int
    sum_hu: float
    sum_hu2: float


@dataclass(frozen=True)
class IntensityToMeasure:
    """An intensity rule whose mean, standard deviation or both are to be measured over the data set.

    Attributes:
        clip_hu: Clipping range.
        mean_hu: As in ``IntensitySpec``; None: measured.
        std_hu: As in ``IntensitySpec``; None: measured.
    """

    clip_hu: tuple[float, float]
    mean_hu: float | None
    std_hu: float | None

    def __post_init__(self) -> None:
        if self.mean_hu is not None and self.std_hu is not None:
            raise ValueError("an intensity rule with mean_hu and std_hu leaves nothing to measure")
        self._with(0.0, 1.0)  # what is given has to keep IntensitySpec's rules

    def __str__(self) -> str:
        mean, std = ("auto" if value is None else f"{value:g}" for value in (self.mean_hu, self.std_hu))
        return f"clip_hu {self.clip_hu}, mean_hu {mean}, std_hu {std}"

    @property
    def clipping(self) -> IntensitySpec:
        """The rule that only clips: its images are in HU."""
        return IntensitySpec(self.clip_hu, 0.0, 1.0)

    def allows(self, rule: IntensitySpec) -> bool:
        """Whether a rule has the numbers that are given."""
        return rule == self._with(rule.mean_hu, rule.std_hu)

    def settle(self, cases: Sequence[Moments]) -> IntensitySpec:
        """The rule with the numbers of these cases, each voxel counting the same; the cases' order does not matter.

        Args:
            cases: Of each case, the moments of its clipped HU.

        Raises:
            ValueError: If there are no voxels, or the standard deviation is measured and is 0.
        """
        voxels = sum(case.voxels for case in cases)
        if not voxels:
            raise ValueError("mean and standard deviation cannot be measured without any voxel")
        # fsum: exact whatever the order, so that the rule does not depend on which case was finished first
        mean = math.fsum(case.sum_hu for case in cases) / voxels
        variance = math.fsum(case.sum_hu2 for case in cases) / voxels - mean**2
        std = round(math.sqrt(max(0.0, variance)), DECIMALS)
        if self.std_hu is None and std == 0:
            low, high = self.clip_hu
            raise ValueError(
                f"all voxels have {mean:g} HU after clipping to {low:g}..{high:g} HU, so there is no standard "
                f"deviation to scale them by"
            )
        return self._with(round(mean, DECIMALS), std)

    def _with(self, mean_hu: float, std_hu: float) -> IntensitySpec:
        """The rule with these numbers in place of what is not given."""
        return IntensitySpec(
            self.clip_hu,
            mean_hu if self.mean_hu is None else self.mean_hu,
            std_hu if self.std_hu is None else self.std_hu,
        )


def moments_of(hu: np.ndarray) -> Moments:
    """Moments of an image, summed slice by slice in float64.

    Args:
        hu: (D, H, W) clipped HU on the network's grid.
    """
    total, squares = [], []
    for section in hu:
        exact = section.astype(np.float64)
        total.append(float(exact.sum()))
        squares.append(float(np.square(exact).sum()))
    return Moments(int(hu.size), math.fsum(total), math.fsum(squares))
