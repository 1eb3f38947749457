"""A result among what the user does with it: its place in the study, how organs are shown, a CT that is moved."""

import numpy as np
import pytest
import vtk

pytestmark = pytest.mark.slow


def shifted(slicer, *millimetres):
    """A transform."""
    matrix = vtk.vtkTransform()
    matrix.Translate(*millimetres)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix.GetMatrix())
    return transform


def test_a_result_lies_in_the_study_of_its_ct(slicer, logic, add_ct, network):
    ct = add_ct()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateFolderItem(hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "patient"), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct), study)
    node = logic.segment(ct, device="cpu", predictor=network())
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_a_result_stays_where_the_user_put_it(slicer, result, again):
    ct, node = result
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "mine")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
    assert again(ct, node) is node
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


@pytest.mark.parametrize("fails", [False, True])
def test_a_second_run_keeps_how_organs_are_shown(slicer, result, again, monkeypatch, fails):
    ct, node = result
    display = node.GetDisplayNode()
    node.GetSegmentation().GetSegment("pancreas").SetColor(0, 1, 0)
    display.SetSegmentVisibility("spleen", False)
    display.SetSegmentOpacity2DFill("pancreas", 0.25)
    if fails:
        from AttentionUNetSegmentationLib.scene import request

        monkeypatch.delattr(request, "write_maps")
        with pytest.raises(NameError):
            again(ct, node)
    else:
        assert again(ct, node) is node
    assert node.GetSegmentation().GetSegment("pancreas").GetColor() == (0, 1, 0)
    assert not display.GetSegmentVisibility("spleen") and display.GetSegmentVisibility("pancreas")
    assert display.GetSegmentOpacity2DFill("pancreas") == pytest.approx(0.25)
    assert display.GetSegmentOpacity2DFill("spleen") == pytest.approx(1.0)


def test_mean_hu_are_those_of_a_ct_that_was_moved(slicer, result):
    from AttentionUNetSegmentationLib.scene.organ_table import rows

    ct, node = result
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "pancreas", ct)
    mask[int(np.argwhere(mask)[:, 0].mean()) :] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "pancreas", ct)
    before = next(row for row in rows(node) if row.name == "pancreas")
    ct.SetAndObserveTransformNodeID(shifted(slicer, 500, 0, 0).GetID())
    [pancreas] = [row for row in rows(node) if row.name == "pancreas"]
    assert before.mean_hu is not None and pancreas.mean_hu is None  # no CT there any more
    node.SetAndObserveTransformNodeID(shifted(slicer, 500, 0, 0).GetID())
    [pancreas] = [row for row in rows(node) if row.name == "pancreas"]
    assert pancreas.mean_hu == pytest.approx(before.mean_hu)


def test_the_mean_of_a_scale_lies_where_its_gates_do(slicer, result):
    from AttentionUNetSegmentationLib.scene.attention_view import map_node
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    ct, node = result
    ct.SetAndObserveTransformNodeID(shifted(slicer, 9, 0, 0).GetID())
    assert map_node(node, "mean s2").GetParentTransformNode() is maps_of(node)["s2-1"].GetParentTransformNode() is None
