"""The attention maps' own colour table. Called from Slicer's main thread only."""

from __future__ import annotations

import slicer

from .mrml import PREFIX

COLORS_ATTRIBUTE = PREFIX + "Colors"
NUMBER_OF_COLORS = 256


def attention_colors() -> slicer.vtkMRMLColorTableNode:
    """The project's own colour table, black over red and yellow to white; it is saved with the scene."""
    tables = slicer.util.getNodesByClass("vtkMRMLColorTableNode")
    node = next((table for table in tables if table.GetAttribute(COLORS_ATTRIBUTE)), None)
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetName("Attention")
        node.SetAttribute(COLORS_ATTRIBUTE, "1")
        node.SetAttribute("Category", "Attention")
        _fill_colors(node)
        node = slicer.mrmlScene.AddNode(node)
    elif are_missing(node):
        _fill_colors(node)
    node.HideFromEditorsOff()  # colour nodes are hidden at first, and Slicer's save dialog skips what is hidden
    return node


def are_missing(colors: slicer.vtkMRMLColorNode | None) -> bool:
    """Whether there are no colours, or a table without any, as of a scene whose colour file was not saved."""
    return colors is None or (colors.IsA("vtkMRMLColorTableNode") and not colors.GetNumberOfColors())


def _fill_colors(node: slicer.vtkMRMLColorTableNode) -> None:
    node.SetTypeToUser()
    node.SetNumberOfColors(NUMBER_OF_COLORS)
    for index in range(NUMBER_OF_COLORS):
        x = index / (NUMBER_OF_COLORS - 1)
        red, green, blue = (min(1.0, max(0.0, value)) for value in (2.2 * x, 2.2 * x - 0.8, 4 * x - 3))
        node.SetColor(index, f"{x:.2f}", red, green, blue, 1.0)
