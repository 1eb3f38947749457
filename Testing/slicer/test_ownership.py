"""What the user made of a result stays: a run replaces only what a run wrote, and nothing of it was changed since."""

import numpy as np
import pytest
import vtk

import slicer_host
from support.panel_reading import errors

pytestmark = pytest.mark.slow


def mask_of(slicer, node, segment_id="pancreas"):
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, node.GetNodeReference("AttentionUNet.Input"))


def names_of(node):
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]


def paint(slicer, node, segment_id="pancreas"):
    """Move the organ by a slice, as many voxels as before; returns the mask."""
    mask = np.roll(mask_of(slicer, node, segment_id), 1, axis=0)
    ct = node.GetNodeReference("AttentionUNet.Input")
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment_id, ct)
    return mask


def rename(slicer, node):
    node.GetSegmentation().GetSegment("pancreas").SetName("pancreas, corrected")


def move(slicer, node):
    """Shift the labelmap by half a millimetre."""
    image = node.GetSegmentation().GetSegment("pancreas").GetRepresentation("Binary labelmap")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    matrix.SetElement(0, 3, matrix.GetElement(0, 3) + 0.5)
    image.SetImageToWorldMatrix(matrix)


def harden(slicer, node):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkTransform()
    matrix.Translate(3, 4, 5)
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    node.SetAndObserveTransformNodeID(transform.GetID())
    node.HardenTransform()


def make_surfaces(slicer, node):
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")


def forget_fingerprints(slicer, node):
    """As an older version wrote it."""
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        node.GetSegmentation().GetSegment(segment_id).RemoveTag("AttentionUNet.Written")


def edit_shared(slicer, node):
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    paint(slicer, node)


