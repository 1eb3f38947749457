"""What the panel takes as input: which volume it chooses, the ROI, and what it says while there is none."""

import numpy as np
import pytest

import slicer_host
from support.panel_reading import errors, gates, model_version


def test_the_empty_panel_says_what_is_missing(widget):
    assert not widget.ui.segmentButton.enabled and not widget.ui.cancelButton.enabled
    assert widget.ui.segmentButton.toolTip == "Load a CT and choose it as input volume."
    assert "no proof of what caused the result" in widget.ui.attentionNoteLabel.text
    assert widget.ui.modelSelector.currentText.startswith(f"abdomen-ct {model_version()}:")
    assert not widget.ui.removeModelButton.enabled
    assert gates(widget) == ["none"] and not widget.ui.exportButton.enabled


def test_the_only_ct_is_chosen(widget, add_ct, wait):
    ct = add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    assert widget.ui.inputSelector.currentNode() is ct
    assert widget.ui.segmentButton.toolTip == "Segment the organs of the input volume."


def test_of_two_volumes_the_one_that_is_ct_is_chosen(slicer, widget, add_ct, wait):
    slicer_host.leave()
    nodes = [add_ct("first"), add_ct("second")]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for node, modality in zip(nodes, ("MR", "CT"), strict=True):
        hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", modality)
    shown = slicer_host.enter("AttentionUNetSegmentation")
    assert shown.ui.inputSelector.currentNode() is nodes[1]


def test_what_was_left_is_not_chosen_unasked(slicer, widget, add_ct, wait):
    first = add_ct("first")
    wait(lambda: widget.ui.segmentButton.enabled)
    second = add_ct("second")
    slicer_host.process_events(0.05)
    slicer.mrmlScene.RemoveNode(first)
    slicer_host.process_events(0.05)
    assert widget.ui.inputSelector.currentNode() is None and not widget.ui.segmentButton.enabled
    slicer.mrmlScene.RemoveNode(second)
    add_ct("third")
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.inputSelector.setCurrentNode(None)  # on purpose
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "point")
    slicer_host.process_events(0.05)
    assert widget.ui.inputSelector.currentNode() is None


def test_the_only_ct_of_a_scene_that_was_loaded_elsewhere_is_chosen(slicer, widget, add_ct, wait):
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    slicer_host.leave()
    slicer.mrmlScene.Clear(False)
    ct = add_ct()  # gets the same node ID
    assert slicer_host.enter("AttentionUNetSegmentation").ui.inputSelector.currentNode() is ct


def test_label_maps_and_colour_images_are_not_offered(slicer, widget, wait):
    for name, shape in (("vtkMRMLLabelMapVolumeNode", (4, 4, 4)), ("vtkMRMLVectorVolumeNode", (4, 4, 4, 3))):
        slicer.util.addVolumeFromArray(np.zeros(shape, np.uint8), nodeClassName=name)
    slicer_host.process_events(0.05)
    assert widget.ui.inputSelector.nodeCount() == 0 and not widget.ui.segmentButton.enabled


def test_an_unusable_input_is_shown_once(slicer, widget, wait):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    assert errors() == ["the volume 'nothing' has no voxels"]
    assert widget.ui.segmentButton.enabled and not widget.logic.isRunning


def test_a_roi_and_probabilities_are_passed_on(slicer, widget, add_ct, predicting, wait):
    predicting()
    add_ct()
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "far away")
    roi.SetCenter(900, 0, 0)
    roi.SetSize(10, 10, 10)
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.roiSelector.setCurrentNode(roi)
    widget.ui.segmentButton.click()
    assert errors() == ["the ROI 'far away' lies outside the volume 'CT'"]
    widget.ui.roiSelector.setCurrentNode(None)
    widget.ui.probabilitiesCheckBox.click()
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert gates(widget)[-3:] == ["probability kidney", "probability pancreas", "probability spleen"]


def test_a_new_roi_encloses_the_input(slicer, widget, add_ct, wait):
    ct = add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    roi = widget.ui.roiSelector.addNode()
    bounds, expected = [0.0] * 6, [0.0] * 6
    roi.GetRASBounds(bounds)
    ct.GetRASBounds(expected)
    assert bounds == pytest.approx(expected)
    assert widget._parameterNode.roi is roi
