"""Keeps modal dialogs from blocking: those that the module shows are recorded in `messages` and answered at once."""

import logging

import slicer

from .faults import record
from .messages import record_message
from .pythonqt.binding import QtWidgets


def _choose_file(parent, title: str, *_) -> str:
    if slicer.app.testingEnabled():
        record("a file dialog was opened in testing mode: 3D Slicer would wait for a user who is not there")
    answers = record_message("file", title)
    return answers.path if answers.accept else ""


def _refuse(*_, **__) -> None:
    """Stands in for dialogs that the host cannot answer."""
    text = "a dialog was opened that waits for a user, and that the host does not answer"
    record(text)
    raise NotImplementedError(text)


def _answer(box) -> int:
    """Stands in for QMessageBox.exec: clicks the button that the test wants, else the default one or Cancel."""
    if slicer.app.testingEnabled():
        record("a message box was opened in testing mode: 3D Slicer would wait for a user who is not there")
    answers = record_message("question", box.text)
    named = {button.text.replace("&", ""): button for button in box.buttons()}
    clicked = named[answers.button or "Cancel"] if answers.button or not answers.accept else box.defaultButton()
    if clicked is None:
        _refuse()
    clicked.click()
    return 0


def _display_error(text: str, *_, **__) -> None:
    logging.error(text)
    record_message("error", text)


def _confirm(text: str, *_, **__) -> bool:
    """In testing mode always false, as in 3D Slicer, which compares the True it skips the question with to OK."""
    logging.info(text)
    return record_message("confirm", text).accept and not slicer.app.testingEnabled()


def install() -> None:
    """Replaces Qt's blocking calls and slicer.util's displays, in testing mode and out of it."""
    files = QtWidgets.QFileDialog
    for cls in (QtWidgets.QDialog, QtWidgets.QMessageBox, files, QtWidgets.QInputDialog, QtWidgets.QMenu):
        cls.exec = cls.exec_ = _refuse
    QtWidgets.QMessageBox.exec = QtWidgets.QMessageBox.exec_ = _answer
    for cls, names in (
        (QtWidgets.QMessageBox, ("about", "critical", "information", "question", "warning")),
        (QtWidgets.QInputDialog, ("getDouble", "getInt", "getItem", "getMultiLineText", "getText")),
        (files, ("getExistingDirectory", "getOpenFileNames")),
    ):
        for name in names:
            setattr(cls, name, staticmethod(_refuse))
    files.getOpenFileName = files.getSaveFileName = staticmethod(_choose_file)
    slicer.util.errorDisplay = _display_error
    slicer.util.confirmOkCancelDisplay = _confirm
