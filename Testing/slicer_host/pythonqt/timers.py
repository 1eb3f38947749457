"""QTimer.singleShot whose function may fail: PySide6 would raise the exception out of some later processEvents."""

import sys
from collections.abc import Callable

from .binding import QtCore

_qt_single_shot = QtCore.QTimer.singleShot


def _guarded(function: Callable) -> Callable:
    def call():
        try:
            function()
        except Exception:  # noqa: BLE001  (a boundary: the event loop has no caller to tell)
            sys.excepthook(*sys.exc_info())

    return call


def _single_shot(milliseconds: int, receiver, member: str | None = None) -> None:
    """`singleShot(ms, callable)` or `singleShot(ms, object, "slot()")`."""
    function = receiver if member is None else getattr(receiver, member.partition("(")[0])
    _qt_single_shot(milliseconds, _guarded(function))


def install() -> None:
    """Replaces QTimer.singleShot; before the properties are added, as one of them has the same name."""
    QtCore.QTimer.singleShot = staticmethod(_single_shot)
