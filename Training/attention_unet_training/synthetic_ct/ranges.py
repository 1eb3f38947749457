"""A closed interval of a physical quantity, with the source of its bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .randomness import Randomness

JUDGEMENT = "judgement"


@dataclass(frozen=True)
class Range:
    """Closed interval `[low, high]` from which one value is drawn per sample.

    Attributes:
        low: Lower bound, in the unit named by the field that holds the range.
        high: Upper bound, not below `low`.
        source: Publication the bounds come from, or "judgement".

    Raises:
        ValueError: If a bound is not finite, the bounds are swapped, or the source is empty.
    """

    low: float
    high: float
    source: str = JUDGEMENT

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"A range needs finite bounds, got [{self.low}, {self.high}].")
        if self.low > self.high:
            raise ValueError(f"A range needs low <= high, got [{self.low}, {self.high}].")
        if not self.source:
            raise ValueError(f"A range needs a source or 'judgement', got none for [{self.low}, {self.high}].")

    def draw(self, randomness: Randomness) -> float:
        """Draw one value uniformly."""
        return randomness.uniform(self.low, self.high)

    def at(self, fraction: float) -> float:
        """Return the value at `fraction` of the way from `low` (0) to `high` (1)."""
        return self.low + (self.high - self.low) * fraction

    def scaled(self, factor: float) -> Range:
        """Return the range with both bounds times a factor that is not negative; the source stays."""
        return Range(self.low * factor, self.high * factor, self.source)
