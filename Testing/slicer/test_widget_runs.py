"""A run, from the click on Segment to its end: the result, progress, cancel, errors, and what interrupts it."""

import threading

import numpy as np
import pytest

import slicer_host
from support.panel_reading import cells, errors, model_version

pytestmark = pytest.mark.slow


def test_a_click_segments(widget, done):
    assert errors() == []
    assert cells(widget, 2) == ["pancreas", "spleen", "right kidney", "left kidney"]
    assert float(cells(widget, 3)[0]) == pytest.approx(4 / 3 * np.pi * 18**3 / 1000, rel=0.05)
    assert float(cells(widget, 4)[0]) == pytest.approx(188, abs=10)  # the ball's edge is soft
    assert cells(widget, 3)[1:] == ["0.0"] * 3 and cells(widget, 4)[1:] == ["-"] * 3
    status = widget.ui.statusLabel.text
    seconds = float(widget._parameterNode.outputSegmentation.GetAttribute("AttentionUNet.seconds"))
    assert seconds > 0  # may be less than the tenth that the line shows
    assert status == f"{seconds:.1f} s on CPU (PyTorch), model abdomen-ct {model_version()}"
    assert "\u26a0 spleen: not found\n" in widget.ui.warningsLabel.text
    assert widget.ui.segmentButton.enabled and not widget.ui.cancelButton.enabled
    assert widget.ui.outputSelector.currentNode() is done


def test_during_a_run_there_is_progress_and_no_second_click(widget, add_ct, predicting, wait):
    predictor = predicting(seconds=1.0)
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    assert not widget.ui.segmentButton.enabled and widget.ui.cancelButton.enabled
    assert widget.ui.segmentButton.toolTip == "A segmentation is running."
    widget.ui.segmentButton.click()
    widget.onSegment()
    wait(lambda: widget.ui.progressBar.value > 0)
    assert not widget.ui.progressBar.isHidden()
    assert widget.ui.statusLabel.text == "running the network"
    wait(lambda: not widget.logic.isRunning)
    assert predictor.calls == 1 and widget.ui.progressBar.isHidden()


def test_cancel(widget, add_ct, predicting, wait, scene_nodes):
    predicting(seconds=60)
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    before = scene_nodes()
    widget.ui.segmentButton.click()
    slicer_host.process_events(0.2)
    widget.ui.cancelButton.click()
    assert not widget.ui.cancelButton.enabled
    wait(lambda: not widget.logic.isRunning, 2.0)
    assert widget.ui.statusLabel.text == "Cancelled; the scene is as it was."
    assert widget.ui.segmentButton.enabled and scene_nodes() == before and errors() == []


def test_the_warnings_stay_as_long_as_the_table_they_belong_to(widget, done, predicting, wait):
    before = widget.ui.warningsLabel.text
    assert "spleen: not found" in before
    predicting(seconds=60)
    widget.ui.segmentButton.click()
    slicer_host.process_events(0.2)
    widget.ui.cancelButton.click()
    wait(lambda: not widget.logic.isRunning, 2.0)
    assert widget.ui.warningsLabel.text == before and not widget.ui.warningsLabel.isHidden()
    assert cells(widget, 2)[0] == "pancreas"


def test_an_error_is_shown_once(slicer, widget, add_ct, predicting, wait, scene_nodes):
    predicting(error=RuntimeError("the network\nbroke"))
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    before = scene_nodes()
    with slicer_host.testing_mode(False):
        widget.ui.segmentButton.click()
        wait(lambda: not widget.logic.isRunning)
        slicer_host.process_events(0.2)
    assert errors() == ["the network broke"] == [widget.ui.statusLabel.text]
    assert widget.ui.segmentButton.enabled and not widget.ui.cancelButton.enabled
    assert scene_nodes() == before


def test_an_error_that_slicer_has_shown_is_not_shown_again(widget):
    from AttentionUNetSegmentationLib.scene.runtimes import DependencyError

    failure = DependencyError("OpenVINO could not be installed")
    failure.was_shown = True
    widget.progressPanel.show_error(failure)
    assert errors() == [] and widget.ui.statusLabel.text == "OpenVINO could not be installed"


def test_closing_the_scene_during_a_run(slicer, widget, add_ct, predicting, wait):
    predicting(seconds=60)
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    slicer_host.process_events(0.2)
    slicer.mrmlScene.Clear(False)
    assert not widget.logic.isRunning
    slicer_host.process_events(0.2)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert not widget.ui.segmentButton.enabled and widget.ui.progressBar.isHidden() and errors() == []


def test_removing_the_input_during_a_run(slicer, widget, add_ct, predicting, wait):
    predicting(seconds=60)
    ct = add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    slicer_host.process_events(0.1)
    slicer.mrmlScene.RemoveNode(ct)
    wait(lambda: not widget.logic.isRunning)
    assert not widget.ui.segmentButton.enabled and errors() == []


def test_quitting_during_a_run_stops_it(slicer, widget, add_ct, predicting, wait):
    predicting(seconds=60)
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    slicer_host.process_events(0.1)
    slicer.app.aboutToQuit.emit()
    assert not widget.logic.isRunning
    assert not [thread for thread in threading.enumerate() if thread.name == "AttentionUNet"]


def test_the_run_goes_on_while_another_module_is_shown(slicer, widget, add_ct, predicting, wait):
    predicting(seconds=0.3)
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    slicer.util.selectModule("SegmentEditor")
    wait(lambda: not widget.logic.isRunning)
    shown = slicer_host.enter("AttentionUNetSegmentation")
    assert cells(shown, 2)[0] == "pancreas"


def test_free_memory(widget, done):
    widget.logic._cache._model = object()
    widget.ui.freeMemoryButton.click()
    assert widget.logic._cache._model is None and "dropped" in widget.ui.statusLabel.text
