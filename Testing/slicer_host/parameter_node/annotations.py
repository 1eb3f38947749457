"""What `Annotated[...]` may say about a field: its limits, its default, its look."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WithinRange:
    """Value between two limits, both included."""

    minimum: float
    maximum: float

    def validate(self, value) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"value must be within [{self.minimum}, {self.maximum}], got {value}")


@dataclass(frozen=True)
class Minimum:
    """Value not below a limit."""

    minimum: float

    def validate(self, value) -> None:
        if value < self.minimum:
            raise ValueError(f"value must be at least {self.minimum}, got {value}")


@dataclass(frozen=True)
class Maximum:
    """Value not above a limit."""

    maximum: float

    def validate(self, value) -> None:
        if value > self.maximum:
            raise ValueError(f"value must be at most {self.maximum}, got {value}")


@dataclass(frozen=True)
class Choice:
    """Value out of a list."""

    choices: list

    def validate(self, value) -> None:
        if value not in self.choices:
            raise ValueError(f"value must be one of {self.choices}, got {value!r}")


@dataclass(frozen=True)
class RangeBounds:
    """FloatRange inside two limits."""

    minimum: float
    maximum: float

    def validate(self, value) -> None:
        if value.minimum < self.minimum or value.maximum > self.maximum:
            raise ValueError(f"range must be within [{self.minimum}, {self.maximum}], got {value}")


@dataclass(frozen=True)
class Decimals:
    """Number of decimals that a widget shows."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Step of a widget's arrows."""

    value: float


class Default:
    """The value of a field that has not been set; from a generator, a new one each time."""

    def __init__(self, value: Any = None, *, generator=None):
        self._value = value
        self._generator = generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator is not None else self._value


VALIDATORS = (WithinRange, Minimum, Maximum, Choice, RangeBounds)


def find(annotations: tuple, kind: type) -> Any:
    """Returns the first annotation of a kind, or None."""
    return next((item for item in annotations if isinstance(item, kind)), None)
