"""Stand-ins for CTK and qMRML widgets behave as their namesakes are documented to."""

import numpy as np
import pytest


@pytest.fixture
def ctk(slicer):
    import ctk

    return ctk


@pytest.fixture
def volumes(slicer):
    return [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("CT", "MR")]


@pytest.fixture
def selector(slicer):
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.setMRMLScene(slicer.mrmlScene)
    return box


@pytest.fixture
def segmentation(slicer):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    volume = slicer.util.addVolumeFromArray(np.zeros((8, 8, 8), np.int16))
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, color in (("spleen", (1, 0, 0)), ("pancreas", (0, 1, 0))):
        node.GetSegmentation().AddEmptySegment(name, name, color)
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, node, "spleen", volume)
    return node


def test_node_selector_lists_and_selects(selector, volumes):
    heard = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    assert (selector.nodeCount(), selector.currentNode()) == (2, None)
    selector.setCurrentNode(volumes[1])
    assert selector.currentNodeID == volumes[1].GetID()
    selector.setCurrentNode(None)
    assert heard == [volumes[1], None]


def test_node_selector_follows_the_scene(slicer, selector, volumes):
    selector.setCurrentNode(volumes[0])
    slicer.mrmlScene.RemoveNode(volumes[0])
    assert (selector.nodeCount(), selector.currentNode()) == (1, None)


def test_node_selector_without_none_and_other_entries_selects_the_first_node(slicer, selector):
    selector.noneEnabled = False
    first = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "first")
    assert selector.currentNode() is None  # "Create new" and "Delete current" are entries too
    slicer.mrmlScene.RemoveNode(first)
    selector.addEnabled = selector.removeEnabled = False
    new = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new")
    assert selector.currentNode() is new
    selector.setCurrentNode(None)
    assert selector.currentNode() is None


def test_node_selector_creates_nodes(selector):
    added = []
    selector.connect("nodeAddedByUser(vtkMRMLNode*)", added.append)
    selector.baseName = "Output"
    node = selector.addNode()
    assert (node.GetName(), node.GetClassName()) == ("Output", "vtkMRMLScalarVolumeNode")
    assert selector.currentNode() is node and added == [node]


def test_node_selector_filters_by_class_attribute_and_visibility(slicer, selector, volumes):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert selector.nodeCount() == 3
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 2
    volumes[0].SetAttribute("kind", "ct")
    selector.addAttribute("vtkMRMLScalarVolumeNode", "kind", "ct")
    assert [selector.nodeFromIndex(0)] == volumes[:1]


def test_color_selector_lists_tables_that_are_hidden_elsewhere(slicer):
    box = slicer.qMRMLColorTableComboBox()
    box.setMRMLScene(slicer.mrmlScene)
    box.setCurrentNodeID("vtkMRMLColorTableNodeRainbow")
    assert box.currentNode().GetName() == "Rainbow"


def test_slider_rounds_clips_and_signals(ctk):
    slider, heard = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", heard.append)
    slider.minimum, slider.maximum, slider.decimals = -10, 10, 1
    slider.value = 2.26
    slider.setValue(99)
    assert heard == [2.3, 10.0]


def test_range_keeps_its_values_in_order_and_in_range(ctk):
    widget, heard = ctk.ctkRangeWidget(), []
    widget.connect("valuesChanged(double,double)", lambda low, high: heard.append((low, high)))
    widget.setRange(0, 1)
    widget.setValues(0.2, 0.7)
    widget.minimumValue = 0.9
    widget.setValues(0.5, -3)
    assert (widget.minimumValue, widget.maximumValue) == (0.0, 0.5)
    assert heard == [(0.0, 1.0), (0.2, 0.7), (0.9, 0.9), (0.0, 0.5)]


def test_collapsing_hides_the_contents(ctk, qt):
    button, heard = ctk.ctkCollapsibleButton("More"), []
    child = qt.QLabel("inside", button)
    button.connect("contentsCollapsed(bool)", heard.append)
    button.collapsed = True
    assert child.isHidden() and button.checked is False
    button.click()
    assert not child.isHidden() and heard == [True, False]


def test_path_line_edit_tells_of_changes(ctk):
    edit, heard = ctk.ctkPathLineEdit(), []
    edit.connect("currentPathChanged(QString)", heard.append)
    edit.currentPath = "/data"
    assert heard == ["/data"]


def test_directory_button_holds_an_absolute_path(ctk, tmp_path):
    import slicer_host

    button, heard = ctk.ctkDirectoryButton(), []
    button.connect("directoryChanged(QString)", heard.append)
    button.directory = str(tmp_path / "a" / ".." / "b")
    button.directory = str(tmp_path / "b")
    with slicer_host.answering(path=str(tmp_path)):
        button.click()
    assert heard == [str(tmp_path / "b"), str(tmp_path)]
    assert button.directory == str(tmp_path)


def test_unit_aware_widgets_are_ctks(slicer):
    for kind in (slicer.qMRMLSliderWidget, slicer.qMRMLSpinBox):
        widget = kind()
        widget.setMRMLScene(slicer.mrmlScene)
        widget.maximum, widget.value = 5.0, 7.0
        assert (widget.mrmlScene(), widget.value) == (slicer.mrmlScene, 5.0)
    limits = slicer.qMRMLRangeWidget()
    limits.setValues(4, 2)
    assert (limits.minimumValue, limits.maximumValue) == (2, 4)


def test_segments_table_shows_and_changes_the_segments(slicer, qt, segmentation):
    table = slicer.qMRMLSegmentsTableView()
    table.setSegmentationNode(segmentation)
    assert table.displayedSegmentIDs() == ["spleen", "pancreas"]
    table.setSelectedSegmentIDs(["pancreas"])
    segmentation.GetSegmentation().GetSegment("spleen").SetName("Milz")
    assert table.tableWidget().item(0, 3).text() == "Milz"
    assert table.selectedSegmentIDs() == ["pancreas"]
    table.tableWidget().item(0, 0).setCheckState(qt.Qt.Unchecked)
    assert segmentation.GetDisplayNode().GetSegmentVisibility("spleen") is False
    segmentation.GetSegmentation().RemoveSegment("spleen")
    assert (table.segmentCount, table.rowForSegmentID("spleen")) == (1, -1)


def test_show_3d_makes_and_removes_the_surface(slicer, segmentation):
    import vtk

    button = slicer.qMRMLSegmentationShow3DButton()
    assert button.enabled is False
    button.setSegmentationNode(segmentation)
    button.click()
    surface = vtk.vtkPolyData()
    segmentation.GetClosedSurfaceRepresentation("spleen", surface)
    assert surface.GetNumberOfPoints() > 0 and button.checked is True
    button.click()
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_a_deleted_widget_no_longer_observes(slicer, selector):
    selector.delete()
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "after")
