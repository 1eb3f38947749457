"""Copy and export of the organ table, and the file dialog on the way."""

import numpy as np

import slicer_host
from support.panel_reading import cells, errors


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


def test_exported_positions_are_world_ras(qt, slicer, widget, done, tmp_path):
    before = widget.organPanel.table[0].centroid_ras_mm
    shifted = np.eye(4)
    shifted[:3, 3] = 30, 0, -5
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shifted))
    done.SetAndObserveTransformNodeID(transform.GetID())
    widget.ui.copyButton.click()
    expected = [f"{x:.1f}" for x in np.add(before, (30, 0, -5))]
    assert qt.QApplication.clipboard().text().splitlines()[1].split("\t")[3:] == expected
    table = widget.organPanel.export(str(tmp_path / "organs.csv"))
    assert (tmp_path / "organs.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[3:] == expected
    assert [table.GetTable().GetValue(0, n).ToDouble() for n in (3, 4, 5)] == [float(text) for text in expected]


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
