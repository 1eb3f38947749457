"""What `Annotated[...]` may say about a field: its limits, its default, its look.

Validators are compared by identity, so that one that holds a list can stand in a union of annotated types.
"""

import abc
from dataclasses import dataclass
from typing import Any


class Validator(abc.ABC):
    """Base of what refuses values; extensions derive their own."""

    @abc.abstractmethod
    def validate(self, value) -> None:
        """Raises ValueError (TypeError for a wrong type) if the value is refused."""


@dataclass(frozen=True, eq=False)
class NotNone(Validator):
    """Any value but None."""

    def validate(self, value) -> None:
        if value is None:
            raise ValueError("value must not be None")


@dataclass(frozen=True, eq=False)
class IsInstance(Validator):
    """None, or a value of a type or of one of several."""

    classtype: type | tuple[type, ...]

    def validate(self, value) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"value must be of type {self.classtype}, got {type(value)}: {value!r}")


@dataclass(frozen=True, eq=False)
class WithinRange(Validator):
    """Value between two limits, both included."""

    minimum: float
    maximum: float

    def validate(self, value) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"value must be within [{self.minimum}, {self.maximum}], got {value}")


@dataclass(frozen=True, eq=False)
class Minimum(Validator):
    """Value not below a limit."""

    minimum: float

    def validate(self, value) -> None:
        if value < self.minimum:
            raise ValueError(f"value must be at least {self.minimum}, got {value}")


@dataclass(frozen=True, eq=False)
class Maximum(Validator):
    """Value not above a limit."""

    maximum: float

    def validate(self, value) -> None:
        if value > self.maximum:
            raise ValueError(f"value must be at most {self.maximum}, got {value}")


@dataclass(frozen=True, eq=False)
class Choice(Validator):
    """Value out of a list."""

    choices: list

    def validate(self, value) -> None:
        if value not in self.choices:
            raise ValueError(f"value must be one of {self.choices}, got {value!r}")


@dataclass(frozen=True, eq=False)
class Exclude(Validator):
    """Value not in a list."""

    excludedValues: list

    def validate(self, value) -> None:
        if value in self.excludedValues:
            raise ValueError(f"value must be none of {self.excludedValues}, got {value!r}")


@dataclass(frozen=True, eq=False)
class RangeBounds(Validator):
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

    def __eq__(self, other) -> bool:
        if not isinstance(other, Default):
            return NotImplemented
        return (self._value, self._generator) == (other._value, other._generator)

    __hash__ = None


def is_validator(annotation: Any) -> bool:
    """True for a validator, and for a class of validators (whose `validate` is static)."""
    return isinstance(annotation, Validator) or (isinstance(annotation, type) and issubclass(annotation, Validator))


def find(annotations: tuple, kind: type) -> Any:
    """Returns the first annotation of a kind, or None."""
    return next((item for item in annotations if isinstance(item, kind)), None)
