"""The panel's input section: which CT is segmented, where its organs go, within which ROI, and whether it can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..models.store import InstalledModel
from ..scene.abdomen_window import show_abdomen
from ..scene.attention_view import show_ct
from ..scene.mrml import fit_roi, input_candidates, input_volumes, map_node_ids
from ..scene.ownership import holds_other_result, latest_result
from ..scene.sequences import frames_of


def output_for(
    volume_node: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLSegmentationNode | None
) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation node, if a run on that volume may write there without being told to.

    Returns:
        The node; None, for a new one, if it holds the result of another volume, or of one that is gone, or a copy.
    """
    return None if node is None or holds_other_result(node, volume_node) else node


class InputPanel:
    """Makes the obvious choices of nodes, and keeps one CT's result apart from another's.

    Args:
        ui: The widgets of the .ui file.
        parameters: Gives the parameter node, or None while there is none.
    """

    def __init__(self, ui: Any, parameters: Callable[[], Any]) -> None:
        self._ui, self._parameters = ui, parameters
        self._input: slicer.vtkMRMLScalarVolumeNode | None = None
        self._windowed: tuple | None = None
        self._volumes: set[str] = set()  # IDs of what could be chosen at the last look
        ui.roiSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._on_roi_added)

    def bind(self) -> None:
        """Take another parameter node's choices as they are, be they of another CT's result.

        Called before the selectors follow it: a volume that is still hidden in them could not be shown.
        """
        parameters = self._parameters()
        self._hide(map_node_ids() if parameters is not None else [])
        self._input = parameters.inputVolume if parameters is not None else None
        self._windowed, self._volumes = None, set()

    def update(self) -> None:
        """A volume newly chosen as input gets a result of its own, its latest if there is one, as output."""
        parameters = self._parameters()
        before, self._input = self._input, parameters.inputVolume
        if self._input is not None and self._input is not before:
            parameters.outputSegmentation = self.output() or latest_result(self._input)
        self._show_abdomen()

    def output(self) -> slicer.vtkMRMLSegmentationNode | None:
        """Where a run on the input writes; None for a new segmentation node."""
        parameters = self._parameters()
        return output_for(parameters.inputVolume, parameters.outputSegmentation)

    def take(self, node: slicer.vtkMRMLSegmentationNode, parameters: Any) -> bool:
        """Choose a run's result as output, and show its CT where no slice view does.

        Returns:
            False, and nothing is done, if another CT was chosen during the run.
        """
        if output_for(parameters.inputVolume, node) is None:
            return False
        parameters.outputSegmentation = node
        if self._parameters() is not None:
            show_ct(parameters.inputVolume)
        return True

    def preselect(self) -> None:
        """Choose the only CT there is, if it is new: what was there before was left, or nothing chosen on purpose.

        Maps of this module are not offered.
        """
        parameters = self._parameters()
        self._hide(map_node_ids())
        if slicer.mrmlScene.IsBatchProcessing():  # the subject hierarchy, which holds modalities, is not ready
            return
        before, self._volumes = self._volumes, {node.GetID() for node in input_volumes()}
        candidates = input_candidates()
        if parameters.inputVolume is None and len(candidates) == 1 and candidates[0].GetID() not in before:
            parameters.inputVolume = candidates[0]
        self._show_abdomen()

    def forget(self, node: slicer.vtkMRMLNode) -> None:
        """Choose nothing in place of a node that is about to go; its selector would choose another one, unasked."""
        parameters = self._parameters()
        for role in ("inputVolume", "outputSegmentation", "roi"):
            if getattr(parameters, role) is node:
                setattr(parameters, role, None)

    def offer_run(self, model: InstalledModel | None, is_busy: bool) -> None:
        """Enable what can be clicked now; the button's tool tip says what is missing.

        Args:
            model: The model that is chosen, if there is one.
            is_busy: Whether a run is going on or about to start.
        """
        parameters = self._parameters()
        volume_node = parameters.inputVolume if parameters is not None else None
        self._ui.allFramesCheckBox.setEnabled(frames_of(volume_node) is not None and not is_busy)
        missing = ""
        if is_busy:
            missing = _("A segmentation is running.")
        elif volume_node is None:
            missing = _("Load a CT and choose it as input volume.")
        elif model is not None and model.spec is None:
            missing = model.problem
        self._ui.segmentButton.setEnabled(not missing)
        self._ui.segmentButton.setToolTip(missing or _("Segment the organs of the input volume."))

    def _show_abdomen(self) -> None:
        """Show the input in the abdomen window, if that is wanted; its voxels are looked at once only."""
        parameters = self._parameters()
        node = parameters.inputVolume
        display = node.GetDisplayNode() if node is not None else None
        now = (node, display, node is not None and node.GetImageData() is not None, parameters.abdomenWindow)
        if now != self._windowed:
            self._windowed = now
            show_abdomen(node, parameters.abdomenWindow)

    def _hide(self, node_ids: list[str]) -> None:
        """Leave nodes out of the input's list."""
        if hasattr(self._ui.inputSelector, "sortFilterProxyModel"):
            self._ui.inputSelector.sortFilterProxyModel().hiddenNodeIDs = node_ids

    def _on_roi_added(self, roi: slicer.vtkMRMLMarkupsROINode) -> None:
        """A ROI made in the panel encloses the input, so that it can be dragged."""
        parameters = self._parameters()
        is_new = not slicer.mrmlScene.IsImporting()
        if is_new and parameters is not None and parameters.inputVolume is not None:
            fit_roi(roi, parameters.inputVolume)
