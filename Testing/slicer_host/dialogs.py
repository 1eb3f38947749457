"""Keeps modal dialogs from blocking: each is recorded in `messages` and answered at once."""

import logging
from collections.abc import Callable

import slicer

from .faults import record
from .messages import Answers, record_message
from .pythonqt.binding import QtWidgets

_ACCEPTING = ("AcceptRole", "YesRole", "ApplyRole", "ActionRole", "DestructiveRole")
_REJECTING = ("RejectRole", "NoRole")


def _message_box_result(box: QtWidgets.QMessageBox, answers: Answers) -> int:
    """Clicks the button that the answers call for, and returns what exec would return."""
    if not box.buttons():
        box.addButton(QtWidgets.QMessageBox.StandardButton.Ok)
    roles = [getattr(QtWidgets.QMessageBox.ButtonRole, name) for name in (_ACCEPTING if answers.accept else _REJECTING)]
    fitting = [button for role in roles for button in box.buttons() if box.buttonRole(button) == role]
    button = (fitting or list(box.buttons()))[0]
    button.click()
    standard = box.standardButton(button)
    return int(standard) or list(box.buttons()).index(button)


def _exec(dialog: QtWidgets.QDialog) -> int:
    if isinstance(dialog, QtWidgets.QMessageBox):
        answers = record_message("message", dialog.text, dialog.windowTitle)
        return _message_box_result(dialog, answers)
    answers = record_message("dialog", type(dialog).__name__, dialog.windowTitle)
    dialog.accept() if answers.accept else dialog.reject()
    return int(answers.accept)


def _static_message(*arguments) -> int:
    """Stands in for QMessageBox.question(parent, title, text, buttons, ...) and its siblings."""
    title, text = arguments[1], arguments[2]
    box = QtWidgets.QMessageBox()
    if len(arguments) > 3:
        box.setStandardButtons(arguments[3])
    return _message_box_result(box, record_message("message", text, title))


def _static_path(many: bool) -> Callable:
    def choose(*arguments, **_):
        if slicer.app.testingEnabled():
            record("a file dialog was opened in testing mode: 3D Slicer would wait for a user who is not there")
        answers = record_message("file", arguments[1] if len(arguments) > 1 else "")
        path = answers.path if answers.accept else ""
        return ([path] if path else []) if many else path

    return choose


def _static_input(*arguments, **_):
    """Stands in for QInputDialog.getText: PythonQt returns the text alone, empty after Cancel."""
    answers = record_message("input", arguments[2], arguments[1])
    return answers.text if answers.accept else ""


def _patch_qt() -> None:
    for cls in (QtWidgets.QDialog, QtWidgets.QMessageBox, QtWidgets.QFileDialog, QtWidgets.QInputDialog):
        cls.exec = cls.exec_ = _exec
    QtWidgets.QMenu.exec = QtWidgets.QMenu.exec_ = lambda menu, *_: record_message("menu", menu.title) and None
    question = QtWidgets.QMessageBox
    question.information = question.question = question.warning = question.critical = staticmethod(_static_message)
    question.about = staticmethod(_static_message)
    QtWidgets.QInputDialog.getText = staticmethod(_static_input)
    files = QtWidgets.QFileDialog
    files.getOpenFileName = files.getSaveFileName = files.getExistingDirectory = staticmethod(_static_path(many=False))
    files.getOpenFileNames = staticmethod(_static_path(many=True))


def _display(kind: str, level: int) -> Callable:
    def display(text, windowTitle=None, parent=None, standardButtons=None, **_):
        logging.log(level, text)
        record_message(kind, text, windowTitle)
        return int(QtWidgets.QMessageBox.StandardButton.Ok)

    return display


def _confirm(text, windowTitle=None, parent=None, **_) -> bool:
    """In testing mode always false, as in 3D Slicer, which compares the True it skips the question with to OK."""
    logging.info(text)
    return record_message("confirm", text, windowTitle).accept and not slicer.app.testingEnabled()


def _message_box(text, parent=None, windowTitle=None, **_) -> int:
    answers = record_message("message", text, windowTitle)
    buttons = QtWidgets.QMessageBox.StandardButton
    return int(buttons.Ok if answers.accept else buttons.Cancel)


def _delay_display(message, autoCloseMsec=1000, parent=None, **_) -> None:
    """Stands in for slicer.util.delayDisplay: lets the event loop catch up, without waiting."""
    logging.info(message)
    slicer.app.processEvents()


def install() -> None:
    """Replaces Qt's blocking calls and slicer.util's displays, in testing mode and out of it."""
    _patch_qt()
    util = slicer.util
    util.errorDisplay = _display("error", logging.ERROR)
    util.warningDisplay = _display("warning", logging.WARNING)
    util.infoDisplay = _display("info", logging.INFO)
    util.confirmOkCancelDisplay = util.confirmYesNoDisplay = util.confirmRetryCloseDisplay = _confirm
    util.messageBox = _message_box
    util.delayDisplay = _delay_display
