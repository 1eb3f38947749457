"""Dialogs are recorded and answered; none blocks."""

import pytest

import slicer_host


def test_displays_are_recorded_and_do_not_block(slicer):
    slicer.util.errorDisplay("no model", windowTitle="Oh")
    with slicer_host.testing_mode(False):
        assert slicer.util.confirmOkCancelDisplay("sure?") is True
        with slicer_host.answering(accept=False):
            assert slicer.util.confirmOkCancelDisplay("really?") is False
    shown = [(message.kind, message.text) for message in slicer_host.shown_messages()]
    assert shown == [("error", "no model"), ("confirm", "sure?"), ("confirm", "really?")]


def test_testing_mode_confirms_nothing(slicer):
    with slicer_host.answering(accept=True):
        assert slicer.util.confirmOkCancelDisplay("sure?") is False
    assert len(slicer_host.shown_messages("confirm")) == 1


def test_file_dialogs_are_answered(slicer, qt):
    with slicer_host.testing_mode(False), slicer_host.answering(path="/data/ct.nrrd"):
        assert qt.QFileDialog.getOpenFileName(None, "Open", "") == "/data/ct.nrrd"
        with slicer_host.answering(accept=False):
            assert qt.QFileDialog.getSaveFileName(None, "Save", "") == ""


def test_a_file_dialog_in_testing_mode_is_a_fault(slicer, qt):
    qt.QFileDialog.getOpenFileName(None, "Open", "")
    with pytest.raises(slicer_host.HostFault, match="a file dialog was opened in testing mode"):
        slicer_host.check()


def question(qt):
    """A message box with buttons of its own, and what is clicked in it."""
    box = qt.QMessageBox()
    box.setText("Keep them?")
    box.setDefaultButton(box.addButton("&Keep", qt.QMessageBox.AcceptRole))
    box.addButton("Replace", qt.QMessageBox.DestructiveRole)
    box.addButton(qt.QMessageBox.Cancel)
    box.exec_()
    return box.buttonRole(box.clickedButton())


def test_a_message_box_is_answered_by_its_default_or_the_button_that_is_wanted(slicer, qt):
    with slicer_host.testing_mode(False):
        assert question(qt) == qt.QMessageBox.AcceptRole
        with slicer_host.answering(button="Replace"):
            assert question(qt) == qt.QMessageBox.DestructiveRole
        with slicer_host.answering(accept=False):
            assert question(qt) == qt.QMessageBox.RejectRole
    assert [message.text for message in slicer_host.shown_messages("question")] == ["Keep them?"] * 3


def test_a_message_box_in_testing_mode_is_a_fault(slicer, qt):
    question(qt)
    with pytest.raises(slicer_host.HostFault, match="a message box was opened in testing mode"):
        slicer_host.check()


@pytest.mark.parametrize(
    "show",
    [
        lambda qt: qt.QDialog().exec_(),
        lambda qt: qt.QMenu().exec_(),
        lambda qt: qt.QMessageBox.question(None, "t", "Go on?"),
        lambda qt: qt.QInputDialog.getText(None, "Name", "Name of the model"),
        lambda qt: qt.QFileDialog.getExistingDirectory(None, "Folder", ""),
    ],
)
def test_a_dialog_that_the_host_does_not_answer_is_a_fault_and_does_not_block(qt, show):
    with pytest.raises(NotImplementedError):
        show(qt)
    with pytest.raises(slicer_host.HostFault, match="waits for a user"):
        slicer_host.check()
