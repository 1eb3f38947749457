"""Imports PySide6 in the form that the host needs; every other file of the host takes Qt from here."""

import os
import sys

# Both have to be set before Qt is loaded. The enum option gives int-compatible enums (0x02) with unscoped access to
# their members (0x04) and missing bits treated as ints (0x08), which is what PythonQt offers.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.pyside6_option_python_enum = 0x02 | 0x04 | 0x08

import shiboken6  # noqa: E402
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets  # noqa: E402

__all__ = ["MODULES", "QtCore", "QtGui", "QtUiTools", "QtWidgets", "shiboken6"]

MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)
