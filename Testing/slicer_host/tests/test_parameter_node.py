"""`@parameterNodeWrapper`: typed fields in a real vtkMRMLScriptedModuleNode, bound to widgets."""

import enum
from pathlib import Path
from typing import Annotated, Optional

import pytest


class Device(enum.Enum):
    AUTO = 1
    CPU = 2


@pytest.fixture
def wrapper(slicer):
    """A parameter node class with every kind of field, and an instance in the scene."""
    from slicer.parameterNodeWrapper import (
        Choice,
        Default,
        FloatRange,
        RangeBounds,
        WithinRange,
        parameterNodeWrapper,
    )

    @parameterNodeWrapper
    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        output: slicer.vtkMRMLSegmentationNode | None
        roi: Optional[slicer.vtkMRMLMarkupsROINode]  # noqa: UP045  (both spellings have to work)
        opacity: Annotated[float, WithinRange(0, 1)] = 0.5
        count: int = 3
        on: bool = True
        name: str
        folder: Path
        mode: Annotated[str, Choice(["a", "b"]), Default("b")]
        limits: Annotated[FloatRange, RangeBounds(0, 1), Default(FloatRange(0.25, 1))]
        device: Device
        seed: int | None

    return Parameters


@pytest.fixture
def parameters(slicer, wrapper):
    return wrapper(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))


def test_defaults(parameters):
    values = {name: parameters.getValue(name) for name in ("volume", "output", "roi", "seed", "name", "mode", "on")}
    assert values == {"volume": None, "output": None, "roi": None, "seed": None, "name": "", "mode": "b", "on": True}
    assert (parameters.opacity, parameters.count, parameters.folder) == (0.5, 3, Path())
    assert (parameters.limits.minimum, parameters.limits.maximum) == (0.25, 1.0)
    assert parameters.device is Device.AUTO


def test_values_are_kept_by_the_node(slicer, wrapper, parameters):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    parameters.volume, parameters.seed, parameters.on = volume, 7, False
    parameters.opacity, parameters.folder, parameters.device = 1 / 3, Path("/data"), Device.CPU
    again = wrapper(parameters.parameterNode)
    assert (again.volume, again.seed, again.on, again.opacity) == (volume, 7, False, 1 / 3)
    assert (again.folder, again.device) == (Path("/data"), Device.CPU)
    assert parameters.parameterNode.GetParameter("count") == "3"
    assert parameters.parameterNode.GetNodeReferenceID("volume") == volume.GetID()
    parameters.seed = None
    assert again.seed is None


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("opacity", 1.5, ValueError),
        ("opacity", None, ValueError),
        ("count", "3", TypeError),
        ("mode", "c", ValueError),
        ("count", 2.5, TypeError),
    ],
)
def test_values_out_of_type_or_range_are_refused(parameters, name, value, error):
    before = parameters.getValue(name)
    with pytest.raises(error):
        setattr(parameters, name, value)
    assert parameters.getValue(name) == before


def test_a_node_of_another_class_is_refused(slicer, parameters):
    with pytest.raises(TypeError, match="vtkMRMLScalarVolumeNode"):
        parameters.volume = slicer.vtkMRMLModelNode()


def test_types_that_the_host_does_not_know_are_refused(slicer):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    class Parameters:
        items: set[int]

    with pytest.raises(TypeError, match="items"):
        parameterNodeWrapper(Parameters)


def test_observers_hear_of_one_change_once(slicer, parameters):
    heard = []
    parameters.AddObserver("ModifiedEvent", lambda *_: heard.append(1))
    parameters.count = 4
    with slicer.util.NodeModify(parameters):
        parameters.count, parameters.on, parameters.name = 5, False, "x"
    assert len(heard) == 2


@pytest.fixture
def gui(slicer, qt):
    """Widgets for some of the fields, found by their dynamic property."""
    import ctk

    class Gui:
        opacity = None

    ui = Gui()
    kinds = {
        "volume": slicer.qMRMLNodeComboBox,
        "opacity": ctk.ctkSliderWidget,
        "on": qt.QCheckBox,
        "name": qt.QLineEdit,
        "mode": qt.QComboBox,
        "limits": ctk.ctkRangeWidget,
        "count": qt.QSpinBox,
        "folder": ctk.ctkPathLineEdit,
        "device": ctk.ctkComboBox,
    }
    for name, kind in kinds.items():
        widget = kind()
        widget.setProperty("SlicerParameterName", name)
        setattr(ui, name, widget)
    ui.volume.setMRMLScene(slicer.mrmlScene)
    return ui


def test_widgets_show_the_values_and_change_them(slicer, parameters, gui):
    parameters.connectGui(gui)
    assert (gui.opacity.value, gui.opacity.maximum, gui.on.checked, gui.mode.currentText) == (0.5, 1.0, True, "b")
    assert (gui.limits.minimumValue, gui.count.value, gui.device.currentText) == (0.25, 3, "AUTO")
    gui.opacity.value, gui.on.checked, gui.name.text, gui.mode.currentIndex = 0.75, False, "n", 0
    gui.limits.setValues(0.5, 0.75)
    gui.folder.currentPath, gui.device.currentIndex = "/tmp", 1
    assert (parameters.opacity, parameters.on, parameters.name, parameters.mode) == (0.75, False, "n", "a")
    assert (parameters.limits.minimum, parameters.limits.maximum) == (0.5, 0.75)
    assert (parameters.folder, parameters.device) == (Path("/tmp"), Device.CPU)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    gui.volume.setCurrentNode(volume)
    assert parameters.volume is volume
    parameters.volume, parameters.opacity = None, 0.25
    assert (gui.volume.currentNode(), gui.opacity.value) == (None, 0.25)


def test_disconnected_widgets_are_left_alone(parameters, gui):
    tag = parameters.connectGui(gui)
    parameters.disconnectGui(tag)
    gui.opacity.value = 0.125
    parameters.count = 9
    assert (parameters.opacity, gui.count.value) == (0.5, 3)
    parameters.disconnectGui(None)


def test_a_widget_that_cannot_show_a_field_raises(qt, parameters):
    with pytest.raises(RuntimeError, match="no way to show 'on'"):
        parameters.connectParametersToGui({"on": qt.QLineEdit()})
    with pytest.raises(ValueError, match="no parameter named 'of'"):
        parameters.connectParametersToGui({"of": qt.QCheckBox()})
    with pytest.raises(RuntimeError, match="needs Choice"):
        parameters.connectParametersToGui({"name": qt.QComboBox()})
