"""What the panel's choices mean for the next run, and what becomes of segments that were changed since the last one."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..monitor import Cancelled
from ..scene.request import Request, edited_names
from ..scene.sequences import frames_of
from .inputs import output_for


def run_options(parameters: Any) -> dict[str, Any]:
    """The arguments for the logic's ``start``, apart from model, device and callbacks, which ask no question.

    Raises:
        Cancelled: If the user was asked about changed segments, and wants no run.
    """
    volume_node = parameters.inputVolume
    node = output_for(volume_node, parameters.outputSegmentation)
    all_frames = parameters.allFrames and frames_of(volume_node) is not None
    return {
        "volumeNode": volume_node,
        "segmentationNode": node,
        "roi": parameters.roi,
        "probabilities": parameters.probabilities,
        "allFrames": all_frames,
        "replaceEdited": _may_replace(Request(volume_node, node, all_frames=all_frames)),
    }


def _may_replace(request: Request) -> bool:
    """Ask once whether a run may replace changed segments; without any, and in testing mode, they are kept."""
    names = edited_names(request)
    if request.segmentation_node is None or not names or slicer.app.testingEnabled():
        return False
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setIcon(qt.QMessageBox.Question)
    question = _("Segments of {segmentation} were changed since a run wrote them: {names}.")
    box.setText(question.format(segmentation=request.segmentation_node.GetName(), names=", ".join(names)))
    box.setInformativeText(_("Keep them, and write the result into a new segmentation?"))
    keep = box.addButton(_("Keep"), qt.QMessageBox.AcceptRole)
    box.addButton(_("Replace"), qt.QMessageBox.DestructiveRole)
    box.addButton(_("Cancel"), qt.QMessageBox.RejectRole)
    box.setDefaultButton(keep)
    box.exec_()
    clicked = box.clickedButton()
    role = box.buttonRole(clicked) if clicked is not None else qt.QMessageBox.RejectRole
    box.deleteLater()
    if role not in (qt.QMessageBox.AcceptRole, qt.QMessageBox.DestructiveRole):
        raise Cancelled
    return role == qt.QMessageBox.DestructiveRole
