"""The panel, used as a user does: by clicks."""

import shutil
import threading

import numpy as np
import pytest

import slicer_host


@pytest.fixture
def predicting(widget, network, monkeypatch):
    """Function that gives the panel's runs a predictor; returns the predictor."""

    def use(**arguments):
        predictor = network(**arguments)
        prepare = type(widget.logic)._prepare
        monkeypatch.setattr(
            widget.logic, "_prepare", lambda *args, **rest: prepare(widget.logic, *args, predictor=predictor, **rest)
        )
        return predictor

    return use


@pytest.fixture
def done(widget, add_ct, predicting, wait):
    """The panel after a run; returns its segmentation node."""
    predicting()
    add_ct("CT ä")
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    return widget.logic.getParameterNode().outputSegmentation


def gates(widget):
    return [widget.ui.gateSelector.itemText(n) for n in range(widget.ui.gateSelector.count)]


def cells(widget, column):
    table = widget.ui.organTable
    return [table.item(row, column).text() for row in range(table.rowCount)]


def errors():
    return [message.text for message in slicer_host.shown_messages("error")]


def test_the_empty_panel_says_what_is_missing(widget):
    assert not widget.ui.segmentButton.enabled and not widget.ui.cancelButton.enabled
    assert widget.ui.segmentButton.toolTip == "Load a CT and choose it as input volume."
    assert "no proof of what caused the result" in widget.ui.attentionNoteLabel.text
    assert widget.ui.modelSelector.currentText.startswith("abdomen-ct 0.2.0")
    info = widget.ui.modelInfoLabel.text
    assert "Trained on synthetic CT" in info and "Dice" in info and "Licence: Apache-2.0" in info
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


def test_label_maps_and_colour_images_are_not_offered(slicer, widget, wait):
    for name, shape in (("vtkMRMLLabelMapVolumeNode", (4, 4, 4)), ("vtkMRMLVectorVolumeNode", (4, 4, 4, 3))):
        slicer.util.addVolumeFromArray(np.zeros(shape, np.uint8), nodeClassName=name)
    slicer_host.process_events(0.05)
    assert widget.ui.inputSelector.nodeCount() == 0 and not widget.ui.segmentButton.enabled


def test_a_click_segments(widget, done):
    assert errors() == []
    assert cells(widget, 2) == ["pancreas", "spleen", "right kidney", "left kidney"]
    assert float(cells(widget, 3)[0]) == pytest.approx(4 / 3 * np.pi * 18**3 / 1000, rel=0.05)
    assert float(cells(widget, 4)[0]) == pytest.approx(188, abs=10)  # the ball's edge is soft
    assert cells(widget, 3)[1:] == ["0.0"] * 3 and cells(widget, 4)[1:] == ["-"] * 3
    status = widget.ui.statusLabel.text
    seconds = float(widget._parameterNode.outputSegmentation.GetAttribute("AttentionUNet.seconds"))
    assert seconds > 0  # may be less than the tenth that the line shows
    assert status == f"{seconds:.1f} s on cpu, model abdomen-ct 0.2.0"
    assert "spleen: not found" in widget.ui.warningsLabel.text
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


def test_a_second_click_reuses_the_output(slicer, widget, done, wait, scene_nodes):
    before = scene_nodes()
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert scene_nodes() == before
    assert widget.ui.outputSelector.currentNode() is done


def test_a_second_ct_gets_a_result_of_its_own(slicer, widget, done, add_ct, wait):
    from AttentionUNetSegmentationLib.organ_table import rows

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


def test_looking_at_another_cts_result_does_not_make_it_the_output(slicer, widget, done, add_ct, wait):
    from AttentionUNetSegmentationLib.organ_table import rows

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


def test_an_unusable_input_is_shown_once(slicer, widget, wait):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    assert errors() == ["the volume 'nothing' has no voxels"]
    assert widget.ui.segmentButton.enabled and not widget.logic.isRunning


def test_choosing_a_gate_shows_it(slicer, widget, done):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    composite = slicer.app.layoutManager().sliceWidget("Green").mrmlSliceCompositeNode()
    shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    assert shown.GetName() == "CT ä s3-1" and composite.GetForegroundOpacity() == 0.5
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


def test_a_deleted_map_leaves_the_list(slicer, widget, done, wait):
    from AttentionUNetSegmentationLib.map_volumes import maps_of

    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s3-1"))
    slicer.mrmlScene.RemoveNode(maps_of(done)["s2-2"])
    wait(lambda: "s2-2" not in gates(widget))
    assert widget.ui.gateSelector.currentText == "s3-1"
    slicer.mrmlScene.RemoveNode(maps_of(done)["s3-1"])
    wait(lambda: "s3-1" not in gates(widget))
    assert widget.ui.gateSelector.currentText == "none" == widget._parameterNode.gate
    assert widget.ui.attentionShareLabel.text == ""


