"""The attention section of the panel: which gate is shown, where and how, and what happens to deleted maps."""

import pytest

import slicer_host
from support.panel_reading import gates


def test_choosing_a_gate_shows_it(slicer, widget, done):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    composite = slicer.app.layoutManager().sliceWidget("Green").mrmlSliceCompositeNode()
    shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    assert shown.GetName() == "s3-1 attention, CT ä" and composite.GetForegroundOpacity() == 0.5
    assert "1/4 of the resolution" in widget.ui.gateInfoLabel.text
    assert widget.ui.attentionShareLabel.text.startswith("Share of the attention inside: pancreas")
    assert widget.ui.colorMapSelector.currentNode().GetName() == "Attention"
    widget.ui.attentionOpacitySlider.value = 0.8
    widget.ui.attentionThresholdSlider.setValues(0.3, 0.9)
    assert composite.GetForegroundOpacity() == 0.8
    assert shown.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.3)
    inferno = slicer.util.getNode("vtkMRMLColorTableNodeFileInferno.txt")
    widget.ui.colorMapSelector.setCurrentNode(inferno)
    assert shown.GetDisplayNode().GetColorNode() is inferno
    widget.ui.linkViewsCheckBox.click()
    assert composite.GetForegroundVolumeID() is None
    widget.ui.gateSelector.setCurrentIndex(0)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetForegroundVolumeID() is None and widget.ui.attentionShareLabel.text == ""


def test_a_script_that_runs_again_into_the_shown_result_is_shown(slicer, widget, done, wait):
    from AttentionUNetSegmentationLib.scene.attention_view import share_text
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    before = widget.ui.attentionShareLabel.text
    ct = slicer.util.getNode("CT ä")
    array = slicer.util.arrayFromVolume(ct)
    array[array.max(axis=(1, 2)).argmax() :] = -1000  # all but a part of the organs
    ct.Modified()
    assert widget.logic.segment(ct, done, device="cpu", replaceEdited=True) is done
    done.SetAttribute("AttentionUNet.model", "another")
    wait(lambda: "model another" in widget.ui.statusLabel.text)
    assert widget.ui.attentionShareLabel.text != before
    assert widget.ui.attentionShareLabel.text == share_text(maps_of(done)["s3-1"])


def test_a_table_that_is_filled_again_replaces_no_message(widget, done):
    widget.progressPanel.say("Cancelled")
    widget.organPanel.refresh(done)
    assert widget.ui.statusLabel.text == "Cancelled"
    widget.progressPanel.show_running(True)
    widget.progressPanel.show_progress(0.5, "a step")
    done.SetAttribute("AttentionUNet.model", "another")
    widget.organPanel.refresh(done)
    assert widget.ui.statusLabel.text == "a step"
    widget.progressPanel.show_running(False)
    widget.organPanel.refresh(done)
    assert "model another" in widget.ui.statusLabel.text


def test_the_ct_stays_as_it_is_where_a_gate_passes_nothing(slicer, widget, done):
    from slicer_host import render

    ct = slicer.util.getNode("CT ä")
    ct.GetDisplayNode().AutoWindowLevelOff()
    ct.GetDisplayNode().SetWindowLevel(1000, 0)
    slicer.util.setSliceViewerLayers(background=ct)
    widget.organPanel.jump(0)
    without = render.render_slice("Red", (200, 200))
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    with_map = render.render_slice("Red", (200, 200))
    changed = (with_map != without).any(axis=2)
    assert without.any(axis=2).mean() > 0.4  # the CT
    assert 0.01 < changed.mean() < 0.15  # the ball and its rim


def test_a_deleted_map_leaves_the_list(slicer, widget, done, wait):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    slicer.mrmlScene.RemoveNode(maps_of(done)["s2-2"])
    wait(lambda: "s2-2" not in gates(widget))
    assert widget.ui.gateSelector.currentText == "s3-1"
    slicer.mrmlScene.RemoveNode(maps_of(done)["s3-1"])
    wait(lambda: "s3-1" not in gates(widget))
    assert widget.ui.gateSelector.currentText == "none" == widget._parameterNode.gate
    assert widget.ui.attentionShareLabel.text == ""


@pytest.mark.parametrize("is_open", [True, False])
def test_a_map_that_gave_way_to_another_ct_is_not_chosen_any_more(slicer, widget, done, add_ct, wait, is_open):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    if not is_open:
        slicer_host.leave()
    other = add_ct("CT 2")
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):  # as Slicer's readers do
        composite.SetBackgroundVolumeID(other.GetID())
        composite.SetForegroundVolumeID(None)
    widget = widget if is_open else slicer_host.enter("AttentionUNetSegmentation")
    wait(lambda: widget.ui.gateSelector.currentText == "none" == widget._parameterNode.gate)
    widget.ui.attentionOpacitySlider.value = 0.8
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetForegroundVolumeID() is None
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    assert slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == "s3-1 attention, CT ä"
    assert slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID()).GetName() == "CT ä"


def test_a_view_that_opens_later_shows_the_map_too(slicer, widget, done, wait):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetLayoutName("Slice4")
    wait(lambda: composite.GetForegroundVolumeID() is not None)
    slicer.mrmlScene.RemoveNode(composite)


def test_a_deleted_mean_is_not_made_again_by_itself(slicer, widget, done, wait):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("mean s2"))
    slicer.mrmlScene.RemoveNode(maps_of(done)["mean s2"])
    wait(lambda: widget.ui.gateSelector.currentText == "none")
    assert "mean s2" not in maps_of(done) and "mean s2" in gates(widget)
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("mean s2"))
    assert "mean s2" in maps_of(done)


def test_the_chosen_gate_stays_chosen_in_the_next_run(slicer, widget, done, wait):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("mean s2"))
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert widget.ui.gateSelector.currentText == "mean s2"
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == "mean s2 attention, CT ä"
