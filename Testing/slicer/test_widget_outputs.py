"""Which segmentation a run writes to, and which one the panel shows."""

import numpy as np
import pytest

from support.panel_reading import cells, gates

pytestmark = pytest.mark.slow


def test_a_second_click_reuses_the_output(slicer, widget, done, wait, scene_nodes):
    before = scene_nodes()
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert scene_nodes() == before
    assert widget.ui.outputSelector.currentNode() is done


def test_a_second_ct_gets_a_result_of_its_own(slicer, widget, done, add_ct, wait):
    from AttentionUNetSegmentationLib.scene.organ_table import rows

    first = rows(done)
    second = add_ct("other", radius=12.0)
    widget.ui.inputSelector.setCurrentNode(second)
    assert widget.ui.outputSelector.currentNode() is None and widget.ui.organTable.rowCount == 0
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    made = widget.ui.outputSelector.currentNode()
    assert made is not done and made.GetName() == "other segmentation"
    assert made.GetNodeReference("AttentionUNet.Input") is second
    assert rows(done) == first and done.GetNodeReference("AttentionUNet.Input").GetName() == "CT ä"
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2
    assert float(cells(widget, 3)[0]) == pytest.approx(4 / 3 * np.pi * 12**3 / 1000, rel=0.05)


def test_a_run_that_ends_after_another_ct_was_chosen_leaves_the_panel_alone(
    slicer, widget, done, add_ct, predicting, wait
):
    first, second = widget.ui.inputSelector.currentNode(), add_ct("other", radius=12.0)
    predicting(seconds=0.5)
    widget.ui.inputSelector.setCurrentNode(second)
    widget.ui.segmentButton.click()
    widget.ui.inputSelector.setCurrentNode(first)
    wait(lambda: not widget.logic.isRunning)
    assert widget.ui.outputSelector.currentNode() is done
    assert float(cells(widget, 3)[0]) == pytest.approx(4 / 3 * np.pi * 18**3 / 1000, rel=0.05)
    assert widget.ui.statusLabel.text == "Done: other segmentation"
    widget.ui.inputSelector.setCurrentNode(second)
    assert widget.ui.outputSelector.currentNode().GetName() == "other segmentation"


def test_a_result_is_shown_over_its_ct_where_no_view_shows_that(slicer, widget, add_ct, predicting, wait):
    predicting()
    first, second = add_ct("first"), add_ct("second")
    slicer.util.setSliceViewerLayers(background=second)
    widget.ui.inputSelector.setCurrentNode(first)
    for shown in (first, second):
        widget.ui.segmentButton.click()
        wait(lambda: not widget.logic.isRunning)
        assert {view.GetBackgroundVolumeID() for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")} == {
            shown.GetID()
        }
        slicer.util.setSliceViewerLayers(background=second, foreground=first)  # the user's choice stays


def test_a_ct_that_is_chosen_again_shows_its_result_again(slicer, widget, done, add_ct):
    first, second = widget.ui.inputSelector.currentNode(), add_ct("other")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "the user's")
    widget.ui.inputSelector.setCurrentNode(second)
    assert widget.ui.outputSelector.currentNode() is None
    widget.ui.inputSelector.setCurrentNode(first)
    assert widget.ui.outputSelector.currentNode() is done and widget.ui.organTable.rowCount == 4


def test_looking_at_another_cts_result_does_not_make_it_the_output(slicer, widget, done, add_ct, wait):
    from AttentionUNetSegmentationLib.scene.organ_table import rows

    first = rows(done)
    widget.ui.inputSelector.setCurrentNode(add_ct("other", radius=12.0))
    widget.ui.outputSelector.setCurrentNode(done)
    assert widget.ui.organTable.rowCount == 4
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert widget.ui.outputSelector.currentNode().GetName() == "other segmentation" and rows(done) == first


def test_a_result_whose_ct_is_gone_is_not_overwritten(slicer, widget, done, add_ct, wait):
    slicer.mrmlScene.RemoveNode(done.GetNodeReference("AttentionUNet.Input"))
    wait(lambda: not widget.ui.segmentButton.enabled)
    assert widget.ui.outputSelector.currentNode() is done  # it can still be looked at
    add_ct("other")
    wait(lambda: widget.ui.segmentButton.enabled)
    assert widget.ui.outputSelector.currentNode() is None
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert widget.ui.outputSelector.currentNode() is not done
    assert done.GetSegmentation().GetNumberOfSegments() == 4


def test_an_empty_segmentation_is_used_whatever_the_input(slicer, widget, done, add_ct, wait):
    widget.ui.inputSelector.setCurrentNode(add_ct("other"))
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    widget.ui.outputSelector.setCurrentNode(mine)
    widget.ui.inputSelector.setCurrentNode(done.GetNodeReference("AttentionUNet.Input"))
    assert widget.ui.outputSelector.currentNode() is mine
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert widget.ui.outputSelector.currentNode() is mine and mine.GetSegmentation().GetNumberOfSegments() == 4


def test_choosing_another_result_shows_it(slicer, widget, done):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    widget.ui.outputSelector.setCurrentNode(other)
    assert widget.ui.organTable.rowCount == 0 and gates(widget) == ["none"] and widget.ui.statusLabel.text == ""
    widget.ui.outputSelector.setCurrentNode(done)
    assert widget.ui.organTable.rowCount == 4 and len(gates(widget)) == 10