def test_a_deleted_mean_is_not_made_again_by_itself(slicer, widget, done, wait):
    from AttentionUNetSegmentationLib.map_volumes import maps_of

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
    assert slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == "CT ä mean s2"


def test_organs_can_be_hidden(qt, widget, done):
    widget.ui.organTable.item(0, 1).setCheckState(qt.Qt.Unchecked)
    display = done.GetDisplayNode()
    assert not display.GetSegmentVisibility("pancreas") and display.GetSegmentVisibility("spleen")
    widget.ui.organTable.item(0, 1).setCheckState(qt.Qt.Checked)
    assert display.GetSegmentVisibility("pancreas")


def test_show_3d_makes_surfaces(widget, done):
    assert not widget.ui.show3DButton.checked
    widget.ui.show3DButton.click()
    assert done.GetSegmentation().ContainsRepresentation("Closed surface")
    assert done.GetDisplayNode().GetVisibility3D()
    widget.ui.show3DButton.click()
    assert not done.GetDisplayNode().GetVisibility3D()


def test_a_double_click_jumps_to_the_organ(slicer, widget, done):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(
        slicer.util.vtkMatrixFromArray(np.array([[1.0, 0, 0, 50], [0, 1, 0, 0], [0, 0, 1, -30], [0, 0, 0, 1]]))
    )
    for node in (done, done.GetNodeReference("AttentionUNet.Input")):
        node.SetAndObserveTransformNodeID(transform.GetID())
    widget.ui.organTable.cellDoubleClicked.emit(0, 2)
    assert [position(slicer, name) for name in ("Yellow", "Green", "Red")] == pytest.approx([62, -25, 10], abs=1.0)
    widget.ui.organTable.cellDoubleClicked.emit(1, 2)  # the spleen was not found
    assert position(slicer, "Red") == pytest.approx(10, abs=1.0)


def position(slicer, view):
    """Where a slice view cuts, along the axis that it is perpendicular to, mm."""
    axis = {"Yellow": 0, "Green": 1, "Red": 2}[view]
    return slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode().GetSliceToRAS().GetElement(axis, 3)


def test_edit_opens_the_segment_editor(slicer, widget, done):
    widget.ui.editButton.click()
    assert slicer.util.selectedModule() == "SegmentEditor"
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    assert editor.segmentationNode() is done
    assert editor.sourceVolumeNode().GetName() == "CT ä"


def test_an_edited_segment_is_measured_anew(slicer, widget, done):
    ct = done.GetNodeReference("AttentionUNet.Input")
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(done, "pancreas", ct)
    where = np.argwhere(mask)
    mask[: int(where[:, 0].mean())] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, done, "pancreas", ct)
    slicer_host.leave()
    shown = slicer_host.enter("AttentionUNetSegmentation")
    expected = np.count_nonzero(mask) * 2.0 * 2.2 * 3.0 / 1000
    assert float(cells(shown, 3)[0]) == pytest.approx(expected, abs=0.06)
    assert float(cells(shown, 4)[0]) == pytest.approx(slicer.util.arrayFromVolume(ct)[mask > 0].mean(), abs=0.06)


def cut_in_half(slicer, node):
    """Edit the pancreas as the Segment Editor does, by its lower half; returns what is left, in ml."""
    ct = node.GetNodeReference("AttentionUNet.Input")
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "pancreas", ct)
    mask[: int(np.argwhere(mask)[:, 0].mean())] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "pancreas", ct)
    return np.count_nonzero(mask) * 2.0 * 2.2 * 3.0 / 1000


def test_the_table_follows_edits_while_the_panel_is_open(slicer, widget, done):
    expected = cut_in_half(slicer, done)
    slicer_host.process_events(0.05)
    assert float(cells(widget, 3)[0]) == pytest.approx(expected, abs=0.06)
    done.GetSegmentation().GetSegment("spleen").SetName("Milz")
    slicer_host.process_events(0.05)
    assert cells(widget, 2)[1] == "Milz"
    done.GetSegmentation().RemoveSegment("spleen")
    slicer_host.process_events(0.05)
    assert cells(widget, 2) == ["pancreas", "right kidney", "left kidney"]


def test_visibility_and_show_3d_follow_the_scene(qt, widget, done):
    done.GetDisplayNode().SetSegmentVisibility("spleen", False)
    slicer_host.process_events(0.05)
    assert [widget.ui.organTable.item(row, 1).checkState() == qt.Qt.Checked for row in range(4)] == [1, 0, 1, 1]
    done.CreateClosedSurfaceRepresentation()
    done.GetDisplayNode().SetVisibility3D(True)
    slicer_host.process_events(0.05)
    assert widget.ui.show3DButton.checked
    done.RemoveClosedSurfaceRepresentation()
    slicer_host.process_events(0.05)
    assert not widget.ui.show3DButton.checked


