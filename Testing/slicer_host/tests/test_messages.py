"""Dialogs are recorded and answered; none blocks."""

import logging

import slicer_host


def test_displays_are_recorded_and_do_not_block(slicer, qt):
    slicer.util.errorDisplay("no model", windowTitle="Oh")
    slicer.util.infoDisplay("done")
    with slicer_host.testing_mode(False):
        assert slicer.util.confirmOkCancelDisplay("sure?") is True
        with slicer_host.answering(accept=False):
            assert slicer.util.confirmYesNoDisplay("really?") is False
    assert slicer_host.shown_messages() == [
        slicer_host.ShownMessage("error", "no model", "Oh"),
        slicer_host.ShownMessage("info", "done"),
        slicer_host.ShownMessage("confirm", "sure?"),
        slicer_host.ShownMessage("confirm", "really?"),
    ]


def test_testing_mode_confirms_nothing(slicer):
    with slicer_host.answering(accept=True):
        assert slicer.util.confirmOkCancelDisplay("sure?") is False
        assert slicer.util.confirmYesNoDisplay("really?") is False
    assert len(slicer_host.shown_messages("confirm")) == 2


def test_a_file_dialog_in_testing_mode_is_a_fault(slicer, qt):
    with slicer_host.expected() as faults:
        qt.QFileDialog.getOpenFileName(None, "Open", "")
    assert len(faults) == 1 and "a file dialog was opened in testing mode" in faults[0]


def test_message_boxes_answer_with_their_buttons(slicer, qt):
    box = qt.QMessageBox()
    box.text = "Install?"
    box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No)
    assert box.exec_() == qt.QMessageBox.Yes
    with slicer_host.answering(accept=False):
        assert box.exec() == qt.QMessageBox.No
        buttons = qt.QMessageBox.Ok | qt.QMessageBox.Cancel
        assert qt.QMessageBox.question(None, "t", "Go on?", buttons) == qt.QMessageBox.Cancel
    assert [message.text for message in slicer_host.shown_messages("message")] == ["Install?", "Install?", "Go on?"]


def test_dialogs_and_file_dialogs_are_answered(slicer, qt):
    with slicer_host.testing_mode(False), slicer_host.answering(path="/data/ct.nrrd", text="Model A"):
        assert qt.QFileDialog.getOpenFileName(None, "Open", "") == "/data/ct.nrrd"
        assert qt.QInputDialog.getText(None, "Name", "Name of the model") == "Model A"
        assert qt.QDialog().exec_() == 1
    with slicer_host.testing_mode(False), slicer_host.answering(accept=False, path="/data/ct.nrrd"):
        assert qt.QFileDialog.getOpenFileName(None, "Open", "") == ""
        assert qt.QDialog().exec_() == 0


def test_try_with_error_display_shows_outside_testing_mode_only(slicer, host_example, caplog):
    caplog.set_level(logging.CRITICAL)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    with slicer_host.expected() as faults:
        host_example.ui.applyButton.click()
        assert slicer_host.shown_messages("error") == []
        with slicer_host.testing_mode(False):
            host_example.ui.applyButton.click()
    [message] = slicer_host.shown_messages("error")
    assert message.text == "Counting failed.\n\nthe volume is empty"
    assert len(faults) == 2
