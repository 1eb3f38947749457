"""Subject hierarchy items for data nodes: what Slicer's Qt plugin logic does, by scene observers."""

import threading

import slicer
import vtk

from . import faults

# The node classes for which Slicer has a subject hierarchy plugin.
_DATA_CLASSES = (
    "vtkMRMLScalarVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
)


def _add_item(node) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    if node.GetHideFromEditors() or not any(node.IsA(name) for name in _DATA_CLASSES):
        return
    if hierarchy.GetItemByDataNode(node) == hierarchy.GetInvalidItemID():
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


def _require_main_thread(what: str) -> None:
    if threading.current_thread() is not threading.main_thread():
        faults.record(f"{what} in thread '{threading.current_thread().name}': MRML belongs to the main thread")


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_node_added(scene, event, node) -> None:
    _require_main_thread(f"node {node.GetName()} added")
    if not scene.IsImporting() and not node.IsA("vtkMRMLSubjectHierarchyNode"):
        _add_item(node)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_node_about_to_be_removed(scene, event, node) -> None:
    _require_main_thread(f"node {node.GetName()} removed")
    if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
        return
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item != hierarchy.GetInvalidItemID():
        hierarchy.RemoveItem(item, False, False)


def _on_import_ended(scene, event) -> None:
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    for node in slicer.util.getNodesByClass("vtkMRMLNode", scene):
        _add_item(node)


def observe(scene) -> None:
    """Keeps the scene's subject hierarchy in step with its nodes until the scene's observers are removed."""
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, _on_node_added)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, _on_node_about_to_be_removed)
    scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, _on_import_ended)
