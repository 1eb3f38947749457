"""Qt's own warnings about wrong use of objects, as faults: a timer started in another thread, a bad connection."""

from . import faults
from .pythonqt.binding import QtCore

_FAULTY = ("QObject::", "QTimer::", "QBasicTimer::", "QThread: Destroyed", "QLayout:", "QWidget::setLayout")


def _on_message(kind, context, text: str) -> None:
    if text.startswith(_FAULTY):
        faults.record(f"Qt warns: {text}")


def install() -> None:
    """Listens to Qt's message log; other messages are dropped."""
    QtCore.qInstallMessageHandler(_on_message)
