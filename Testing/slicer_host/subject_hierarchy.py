"""Subject hierarchy items for data nodes and for segments: what Slicer's Qt plugins do, by observers."""

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
    if node.IsA("vtkMRMLSegmentationNode"):
        _update_segments(node)


def _require_main_thread(what: str) -> None:
    if threading.current_thread() is not threading.main_thread():
        faults.record(f"{what} in thread '{threading.current_thread().name}': MRML belongs to the main thread")


def _segment_items(hierarchy, node) -> dict[str, int]:
    """Segment ID -> item, of a segmentation's children."""
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetItemByDataNode(node), children)
    items = [children.GetId(n) for n in range(children.GetNumberOfIds())]
    attribute = node.GetSegmentIDAttributeName()
    return {hierarchy.GetItemAttribute(item, attribute): item for item in items if _is_segment(hierarchy, item)}


def _is_segment(hierarchy, item: int) -> bool:
    return hierarchy.HasItemAttribute(item, slicer.vtkMRMLSegmentationNode.GetSegmentIDAttributeName())


def _segment_of(hierarchy, item: int):
    """The segmentation that an item's segment belongs to and the segment's ID; None if the item is no segment's."""
    node = hierarchy.GetItemDataNode(hierarchy.GetItemParent(item)) if _is_segment(hierarchy, item) else None
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        return None
    return node.GetSegmentation(), hierarchy.GetItemAttribute(item, node.GetSegmentIDAttributeName())


def _update_segments(node) -> None:
    """Give every segment of a segmentation node an item with its name, in their order, and no other segment one."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    parent = hierarchy.GetItemByDataNode(node)
    if parent == hierarchy.GetInvalidItemID():
        return
    segmentation = node.GetSegmentation()
    for segment_id, item in _segment_items(hierarchy, node).items():
        segment = segmentation.GetSegment(segment_id)
        if segment is None:
            hierarchy.RemoveItem(item)
        elif hierarchy.GetItemName(item) != (segment.GetName() or ""):
            hierarchy.SetItemName(item, segment.GetName() or "")
    present = _segment_items(hierarchy, node)
    level = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyVirtualBranchAttributeName()
    hierarchy.SetItemAttribute(parent, level, "1")
    for place, segment_id in enumerate(segmentation.GetSegmentIDs()):
        if segment_id not in present:
            name = segmentation.GetSegment(segment_id).GetName() or ""
            item = hierarchy.CreateHierarchyItem(parent, name, level, place)
            hierarchy.SetItemAttribute(item, node.GetSegmentIDAttributeName(), segment_id)


def _on_segments_changed(node, event) -> None:
    scene = node.GetScene()
    if scene is not None and not scene.IsImporting() and not scene.IsClosing() and not _items_being_removed:
        _update_segments(node)


_items_being_removed: list[int] = []


@vtk.calldata_type(vtk.VTK_LONG)
def _on_item_about_to_be_removed(hierarchy, event, item) -> None:
    """A segment goes with its item."""
    scene, owner = hierarchy.GetScene(), _segment_of(hierarchy, item)
    if owner is None or scene is None or scene.IsClosing():
        return
    segmentation, segment_id = owner
    if segmentation.GetSegment(segment_id) is not None:
        _items_being_removed.append(item)
        try:
            segmentation.RemoveSegment(segment_id)
        finally:
            _items_being_removed.pop()


@vtk.calldata_type(vtk.VTK_LONG)
def _on_item_modified(hierarchy, event, item) -> None:
    """A segment takes its item's name."""
    owner = _segment_of(hierarchy, item) if item else None
    segment = owner[0].GetSegment(owner[1]) if owner else None
    if segment is not None and segment.GetName() != hierarchy.GetItemName(item):
        segment.SetName(hierarchy.GetItemName(item))


def _watch(node) -> None:
    """Observe a segmentation node's segments, or a subject hierarchy's items."""
    if node.IsA("vtkMRMLSegmentationNode"):
        kind = slicer.vtkSegmentation
        for segment_event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified):
            node.AddObserver(segment_event, _on_segments_changed)
    elif node.IsA("vtkMRMLSubjectHierarchyNode"):
        node.AddObserver(node.SubjectHierarchyItemAboutToBeRemovedEvent, _on_item_about_to_be_removed)
        node.AddObserver(node.SubjectHierarchyItemModifiedEvent, _on_item_modified)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_node_added(scene, event, node) -> None:
    _require_main_thread(f"node {node.GetName()} added")
    _watch(node)
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
    """What has no item yet gets one; a segmentation that has one gets none for its segments."""
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for node in slicer.util.getNodesByClass("vtkMRMLNode", scene):
        if not hierarchy.GetItemByDataNode(node):
            _add_item(node)


def observe(scene) -> None:
    """Keeps the scene's subject hierarchy in step with its nodes until the scene's observers are removed."""
    _watch(slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene))
    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, _on_node_added)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, _on_node_about_to_be_removed)
    scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, _on_import_ended)
