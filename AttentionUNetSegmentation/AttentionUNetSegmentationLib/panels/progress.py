"""The panel's lines about a run: the button to cancel it, progress, how it ended, warnings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import one_sentence
from ..scene.map_volumes import frame_note
from ..scene.mrml import result_line, result_notes

WARNING_SIGN = "\u26a0"
logger = logging.getLogger(__name__)


def guarded(action: Callable[[], object]) -> None:
    """Run an action of a button; if it fails, log the traceback and show one sentence, once."""
    try:
        action()
    except Exception as error:  # the button is a boundary
        logger.exception("the action failed")
        _show_box(error)


def _show_box(error: Exception) -> None:
    """Show one sentence in a message box, which would take a tag in the name of a file for markup."""
    slicer.util.errorDisplay(one_sentence(error).replace("<", "\u2039"))


class ProgressPanel:
    """Shows how a run goes.

    Args:
        ui: The widgets of the .ui file, by name.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._is_running = False
        self._line = ""  # how the shown result came about

    def say(self, text: str) -> None:
        """Show a text now, even if the event loop does not come to it soon."""
        self._ui.statusLabel.setText(text)
        self._ui.statusLabel.repaint()

    def begin(self) -> None:
        """A run was asked for."""
        self._is_running = True
        self.say(_("Starting"))  # the earlier result's warnings stay as long as its table does

    def show_progress(self, fraction: float, step: str) -> None:
        """How much is done, in [0, 1], and what is being done."""
        self._ui.progressBar.setValue(round(100 * fraction))
        self._ui.statusLabel.setText(step)

    def show_running(self, is_running: bool) -> None:
        """Whether there is a run that can be cancelled."""
        self._is_running = is_running
        self._ui.progressBar.setVisible(is_running)
        self._ui.progressBar.setValue(0)
        self._ui.cancelButton.setEnabled(is_running)
        self._ui.freeMemoryButton.setEnabled(not is_running)

    def show_cancelling(self) -> None:
        """The run was asked to stop."""
        self._ui.statusLabel.setText(_("Cancelling"))
        self._ui.cancelButton.setEnabled(False)

    def show_error(self, error: Exception) -> None:
        """What went wrong, in the panel and in a message box."""
        self._ui.statusLabel.setText(one_sentence(error))
        if not getattr(error, "was_shown", False):
            _show_box(error)

    def show_result(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """How a result came about, and its warnings; nothing without one."""
        self._line = result_line(node)
        self._ui.statusLabel.setText(self._line)
        self._show_warnings(node)

    def follow_result(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """The warnings of the shown result, and how it came about if a script has run again."""
        if not self._is_running and result_line(node) != self._line:
            self.show_result(node)
        else:
            self._show_warnings(node)

    def _show_warnings(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """A result's warnings, one line each, with a sign in front."""
        warnings = [*result_notes(node), *frame_note(node)]
        self._ui.warningsLabel.setText("\n".join(f"{WARNING_SIGN} {text}" for text in warnings))
        self._ui.warningsLabel.setVisible(bool(warnings))
