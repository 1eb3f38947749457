"""A question with two ways to go on, and Cancel."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from ..monitor import Cancelled


def ask(text: str, question: str, first: str, second: str) -> bool:
    """Ask in a message box, with a button for each way; True for the first, which is the default.

    Raises:
        Cancelled: If the user wants neither.
    """
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setIcon(qt.QMessageBox.Question)
    box.setText(text)
    box.setInformativeText(question)
    default = box.addButton(first, qt.QMessageBox.AcceptRole)
    box.addButton(second, qt.QMessageBox.DestructiveRole)
    box.addButton(_("Cancel"), qt.QMessageBox.RejectRole)
    box.setDefaultButton(default)
    box.exec_()
    clicked = box.clickedButton()
    role = box.buttonRole(clicked) if clicked is not None else qt.QMessageBox.RejectRole
    box.deleteLater()
    if role not in (qt.QMessageBox.AcceptRole, qt.QMessageBox.DestructiveRole):
        raise Cancelled
    return role == qt.QMessageBox.AcceptRole
