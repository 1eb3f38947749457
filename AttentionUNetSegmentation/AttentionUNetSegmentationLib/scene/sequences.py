"""Sequences of CTs: which frames a volume node stands for, and where the results of all of them go.

The browser node belongs to Slicer's module Sequences. Without that module no scene holds one, so it is only ever named
where a scene gave one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import slicer

from .mrml import table_column


@dataclass(frozen=True)
class Frames:
    """The sequence behind a volume node.

    Attributes:
        browser: The browser whose proxy the volume node is.
        sequence: The sequence of its frames.
        current: Index of the frame that the volume node shows.
    """

    browser: slicer.vtkMRMLSequenceBrowserNode
    sequence: slicer.vtkMRMLSequenceNode
    current: int

    @property
    def values(self) -> list[str]:
        """The frames' index values ("0", "0.4" s ...)."""
        return [self.sequence.GetNthIndexValue(n) for n in range(self.sequence.GetNumberOfDataNodes())]

    def results(self, node: slicer.vtkMRMLSegmentationNode) -> dict[str, slicer.vtkMRMLSegmentationNode]:
        """Index value -> frame, of those that a node shows one of; they live in a sequence, not in the scene."""
        sequence = self.browser.GetSequenceNode(node)
        count = 0 if sequence is None else sequence.GetNumberOfDataNodes()
        return {sequence.GetNthIndexValue(n): sequence.GetNthDataNode(n) for n in range(count)}

    def nodes(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The frames' volume nodes; they live in the sequence, not in the scene."""
        return [self.sequence.GetNthDataNode(n) for n in range(self.sequence.GetNumberOfDataNodes())]


def frames_of(node: slicer.vtkMRMLNode | None) -> Frames | None:
    """The sequence that a node shows a frame of; None if it shows none."""
    if node is None:
        return None
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        sequence = browser.GetSequenceNode(node)
        if sequence is None or not sequence.GetNumberOfDataNodes():
            continue
        master, selected = browser.GetMasterSequenceNode(), browser.GetSelectedItemNumber()
        current = selected
        if master is not None and sequence is not master and selected >= 0:
            current = sequence.GetItemNumberFromIndexValue(master.GetNthIndexValue(selected), False)
        return Frames(browser, sequence, min(max(current, 0), sequence.GetNumberOfDataNodes() - 1))
    return None


def result_sequence(frames: Frames, node: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSequenceNode:
    """The sequence in the same browser that holds a node's frames; made, empty, if there is none."""
    sequence = frames.browser.GetSequenceNode(node)
    if sequence is not None:
        return sequence
    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetName(f"{node.GetName()} sequence")
    sequence.SetIndexName(frames.sequence.GetIndexName())
    sequence.SetIndexUnit(frames.sequence.GetIndexUnit())
    sequence.SetIndexType(frames.sequence.GetIndexType())
    return slicer.mrmlScene.AddNode(sequence)


def keep_frame(sequence: slicer.vtkMRMLSequenceNode, node: slicer.vtkMRMLSegmentationNode, value: str) -> None:
    """Store a copy of what the node holds now as the frame of an index value."""
    sequence.SetDataNodeAtValue(node, value)


def connect(frames: Frames, sequence: slicer.vtkMRMLSequenceNode, node: slicer.vtkMRMLSegmentationNode) -> None:
    """Let the browser show the sequence's current frame in the node."""
    if frames.browser.GetSequenceNode(node) is sequence:
        return
    frames.browser.AddProxyNode(node, sequence, False)  # and the sequence: added alone first, it would get another node
    frames.browser.SetSaveChanges(sequence, True)  # edits of a frame's segments are kept


def write_frame_table(
    frames: Frames, node: slicer.vtkMRMLSegmentationNode, volumes_ml: Sequence[dict[str, float]], role: str
) -> slicer.vtkMRMLTableNode:
    """One row per frame: its index value, and the volume of each organ in ml.

    Args:
        frames: The frames.
        node: The segmentation node, which refers to the table.
        volumes_ml: Organ -> volume, per frame.
        role: The reference's role; a table that is there already is filled anew.
    """
    table_node = node.GetNodeReference(role)
    if table_node is None:
        table_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{node.GetName()} volumes per frame")
        node.SetNodeReferenceID(role, table_node.GetID())
    unit = frames.sequence.GetIndexUnit()
    columns = {f"{frames.sequence.GetIndexName() or 'frame'}{f' ({unit})' if unit else ''}": frames.values}
    organs = dict.fromkeys(organ for volumes in volumes_ml for organ in volumes)
    for organ in organs:
        columns[f"{organ} (ml)"] = [f"{volumes[organ]:.3f}" if organ in volumes else "" for volumes in volumes_ml]
    table_node.RemoveAllColumns()
    for n, (name, texts) in enumerate(columns.items()):
        is_text = n == 0 and frames.sequence.GetIndexType() != slicer.vtkMRMLSequenceNode.NumericIndex
        table_node.AddColumn(table_column(name, texts, is_text))
    return table_node
