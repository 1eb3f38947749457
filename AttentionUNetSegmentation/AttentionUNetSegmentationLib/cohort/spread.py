"""How the measured values of a cohort spread, and which lie far out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FAR_OUT = 3.5  # |z| above which Iglewicz & Hoaglin (1993) label a value a potential outlier
BINS = 24


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and range of values, and a histogram, all in the values' unit.

    Attributes:
        count: Number of values.
        low: The smallest.
        lower: First quartile.
        median: Second quartile.
        upper: Third quartile.
        high: The largest.
        ends: Of the histogram: the smallest and largest of the values that do not lie far out.
        bars: Number of values in each of ``BINS`` bins between the ends.
    """

    count: int
    low: float
    lower: float
    median: float
    upper: float
    high: float
    ends: tuple[float, float]
    bars: tuple[int, ...]

    @property
    def beyond(self) -> int:
        """Number of values outside the histogram."""
        return self.count - sum(self.bars)


def spread_of(values: Sequence[float], z: np.ndarray) -> Spread:
    """The spread of at least one value; those whose ``z`` lies far out are left out of the histogram."""
    low, lower, median, upper, high = (float(x) for x in np.percentile(values, (0, 25, 50, 75, 100)))
    near = np.asarray(values)[np.abs(z) <= FAR_OUT]
    bars, edges = np.histogram(near, BINS)
    ends = float(edges[0]), float(edges[-1])
    return Spread(len(values), low, lower, median, upper, high, ends, tuple(int(bar) for bar in bars))


def robust_z(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """How far each value lies from the median, by the modified z-score 0.6745 (x - median) / MAD.

    Iglewicz B, Hoaglin DC. How to Detect and Handle Outliers. ASQC Quality Press, 1993.

    Args:
        values: (N,), N > 0.

    Returns:
        (N,) without unit; 0 if more than half of the values are equal, as then the MAD (the median of the absolute
        deviations from the median) is 0 and says nothing.
    """
    deviations = np.asarray(values, dtype=float) - np.median(values)
    mad = float(np.median(np.abs(deviations)))
    return 0.6745 * deviations / mad if mad > 0 else np.zeros(len(deviations))
