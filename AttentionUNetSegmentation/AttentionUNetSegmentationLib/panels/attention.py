"""The panel's attention section: which gate is shown over the CT, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..scene.attention_view import (
    NOTHING,
    choices,
    explanation,
    share_text,
    show,
    slice_composites,
    was_taken_away,
)
from ..scene.map_volumes import maps_of
from ..scene.mrml import provenance_text


class AttentionPanel:
    """Keeps the slice views in step with the parameters and the widgets.

    Args:
        ui: The widgets of the .ui file.
        parameters: Gives the parameter node, or None while there is none.
    """

    def __init__(self, ui: Any, parameters: Callable[[], Any]) -> None:
        self._ui, self._parameters = ui, parameters
        self._filling = False
        self._shown: tuple | None = None
        self._seen: tuple[int, str] | None = None  # in how many views it was shown, and of which run
        self._names: list[str] = [NOTHING]
        self._map_node: slicer.vtkMRMLScalarVolumeNode | None = None
        ui.gateSelector.connect("currentIndexChanged(int)", self._on_gate)
        ui.colorMapSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_colors)

    def refresh(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """List the maps of a segmentation node, and show the one that was chosen, if it has it."""
        parameters = self._parameters()
        names = self._names = choices(node)
        if parameters is not None and parameters.gate in names and was_taken_away(maps_of(node).get(parameters.gate)):
            parameters.gate = NOTHING
        wanted = parameters.gate if parameters is not None and parameters.gate in names else NOTHING
        selector = self._ui.gateSelector
        self._filling = True
        selector.clear()
        selector.addItems(names)
        selector.setCurrentIndex(names.index(wanted))
        self._filling = False
        selector.setEnabled(len(names) > 1)
        self._shown = None
        self.update()

    def follow_scene(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """List the maps again if some came or went, show the chosen one in new views.

        A map that was deleted while it was shown, or that gave way to a volume that was loaded, is not chosen any more.
        """
        shown = self._map_node
        is_gone = shown is not None and slicer.mrmlScene.GetNodeByID(shown.GetID() or "") is not shown
        if is_gone:
            self._parameters().gate = NOTHING
        if is_gone or was_taken_away(shown) or choices(node) != self._names:
            self.refresh(node)
        else:
            self.update()

    def update(self) -> None:
        """Show what the parameters say; nothing happens if that is what is shown."""
        parameters = self._parameters()
        if parameters is None:
            return
        node, name = parameters.outputSegmentation, self._ui.gateSelector.currentText
        threshold = (parameters.attentionThreshold.minimum, parameters.attentionThreshold.maximum)
        wanted = (node, name, parameters.attentionOpacity, threshold, parameters.colorMap, parameters.linkViews)
        seen = len(slice_composites()), provenance_text(node)
        if (wanted == self._shown and seen == self._seen) or not name:
            return
        self._shown, self._seen = wanted, seen
        shown = self._map_node = show(*wanted)
        self._say(explanation(name, shown), share_text(shown))
        self._show_colors(shown)

    def follow_result(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Show the figures of the run that wrote the shown result last: a script may have run again."""
        if self._shown is not None and self._shown[0] is node:
            self.update()

    def clear(self) -> None:
        """Forget the nodes of a scene that is being closed."""
        self._shown = self._map_node = None
        self._names = [NOTHING]
        self._filling = True
        self._ui.gateSelector.clear()
        self._ui.gateSelector.addItems(self._names)
        self._filling = False
        self._say(explanation(NOTHING), "")

    def _say(self, explained: str, shares: str) -> None:
        self._ui.gateInfoLabel.setText(explained)
        self._ui.attentionShareLabel.setText(shares)
        self._ui.attentionShareLabel.setVisible(bool(shares))

    def _show_colors(self, map_node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """The selector says which colours the map has."""
        colors = map_node.GetDisplayNode().GetColorNode() if map_node is not None else self._parameters().colorMap
        self._filling = True
        self._ui.colorMapSelector.setCurrentNode(colors)
        self._filling = False

    def _on_gate(self, index: int) -> None:
        parameters = self._parameters()
        if not self._filling and parameters is not None and index >= 0:
            parameters.gate = self._ui.gateSelector.currentText
            self.update()

    def _on_colors(self, node: slicer.vtkMRMLColorNode | None) -> None:
        parameters = self._parameters()
        if self._filling or parameters is None or node is None or self._shown is None:
            return
        if self._shown[1] != NOTHING:  # without a map the selector changes by itself only
            parameters.colorMap = node
            self.update()
