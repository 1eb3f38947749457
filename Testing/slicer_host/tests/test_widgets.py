"""Stand-ins for CTK and qMRML widgets behave as their namesakes are documented to."""

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


def test_node_selector_lists_and_selects(selector, volumes):
    heard = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    assert (selector.nodeCount(), selector.currentNode()) == (2, None)
    selector.setCurrentNode(volumes[1])
    assert selector.currentNode() is volumes[1]
    selector.setCurrentNode(None)
    assert heard == [volumes[1], None]


def test_node_selector_follows_the_scene(slicer, selector, volumes):
    selector.setCurrentNode(volumes[0])
    slicer.mrmlScene.RemoveNode(volumes[0])
    assert (selector.nodeCount(), selector.currentNode()) == (1, None)


def test_node_selector_drops_a_listed_node_that_was_hidden_and_removed(slicer, selector, volumes):
    volumes[0].SetHideFromEditors(True)
    slicer.mrmlScene.RemoveNode(volumes[0])
    assert selector.nodeCount() == 1


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
    node = selector.addNode()
    assert (node.GetName(), node.GetClassName()) == ("ScalarVolume", "vtkMRMLScalarVolumeNode")
    assert selector.currentNode() is node and added == [node]


def test_node_selector_filters_by_class_and_visibility(slicer, selector, volumes):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert selector.nodeCount() == 3
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 2
    hidden = slicer.vtkMRMLScalarVolumeNode()
    hidden.HideFromEditorsOn()
    slicer.mrmlScene.AddNode(hidden)
    assert selector.nodeCount() == 2
    selector.showHidden = True
    assert selector.nodeCount() == 3


def test_color_selector_lists_tables_that_are_hidden_elsewhere(slicer):
    box = slicer.qMRMLColorTableComboBox()
    box.setMRMLScene(slicer.mrmlScene)
    box.setCurrentNode(slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeRainbow"))
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
    button = ctk.ctkCollapsibleButton()
    child = qt.QLabel("inside", button)
    button.collapsed = True
    assert child.isHidden()
    button.collapsed = False
    assert not child.isHidden()


def test_a_deleted_widget_no_longer_observes(slicer, selector):
    selector.delete()
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "after")
