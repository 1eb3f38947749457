"""What the user made of a result stays: a run replaces only what a run wrote, and nothing of it was changed since."""

import numpy as np
import pytest
import vtk

import slicer_host
from support.panel_reading import errors

pytestmark = pytest.mark.slow


@pytest.fixture
def result(logic, add_ct, network):
    """A CT and the result of a run on it."""
    ct = add_ct()
    return ct, logic.segment(ct, device="cpu", predictor=network())


@pytest.fixture
def again(logic, network):
    """Function that segments once more into the same node."""

    def run(ct, node, **options):
        return logic.segment(ct, node, device="cpu", predictor=network(), **options)

    return run


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


CHANGES = [paint, rename, move, harden, make_surfaces, forget_fingerprints, edit_shared]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_script_keeps_what_was_changed_and_gets_a_new_segmentation(slicer, result, again, change):
    ct, node = result
    change(slicer, node)
    segment = node.GetSegmentation().GetSegment("pancreas")
    before = names_of(node), segment.GetMTime()
    made = again(ct, node)
    assert made is not node and names_of(made) == ["pancreas", "spleen", "right kidney", "left kidney"]
    assert node.GetSegmentation().GetSegment("pancreas") is segment and (names_of(node), segment.GetMTime()) == before
    from AttentionUNetSegmentationLib.scene.mrml import result_notes

    [note] = [note for note in result_notes(made) if "new segmentation" in note]
    assert note.startswith("segments of 'CT segmentation' were changed since a run wrote them (")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_it_is_replaced_if_the_script_says_so(slicer, result, again, change):
    ct, node = result
    change(slicer, node)
    assert again(ct, node, replaceEdited=True) is node
    assert names_of(node) == ["pancreas", "spleen", "right kidney", "left kidney"]
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    assert again(ct, node) is node  # its own again


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


@pytest.mark.parametrize("change", [undo, collapse, recolour, show_in_3d, delete_one], ids=lambda each: each.__name__)
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


def test_a_cloned_segmentation_is_the_users(slicer, result, again):
    ct, node = result
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    clone_of = slicer.modules.subjecthierarchy.logic().CloneSubjectHierarchyItem
    clone = hierarchy.GetItemDataNode(clone_of(hierarchy, hierarchy.GetItemByDataNode(node)))
    assert again(ct, clone) not in (node, clone)


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
