"""Builds the module that `import qt` gives, after changing PySide6's classes."""

import sys
import types

from . import connections, timers
from .binding import MODULES, QtCore, shiboken6
from .properties import add_properties
from .strictness import forbid_unknown_attributes
from .ui_loader import QUiLoader


def _wrapped_classes() -> list[type]:
    """Every class of the bound Qt modules, base classes first."""
    items = [getattr(module, name) for module in MODULES for name in dir(module)]
    found = {item for item in items if isinstance(item, type) and issubclass(item, shiboken6.Object)}
    return sorted(found, key=lambda cls: len(cls.__mro__))


def _add_pythonqt_members() -> None:
    """Members that PythonQt gives every QObject."""
    base = QtCore.QObject
    base.name = property(lambda self: self.objectName, lambda self, value: self.setObjectName(value))
    base.className = lambda self: self.metaObject().className()
    base.delete = lambda self: shiboken6.delete(self)


def install() -> types.ModuleType:
    """Changes PySide6 for this process and returns the `qt` module."""
    timers.install()
    for cls in _wrapped_classes():
        if issubclass(cls, QtCore.QObject):
            add_properties(cls)
        forbid_unknown_attributes(cls)
    _add_pythonqt_members()
    connections.install()
    qt = types.ModuleType("qt", "PySide6 as PythonQt would show it; part of slicer_host, not of 3D Slicer.")
    for module in MODULES:
        for name in dir(module):
            if name.startswith("Q"):
                setattr(qt, name, getattr(module, name))
    qt.QUiLoader = QUiLoader
    sys.modules["qt"] = qt
    return qt