def test_nothing_is_measured_while_another_module_is_open(slicer, widget, done, monkeypatch):
    from AttentionUNetSegmentationLib import organ_panel

    measured, rows = [], organ_panel.rows
    monkeypatch.setattr(organ_panel, "rows", lambda node: measured.append(node) or rows(node))
    slicer.util.selectModule("SegmentEditor")
    expected = cut_in_half(slicer, done)
    slicer_host.process_events(0.05)
    assert measured == []
    shown = slicer_host.enter("AttentionUNetSegmentation")
    assert measured and float(cells(shown, 3)[0]) == pytest.approx(expected, abs=0.06)


def test_copy_and_export(qt, slicer, widget, done, tmp_path):
    widget.ui.copyButton.click()
    lines = qt.QApplication.clipboard().text().splitlines()
    assert lines[0].split("\t") == ["Organ", "Volume (ml)", "Mean (HU)", "R (mm)", "A (mm)", "S (mm)"]
    assert lines[1].split("\t")[:2] == ["pancreas", cells(widget, 3)[0]]
    path = tmp_path / "Organe ä.csv"
    for _ in range(2):
        with slicer_host.testing_mode(False), slicer_host.answering(path=str(path)):
            widget.ui.exportButton.click()
    assert path.read_text(encoding="utf-8").splitlines()[1].startswith("pancreas,")
    [table] = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert table.GetTable().GetNumberOfRows() == 4 and table.GetCellText(0, 0) == "pancreas"
    assert float(table.GetCellText(0, 1)) == float(cells(widget, 3)[0])


def test_an_export_gets_its_suffix_and_replaces_nothing_unasked(widget, done, tmp_path):
    path = tmp_path / "organs.csv"
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(tmp_path / "organs")):
        widget.ui.exportButton.click()
        assert path.is_file() and slicer_host.shown_messages("confirm") == []
        assert widget.ui.statusLabel.text == f"Written to {path}"
        path.write_text("something else", encoding="utf-8")
        with slicer_host.answering(accept=True):
            widget.ui.exportButton.click()
        assert path.read_text(encoding="utf-8").startswith("Organ,")
    [question] = slicer_host.shown_messages("confirm")
    assert str(path) in question.text


def test_testing_mode_opens_no_file_dialog(slicer, widget, done):
    widget.ui.exportButton.click()
    assert widget.ui.statusLabel.text == "Testing mode opens no file dialog; nothing was exported."
    widget.ui.addModelButton.click()
    assert widget.ui.statusLabel.text == "Testing mode opens no file dialog; no model was added."
    assert slicer_host.shown_messages() == [] and not slicer.util.getNodesByClass("vtkMRMLTableNode")


def test_an_export_that_cannot_be_written_is_shown_once(widget, done, tmp_path):
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(tmp_path / "missing" / "organs.csv")):
        widget.ui.exportButton.click()
    assert len(errors()) == 1 and "No such file or directory" in errors()[0]


def test_a_cancelled_file_dialog_changes_nothing(slicer, widget, done):
    with slicer_host.testing_mode(False), slicer_host.answering(accept=False):
        widget.ui.exportButton.click()
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode") and errors() == []


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


def test_closing_the_scene_clears_the_panel(slicer, widget, done):
    widget.ui.gateSelector.setCurrentIndex(1)
    widget.ui.probabilitiesCheckBox.click()
    slicer.mrmlScene.Clear(False)
    slicer_host.process_events(0.05)
    assert widget.ui.organTable.rowCount == 0 and gates(widget) == ["none"]
    assert widget.ui.statusLabel.text == "" == widget.ui.warningsLabel.text
    assert widget._parameterNode.gate == "none" and not widget.ui.probabilitiesCheckBox.checked


def test_removing_the_result_clears_the_panel(slicer, widget, done, wait):
    widget.ui.gateSelector.setCurrentIndex(1)
    slicer.mrmlScene.RemoveNode(done)
    wait(lambda: widget.ui.organTable.rowCount == 0)
    assert gates(widget) == ["none"]
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetForegroundVolumeID() is None


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


def test_save_and_load(slicer, widget, done, tmp_path, wait):
    widget.ui.gateSelector.setCurrentIndex(gates(widget).index("s2-2"))
    widget.ui.attentionOpacitySlider.value = 0.35
    widget.ui.deviceSelector.setCurrentIndex(2)
    before = cells(widget, 2), cells(widget, 3), cells(widget, 4), widget.ui.statusLabel.text, gates(widget)
    share = widget.ui.attentionShareLabel.text
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    wait(lambda: widget.ui.organTable.rowCount == 4)
    after = cells(widget, 2), cells(widget, 3), cells(widget, 4), widget.ui.statusLabel.text, gates(widget)
    assert after == before
    assert widget.ui.gateSelector.currentText == "s2-2" and widget.ui.attentionShareLabel.text == share
    assert widget.ui.attentionOpacitySlider.value == 0.35 and widget.ui.deviceSelector.currentText == "CPU"
    assert widget.ui.inputSelector.currentNode().GetName() == "CT ä"


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


