"""What all stand-ins share: registration for .ui files, and properties in the C++ manner."""

from collections.abc import Callable
from typing import Any

from ..pythonqt.strictness import STAND_IN_MARK
from ..pythonqt.ui_loader import STAND_INS


def stand_in(cls: type) -> type:
    """Class decorator: the class counts as a plain Qt class (unknown attributes raise) and .ui files may name it."""
    setattr(cls, STAND_IN_MARK, True)
    STAND_INS[cls.__name__] = cls
    return cls


def _stored_property(name: str, kept: str) -> property:
    setter = "set" + name[0].upper() + name[1:]
    return property(lambda self: getattr(self, kept), lambda self, value: getattr(self, setter)(value))


def _stored_setter(name: str, kept: str) -> Callable:
    def set_value(self, value):
        value = tuple(value) if isinstance(value, list) else value  # as PythonQt returns lists
        if value != getattr(self, kept):
            setattr(self, kept, value)
            self._property_changed(name)

    return set_value


def stored(**defaults: Any) -> Callable[[type], type]:
    """Class decorator: for each name a property `name` and a method `setName` that keep a value.

    A change calls `self._property_changed(name)`, where the class may react.
    """

    def decorate(cls: type) -> type:
        for name, default in defaults.items():
            kept = "_" + name
            setattr(cls, kept, default)
            setattr(cls, name, _stored_property(name, kept))
            setattr(cls, "set" + name[0].upper() + name[1:], _stored_setter(name, kept))
        if not hasattr(cls, "_property_changed"):
            cls._property_changed = lambda self, name: None
        return cls

    return decorate


def forwarded(part: str, *names: str) -> Callable[[type], type]:
    """Class decorator: properties `name` and methods `setName` that belong to an inner Qt widget."""

    def decorate(cls: type) -> type:
        for name in names:
            _forward(cls, part, name)
        return cls

    return decorate


def _forward(cls: type, part: str, name: str) -> None:
    setter = "set" + name[0].upper() + name[1:]

    def set_value(self, value):
        getattr(getattr(self, part), setter)(value)

    setattr(cls, setter, set_value)
    setattr(cls, name, property(lambda self: getattr(getattr(self, part), name), set_value))
