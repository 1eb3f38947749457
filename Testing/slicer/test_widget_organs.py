"""The table of organs: visibility, 3D, jumping to an organ, and how it follows edits."""

import numpy as np
import pytest
import vtk

import slicer_host
from support.panel_reading import cells, errors

pytestmark = pytest.mark.slow


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


def test_show_3d_switched_off_takes_the_surfaces_away_as_slicers_own_button_does(widget, done):
    widget.ui.show3DButton.click()
    widget.ui.show3DButton.click()
    assert not widget.ui.show3DButton.checked
    assert not done.GetSegmentation().ContainsRepresentation("Closed surface")
    assert done.GetDisplayNode().GetVisibility3D()  # or Slicer's button would show an empty view
    done.CreateClosedSurfaceRepresentation()
    done.GetSegmentation().SetSourceRepresentationName("Closed surface")
    slicer_host.process_events(0.05)
    widget.ui.show3DButton.click()
    assert done.GetSegmentation().ContainsRepresentation("Closed surface")  # nothing else holds the organs
    assert not done.GetDisplayNode().GetVisibility3D()


@pytest.fixture
def vtk_log():
    """What VTK logs, as 3D Slicer shows it in its log window."""
    log, before = vtk.vtkStringOutputWindow(), vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(log)
    yield log
    vtk.vtkOutputWindow.SetInstance(before)


def test_organs_that_were_not_found_log_no_errors_in_3d(widget, done, wait, vtk_log):
    widget.ui.show3DButton.click()
    widget.ui.segmentButton.click()  # makes the surfaces anew
    wait(lambda: not widget.logic.isRunning)
    assert done.GetSegmentation().ContainsRepresentation("Closed surface")
    assert "ERR" not in vtk_log.GetOutput().upper()


def test_surfaces_without_voxels_are_measured(slicer, widget, done):
    from AttentionUNetSegmentationLib.scene.organ_table import rows

    before = rows(done)[0]
    done.CreateClosedSurfaceRepresentation()
    done.GetSegmentation().SetSourceRepresentationName("Closed surface")
    done.RemoveBinaryLabelmapRepresentation()
    slicer_host.process_events(0.05)
    assert float(cells(widget, 3)[0]) == pytest.approx(4 / 3 * np.pi * 18**3 / 1000, rel=0.05)
    assert cells(widget, 3)[1:] == ["0.0"] * 3 and cells(widget, 4) == ["-"] * 4
    surface = rows(done)[0]
    assert surface.centroid_ras_mm == pytest.approx(before.centroid_ras_mm, abs=0.2) and surface.mean_hu is None
    assert surface.texts()[2] == ""


def test_what_cannot_be_measured_is_a_dash_and_no_zero(slicer, widget, done):
    done.GetSegmentation().GetSegment("pancreas").RemoveAllRepresentations()
    widget.organPanel.refresh(done)
    assert cells(widget, 3) == ["-", "0.0", "0.0", "0.0"]
    widget.ui.organTable.cellDoubleClicked.emit(0, 2)
    assert widget.organPanel.table[0].texts() == ["pancreas", "", "", "", "", ""]


def test_a_segment_with_as_many_voxels_elsewhere_is_measured_anew(slicer, widget, done):
    ct, before = done.GetNodeReference("AttentionUNet.Input"), float(cells(widget, 4)[0])
    mask = np.roll(slicer.util.arrayFromSegmentBinaryLabelmap(done, "pancreas", ct), 3, axis=2)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, done, "pancreas", ct)
    slicer_host.process_events(0.05)
    mean_hu = slicer.util.arrayFromVolume(ct)[mask > 0].mean()
    assert float(cells(widget, 4)[0]) == pytest.approx(mean_hu, abs=0.06) and mean_hu < before - 10


def test_what_changes_the_display_only_measures_nothing(qt, widget, done, monkeypatch):
    from AttentionUNetSegmentationLib.panels import organs

    monkeypatch.setattr(organs, "rows", lambda node: pytest.fail("measured"))
    done.GetDisplayNode().SetSegmentVisibility("pancreas", False)
    slicer_host.process_events(0.05)
    assert widget.ui.organTable.item(0, 1).checkState() == qt.Qt.Unchecked


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
    from AttentionUNetSegmentationLib.panels import organs as organ_panel

    measured, rows = [], organ_panel.rows
    monkeypatch.setattr(organ_panel, "rows", lambda node: measured.append(node) or rows(node))
    slicer.util.selectModule("SegmentEditor")
    expected = cut_in_half(slicer, done)
    slicer_host.process_events(0.05)
    assert measured == []
    shown = slicer_host.enter("AttentionUNetSegmentation")
    assert measured and float(cells(shown, 3)[0]) == pytest.approx(expected, abs=0.06)


def test_the_panel_works_without_a_main_window(slicer, widget, done):
    with slicer_host.no_main_window():
        widget.ui.gateSelector.setCurrentIndex(1)
        widget.ui.organTable.cellDoubleClicked.emit(0, 2)
        widget.ui.show3DButton.click()
        assert errors() == []
        widget.ui.editButton.click()
        assert len(errors()) == 1 and "main window" in errors()[0]
