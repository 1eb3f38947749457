"""What the panel's choices mean for the next run, and what becomes of segments that were changed since the last one."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from ..scene.request import Request, edited_names
from ..scene.sequences import frames_of
from .inputs import output_for
from .question import ask


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
    text = _("Segments of {segmentation} were changed since a run wrote them: {names}.")
    text = text.format(segmentation=request.segmentation_node.GetName(), names=", ".join(names))
    return not ask(text, _("Keep them, and write the result into a new segmentation?"), _("Keep"), _("Replace"))
