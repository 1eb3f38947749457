"""Refuses what PythonQt refuses: setting an attribute that a Qt object does not have.

PySide6 keeps `button.tooltip = "..."` (for `toolTip`) silently in the Python object; in 3D Slicer it is an
AttributeError. Classes that a module derives from Qt in Python may hold any attribute, in both.
"""

import inspect

from .binding import QtCore

STAND_IN_MARK = "_host_stand_in"

# The method of Shiboken.Object: Python refuses to call QObject's own once it has been replaced.
_set_attribute = QtCore.QObject.__base__.__setattr__


def is_plain(cls: type) -> bool:
    """True for Qt's own classes and the host's stand-ins; false for classes derived from them in Python."""
    return cls.__module__.startswith("PySide6.") or STAND_IN_MARK in cls.__dict__


def _is_settable(cls: type, name: str) -> bool:
    attribute = inspect.getattr_static(cls, name, None)
    if attribute is None:
        # A stand-in declares the attributes that it keeps for itself in its class body, as None or a default.
        return name.startswith("_") and any(name in base.__dict__ for base in cls.__mro__)
    if name.startswith("_"):
        return not callable(attribute)
    return hasattr(type(attribute), "__set__")


def forbid_unknown_attributes(cls: type) -> None:
    """Makes instances of the class refuse attributes that it does not declare."""

    def set_attribute(self, name, value):
        by_pyside = isinstance(value, QtCore.SignalInstance)  # PySide6 itself keeps bound signals so
        if not by_pyside and is_plain(type(self)) and not _is_settable(type(self), name):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}' that can be set")
        _set_attribute(self, name, value)

    cls.__setattr__ = set_attribute