def test_choosing_another_result_shows_it(slicer, widget, done):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    widget.ui.outputSelector.setCurrentNode(other)
    assert widget.ui.organTable.rowCount == 0 and gates(widget) == ["none"] and widget.ui.statusLabel.text == ""
    widget.ui.outputSelector.setCurrentNode(done)
    assert widget.ui.organTable.rowCount == 4 and len(gates(widget)) == 10


def test_a_gpu_that_is_not_used_is_explained_after_a_run(widget, done, wait, monkeypatch):
    from AttentionUNetSegmentationLib import dependencies

    monkeypatch.setattr(dependencies, "gpu_note", lambda: "PyTorch is a CPU build")
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    assert widget.ui.warningsLabel.text.endswith("\nPyTorch is a CPU build")
    assert errors() == []


def test_the_panel_works_without_a_main_window(slicer, widget, done):
    with slicer_host.no_main_window():
        widget.ui.gateSelector.setCurrentIndex(1)
        widget.ui.organTable.cellDoubleClicked.emit(0, 2)
        widget.ui.show3DButton.click()
        assert errors() == []
        widget.ui.editButton.click()
        assert len(errors()) == 1 and "main window" in errors()[0]


def test_models_are_added_and_removed(widget, module, tmp_path, monkeypatch):
    from AttentionUNetSegmentationLib.model_store import PACKAGED_MODELS

    monkeypatch.setenv("ATTENTION_UNET_MODELS", str(tmp_path / "models"))
    source = tmp_path / "mine"
    shutil.copytree(PACKAGED_MODELS / "abdomen-ct", source)
    text = (source / "model.json").read_text(encoding="utf-8")
    (source / "model.json").write_text(text.replace('"name": "abdomen-ct"', '"name": "mine"'), encoding="utf-8")
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(source / "model.json")):
        widget.ui.addModelButton.click()
    assert errors() == [] and widget.ui.modelSelector.currentText.startswith("mine 0.2.0")
    assert widget._parameterNode.model == "mine" and widget.ui.removeModelButton.enabled
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(source / "model.json")):
        widget.ui.addModelButton.click()
    assert len(errors()) == 1 and "is there already" in errors()[0]
    with slicer_host.testing_mode(False), slicer_host.answering(accept=False):
        widget.ui.removeModelButton.click()
    assert (tmp_path / "models" / "mine").is_dir()
    with slicer_host.testing_mode(False), slicer_host.answering(accept=True):
        widget.ui.removeModelButton.click()
    assert not (tmp_path / "models" / "mine").exists()
    assert widget.ui.modelSelector.currentText.startswith("abdomen-ct")


def test_a_file_that_is_no_model_is_refused_once(widget, tmp_path):
    (tmp_path / "wrong.zip").write_bytes(b"no zip")
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(tmp_path / "wrong.zip")):
        widget.ui.addModelButton.click()
    assert len(errors()) == 1 and "is not a readable zip" in errors()[0]


def test_a_damaged_model_cannot_be_run(widget, add_ct, tmp_path, monkeypatch, wait):
    folder = tmp_path / "models" / "damaged"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv("ATTENTION_UNET_MODELS", str(tmp_path / "models"))
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.modelPanel.refresh("damaged")
    slicer_host.process_events(0.05)
    assert widget.ui.modelSelector.currentText == "damaged (unusable)"
    assert not widget.ui.segmentButton.enabled and "lacks keys" in widget.ui.segmentButton.toolTip
    assert "lacks keys" in widget.ui.modelInfoLabel.text


def test_free_memory(widget, done):
    widget.ui.freeMemoryButton.click()
    assert widget.logic._cache.is_empty and "dropped" in widget.ui.statusLabel.text


def test_the_sample_is_registered(module):
    import SampleData

    source = SampleData.SampleDataLogic().sourceForSampleName("SyntheticAbdomenCT")
    assert source.uris[0].startswith("file://") and source.checksums == [f"SHA256:{module.SAMPLE_SHA256}"]


def test_the_sample_is_registered_in_slicer_5_10_too(module, monkeypatch):
    import SampleData

    monkeypatch.delattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory")
    monkeypatch.setitem(SampleData._registry("sampleDataSources"), "AttentionUNet", [])
    module.registerSampleData()
    [source] = SampleData.SampleDataLogic.sampleDataSourcesByCategory("AttentionUNet")
    assert source.sampleName == "SyntheticAbdomenCT"
