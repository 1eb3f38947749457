"""The scene and the logics are the real ones, wired as in the application."""

import numpy as np
import pytest


def test_scene_events_and_clearing(slicer):
    heard = []
    scene = slicer.mrmlScene
    tags = [
        scene.AddObserver(scene.StartCloseEvent, lambda *_: heard.append("start")),
        scene.AddObserver(scene.EndCloseEvent, lambda *_: heard.append("end")),
    ]
    scene.AddNewNodeByClass("vtkMRMLModelNode", "m")
    scene.Clear()
    for tag in tags:
        scene.RemoveObserver(tag)
    assert heard == ["start", "end"]
    assert slicer.util.getNode("vtkMRMLViewNode*").GetLayoutName() == "1"
    assert scene.GetFirstNodeByName("m") is None
    assert scene.GetNodeByID("vtkMRMLSliceNodeRed") is not None


def test_subject_hierarchy_follows_the_nodes(slicer):
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    item = hierarchy.GetItemByDataNode(volume)
    assert hierarchy.GetItemName(item) == "CT"
    folder = hierarchy.CreateFolderItem(item, "Attention")
    inner = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "s2-1")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(inner), folder)
    assert slicer.util.getSubjectHierarchyItemChildren(folder) == [hierarchy.GetItemByDataNode(inner)]
    slicer.mrmlScene.RemoveNode(inner)
    assert slicer.util.getSubjectHierarchyItemChildren(folder) == []
    hidden = slicer.vtkMRMLModelNode()
    hidden.HideFromEditorsOn()
    slicer.mrmlScene.AddNode(hidden)
    assert hierarchy.GetItemByDataNode(hidden) == hierarchy.GetInvalidItemID()


@pytest.fixture
def segmentation(slicer):
    """A segmentation node with two segments, and its subject hierarchy item."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    for name in ("spleen", "liver"):
        node.GetSegmentation().AddEmptySegment(name, name)
    return node, slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(node)


def names_below(slicer, item):
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    return [hierarchy.GetItemName(child) for child in slicer.util.getSubjectHierarchyItemChildren(item)]


def test_every_segment_has_an_item(slicer, segmentation):
    node, item = segmentation
    assert names_below(slicer, item) == ["spleen", "liver"]
    node.GetSegmentation().GetSegment("liver").SetName("Leber")
    assert names_below(slicer, item) == ["spleen", "Leber"]
    node.GetSegmentation().RemoveSegment("spleen")
    assert names_below(slicer, item) == ["Leber"]
    node.GetSegmentation().RemoveAllSegments()
    assert names_below(slicer, item) == []


def test_a_segment_goes_and_is_renamed_with_its_item(slicer, segmentation):
    node, item = segmentation
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    spleen, liver = slicer.util.getSubjectHierarchyItemChildren(item)
    hierarchy.SetItemName(liver, "Leber")
    assert node.GetSegmentation().GetSegment("liver").GetName() == "Leber"
    hierarchy.RemoveItem(spleen)
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["liver"]
    assert names_below(slicer, item) == ["Leber"]


def test_a_removed_segmentation_takes_its_items_along_and_a_loaded_one_brings_them(slicer, segmentation, tmp_path):
    node, _ = segmentation
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.RemoveNode(node)
    assert not hierarchy.GetItemByName("spleen")
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    loaded = slicer.util.getNode("organs")
    item = slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(loaded)
    assert names_below(slicer, item) == ["spleen", "liver"]


def test_slice_views_show_the_layers(slicer):
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 6, 8), np.int16), name="bg")
    overlay = slicer.util.addVolumeFromArray(np.ones((4, 6, 8), np.float32), name="fg")
    slicer.util.setSliceViewerLayers(background=volume, foreground=overlay, foregroundOpacity=0.5)
    for name in ("Red", "Yellow", "Green"):
        composite = slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert composite.GetForegroundVolumeID() == overlay.GetID()
        assert composite.GetForegroundOpacity() == 0.5
    orientations = [
        slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().GetOrientation()
        for name in ("Red", "Yellow", "Green")
    ]
    assert orientations == ["Axial", "Sagittal", "Coronal"]


def test_slices_jump_to_a_point(slicer):
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, 10, -20, 30)
    for name, axis, position_mm in (("Yellow", 0, 10), ("Green", 1, -20), ("Red", 2, 30)):
        node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
        assert node.GetSliceToRAS().GetElement(axis, 3) == position_mm


def test_segments_and_their_arrays(slicer):
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.int16))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment_id = node.GetSegmentation().AddEmptySegment("a")
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 2, 3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, segment_id, volume)
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume), labels)


def test_default_color_nodes(slicer):
    for name in ("Grey", "Rainbow", "Inferno"):
        assert slicer.mrmlScene.GetFirstNodeByName(name).IsA("vtkMRMLColorNode"), name
    label_map = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    label_map.CreateDefaultDisplayNodes()
    assert label_map.GetDisplayNode().GetColorNode() is not None


def test_sequences_show_their_frames(slicer):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    for frame in range(3):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, np.full((2, 2, 2), frame, np.int16))
        sequence.SetDataNodeAtValue(volume, str(frame))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(2)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    proxy = browser.GetProxyNode(sequence)
    assert slicer.util.arrayFromVolume(proxy).max() == 2
    assert slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(proxy) is browser


def test_the_segment_editor_takes_a_segmentation(slicer):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    slicer.util.selectModule("SegmentEditor")
    slicer.modules.SegmentEditorWidget.editor.setSegmentationNode(node)
    assert slicer.util.getModuleWidget("SegmentEditor").editor.segmentationNode() is node