def align(slicer, node):
    """Put a transform on it that is not hardened."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "alignment")
    node.SetAndObserveTransformNodeID(transform.GetID())


def call_it_a_mass(slicer, node):
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    node.GetSegmentation().GetSegment("pancreas").SetTag(tag, "mine~SCT^49755003^Morphology~SCT^4147007^Mass~^^~~^^~^^")


def complete(slicer, node):
    node.GetSegmentation().GetSegment("pancreas").SetTag("Segmentation.Status", "completed")


CHANGES = [
    paint, rename, move, harden, make_surfaces, forget_fingerprints, edit_shared, align, call_it_a_mass, complete
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_script_keeps_what_was_changed_and_gets_a_new_segmentation(slicer, result, again, change):
    ct, node = result
    change(slicer, node)
    segment, transform = node.GetSegmentation().GetSegment("pancreas"), node.GetTransformNodeID()
    before = names_of(node), segment.GetMTime()
    made = again(ct, node)
    assert made is not node and names_of(made) == ["pancreas", "spleen", "right kidney", "left kidney"]
    assert node.GetSegmentation().GetSegment("pancreas") is segment and (names_of(node), segment.GetMTime()) == before
    assert node.GetTransformNodeID() == transform
    assert "segments of 'CT segmentation' were changed since a run wrote them (" in notes(made)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_it_is_replaced_if_the_script_says_so(slicer, result, again, change):
    ct, node = result
    change(slicer, node)
    assert again(ct, node, replaceEdited=True) is node
    assert names_of(node) == ["pancreas", "spleen", "right kidney", "left kidney"]
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    assert node.GetParentTransformNode() is None
    assert again(ct, node) is node  # its own again


def maps_of(node):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    return maps_of(node)


def notes(node):
    from AttentionUNetSegmentationLib.scene.mrml import result_notes

    return "\n".join(result_notes(node))


def undo(slicer, node):
    before = mask_of(slicer, node).copy()
    paint(slicer, node)
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        before, node, "pancreas", node.GetNodeReference("AttentionUNet.Input")
    )


def collapse(slicer, node):
    node.GetSegmentation().CollapseBinaryLabelmaps(False)


def recolour(slicer, node):
    node.GetSegmentation().GetSegment("pancreas").SetColor(0, 1, 0)
    node.GetDisplayNode().SetSegmentVisibility("spleen", False)


def show_in_3d(slicer, node):
    node.CreateClosedSurfaceRepresentation()


def delete_one(slicer, node):
    node.GetSegmentation().RemoveSegment("pancreas")


def reset_status(slicer, node):
    node.GetSegmentation().GetSegment("pancreas").SetTag("Segmentation.Status", "notstarted")


def move_with_the_ct(slicer, node):
    align(slicer, node)
    node.GetNodeReference("AttentionUNet.Input").SetAndObserveTransformNodeID(node.GetTransformNodeID())


NO_CHANGES = [undo, collapse, recolour, show_in_3d, delete_one, reset_status, move_with_the_ct]


@pytest.mark.parametrize("change", NO_CHANGES, ids=lambda each: each.__name__)
def test_what_is_no_work_of_the_users_is_replaced(slicer, result, again, change):
    ct, node = result
    change(slicer, node)
    assert again(ct, node) is node
    assert sorted(names_of(node)) == ["left kidney", "pancreas", "right kidney", "spleen"]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("with_fingerprints", [False, True])
def test_copies_and_additions_are_never_removed(slicer, result, again, replace, with_fingerprints):
    ct, node = result
    segmentation = node.GetSegmentation()
    copy = slicer.vtkSegment()
    copy.DeepCopy(segmentation.GetSegment("pancreas"))  # name, tags and voxels are the original's
    segmentation.AddSegment(copy, "my copy")
    segmentation.AddEmptySegment("mine", "my own")
    if not with_fingerprints:
        forget_fingerprints(slicer, node)
    expected = mask_of(slicer, node, "my copy")
    made = again(ct, node, replaceEdited=replace)
    assert (made is node) is (replace or with_fingerprints)
    assert (mask_of(slicer, node, "my copy") == expected).all() and "my own" in names_of(node)
    assert names_of(node).count("pancreas") == 2


def clone(slicer, node):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    clone_of = slicer.modules.subjecthierarchy.logic().CloneSubjectHierarchyItem
    return hierarchy.GetItemDataNode(clone_of(hierarchy, hierarchy.GetItemByDataNode(node)))


def test_a_copy_whose_original_is_gone_is_still_a_copy(slicer, logic, add_ct, network):
    from AttentionUNetSegmentationLib.scene.ownership import RESULT_ROLE, latest_result

    ct = add_ct()
    node = logic.segment(ct, device="cpu", predictor=network())
    copy = copy_node(slicer, node)
    slicer.mrmlScene.RemoveNode(node)
    copy.SetNodeReferenceID(RESULT_ROLE, None)  # as Slicer leaves it sooner or later
    assert latest_result(ct) is None
    assert logic.segment(ct, copy, device="cpu", predictor=network()) is not copy


def copy_node(slicer, node):
    """A copy that refers to the CT and the maps, too."""
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "copy")
    copy.Copy(node)
    assert copy.GetNodeReference("AttentionUNet.Input") is node.GetNodeReference("AttentionUNet.Input")
    return copy


def copy_segment(slicer, node):
    """The pancreas in a segmentation of the user's own, under the same ID."""
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "keepers")
    copy.GetSegmentation().CopySegmentFromSegmentation(node.GetSegmentation(), "pancreas")
    return copy


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("make", [clone, copy_node, copy_segment], ids=lambda each: each.__name__)
def test_a_copy_in_another_segmentation_is_the_users(slicer, result, again, make, replace):
    ct, node = result
    copy = make(slicer, node)
    segments = {each: copy.GetSegmentation().GetSegment(each) for each in copy.GetSegmentation().GetSegmentIDs()}
    made = again(ct, copy, replaceEdited=replace, attention=False)
    assert made not in (node, copy)
    assert {
        each: copy.GetSegmentation().GetSegment(each) for each in copy.GetSegmentation().GetSegmentIDs()
    } == segments
    assert f"{copy.GetName()!r} holds the result of another volume, or a copy of a result; the result" in notes(made)
    assert len(maps_of(node)) == 6
    assert again(ct, node) is node


def test_a_segment_that_came_from_another_result_is_never_removed(slicer, result, again):
    ct, node = result
    other = again(ct, None)
    node.GetSegmentation().RemoveSegment("pancreas")
    node.GetSegmentation().CopySegmentFromSegmentation(other.GetSegmentation(), "pancreas")
    copy = node.GetSegmentation().GetSegment("pancreas")
    assert again(ct, node, replaceEdited=True) is node
    assert node.GetSegmentation().GetSegment("pancreas") is copy and names_of(node).count("pancreas") == 2


@pytest.mark.parametrize("replace", [False, True])
def test_the_result_of_another_ct_is_kept(slicer, result, again, add_ct, replace):
    ct, node = result
    maps, other_ct = maps_of(node), add_ct("other", centre=(0, -20, 45))
    made = again(other_ct, node, replaceEdited=replace)
    assert made is not node and made.GetNodeReference("AttentionUNet.Input") is other_ct
    assert "'CT segmentation' holds the result of another volume" in notes(made)
    assert maps_of(node) == maps and node.GetNodeReference("AttentionUNet.Input") is ct
    assert all(each.GetName().endswith(", CT") for each in maps.values())


def test_the_result_of_a_ct_that_is_gone_is_kept(slicer, result, again, add_ct):
    ct, node = result
    slicer.mrmlScene.RemoveNode(ct)
    assert again(add_ct("CT"), node) is not node


