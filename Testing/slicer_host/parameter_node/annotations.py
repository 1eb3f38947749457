"""FloatRange, and what `Annotated[...]` may say about a parameter: its limits and its default."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FloatRange:
    """Two floats; raises ValueError if the minimum is above the maximum. 3D Slicer's can be changed in place too."""

    minimum: float = 0.0
    maximum: float = 0.0

    def __post_init__(self) -> None:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum must not be above maximum, got {self.minimum} and {self.maximum}")


@dataclass(frozen=True)
class WithinRange:
    """Value between two limits, both included."""

    minimum: float
    maximum: float

    def validate(self, value: float) -> None:
        """Raises ValueError if the value is refused; so for the classes below."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"value must be within [{self.minimum}, {self.maximum}], got {value}")


@dataclass(frozen=True)
class RangeBounds:
    """FloatRange inside two limits."""

    minimum: float
    maximum: float

    def validate(self, value: FloatRange) -> None:
        if value.minimum < self.minimum or value.maximum > self.maximum:
            raise ValueError(f"range must be within [{self.minimum}, {self.maximum}], got {value}")


@dataclass(frozen=True)
class Choice:
    """Value out of a list."""

    choices: list

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"value must be one of {self.choices}, got {value!r}")


@dataclass(frozen=True)
class Default:
    """The value of a parameter that has not been set."""

    value: Any


VALIDATORS = (WithinRange, RangeBounds, Choice)


def find(annotations: list, kind: type) -> Any:
    """Returns the first annotation of a kind, or None."""
    return next((item for item in annotations if isinstance(item, kind)), None)
