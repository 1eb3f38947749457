"""FloatRange: a pair of floats, the lower first."""

from dataclasses import dataclass


@dataclass
class FloatRange:
    """Two floats; raises ValueError if the minimum is above the maximum."""

    minimum: float = 0.0
    maximum: float = 0.0

    def __post_init__(self):
        if self.minimum > self.maximum:
            raise ValueError(f"minimum must not be above maximum, got {self.minimum} and {self.maximum}")