@pytest.mark.parametrize("edited", [False, True])
def test_ownership_survives_an_import_beside_another_scene(slicer, result, again, tmp_path, edited):
    ct, node = result
    if edited:
        paint(slicer, node)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    [loaded] = [each for each in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if each is not node]
    loaded_ct, maps = loaded.GetNodeReference("AttentionUNet.Input"), maps_of(loaded)
    assert loaded_ct is not ct and loaded.GetID() != node.GetID()
    assert (again(loaded_ct, loaded) is loaded) is not edited
    assert maps_of(loaded) == maps and (again(ct, node) is node) is not edited


@pytest.mark.parametrize("before_saving", [lambda *_: None, collapse, show_in_3d], ids=["as written", "shared", "3D"])
@pytest.mark.parametrize("edited", [False, True])
def test_ownership_survives_saving_and_loading(slicer, result, again, tmp_path, before_saving, edited):
    _, node = result
    before_saving(slicer, node)
    if edited:
        paint(slicer, node)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    loaded = slicer.util.getNode("CT segmentation")
    assert (again(slicer.util.getNode("CT"), loaded) is loaded) is not edited


@pytest.mark.parametrize("replace", [False, True])
def test_edits_during_a_run_are_kept(slicer, logic, result, network, wait, replace):
    ct, node = result
    if replace:
        rename(slicer, node)  # allowed to go, as it is now
    ends = []
    logic.start(ct, node, device="cpu", predictor=network(seconds=0.3), replaceEdited=replace, onFinished=ends.append)
    mask = paint(slicer, node)
    wait(lambda: ends)
    assert ends[0] is not node and (mask_of(slicer, node) == mask).all()


def test_a_failure_gives_edited_segments_back(slicer, result, again, monkeypatch):
    ct, node = result
    mask = paint(slicer, node)
    rename(slicer, node)
    node.GetSegmentation().AddEmptySegment("mine", "my own")
    node.GetSegmentation().SetSegmentIndex("mine", 1)
    before = names_of(node)
    from AttentionUNetSegmentationLib.scene import request

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(request, "write_maps", fail)
    with pytest.raises(OSError, match="no space"):
        again(ct, node, replaceEdited=True)
    assert names_of(node) == before and (mask_of(slicer, node) == mask).all()
    monkeypatch.undo()
    assert again(ct, node) is not node  # still the user's


def test_a_failure_gives_the_users_transform_and_segmentation_back(slicer, result, again, monkeypatch):
    ct, node = result
    align(slicer, node)
    transform = node.GetTransformNodeID()
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    from AttentionUNetSegmentationLib.scene import request

    monkeypatch.delattr(request, "write_maps")
    for output in (node, mine):
        with pytest.raises(NameError):
            again(ct, output, replaceEdited=True)
    assert node.GetTransformNodeID() == transform and mine.GetNodeReference("AttentionUNet.Input") is None
    monkeypatch.undo()
    assert again(ct, node) is not node and again(ct, mine) is mine


def click(widget, wait, **answers):
    with slicer_host.testing_mode(False), slicer_host.answering(**answers):
        widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    return [message.text for message in slicer_host.shown_messages("question")]


def test_the_panel_asks_once_and_keeps(slicer, widget, done, wait):
    mask = paint(slicer, done)
    rename(slicer, done)
    question = "Segments of CT ä segmentation were changed since a run wrote them: pancreas, corrected."
    assert click(widget, wait, button="Keep") == [question]
    made = widget.ui.outputSelector.currentNode()
    assert made is not done and (mask_of(slicer, done) == mask).all() and errors() == []
    assert click(widget, wait) == [question]  # the new one is the module's own
    assert widget.ui.outputSelector.currentNode() is made


def test_the_panel_asks_once_and_replaces(slicer, widget, done, wait):
    rename(slicer, done)
    assert len(click(widget, wait, button="Replace")) == 1
    assert widget.ui.outputSelector.currentNode() is done and "pancreas, corrected" not in names_of(done)


def test_the_panel_asks_about_a_transform(slicer, widget, done, wait):
    align(slicer, done)
    assert len(click(widget, wait, button="Keep")) == 1
    assert widget.ui.outputSelector.currentNode() is not done and done.GetParentTransformNode().GetName() == "alignment"


def test_the_panel_asks_once_and_starts_nothing(slicer, widget, done, wait, scene_nodes):
    rename(slicer, done)
    before = scene_nodes()
    assert len(click(widget, wait, accept=False)) == 1
    assert scene_nodes() == before and names_of(done)[0] == "pancreas, corrected" and errors() == []
    assert widget.ui.statusLabel.text == "Cancelled; the scene is as it was." and widget.ui.segmentButton.enabled


def test_in_testing_mode_nothing_is_asked_and_edits_are_kept(slicer, widget, done, wait):
    mask = paint(slicer, done)
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert widget.ui.outputSelector.currentNode() is not done and (mask_of(slicer, done) == mask).all()
    assert slicer_host.shown_messages() == []
