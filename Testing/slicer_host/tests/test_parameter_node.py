"""`@parameterNodeWrapper`: typed fields in a real vtkMRMLScriptedModuleNode, bound to widgets."""

import gc
import types
import weakref
from typing import Annotated

import pytest


@pytest.fixture
def wrapper(slicer):
    """A parameter node class with every kind of field."""
    from slicer.parameterNodeWrapper import Choice, Default, FloatRange, RangeBounds, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        opacity: Annotated[float, WithinRange(0, 1)] = 0.5
        on: bool = True
        name: str
        mode: Annotated[str, Choice(["a", "b"]), Default("b")]
        limits: Annotated[FloatRange, RangeBounds(0, 1), Default(FloatRange(0.25, 1))]

    return Parameters


@pytest.fixture
def parameters(slicer, wrapper):
    return wrapper(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))


def test_defaults(parameters):
    values = {name: parameters.getValue(name) for name in ("volume", "opacity", "on", "name", "mode")}
    assert values == {"volume": None, "opacity": 0.5, "on": True, "name": "", "mode": "b"}
    assert (parameters.limits.minimum, parameters.limits.maximum) == (0.25, 1.0)


def test_values_are_kept_by_the_node_under_slicers_names(slicer, wrapper, parameters):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    parameters.volume, parameters.on, parameters.opacity = volume, False, 1 / 3
    again = wrapper(parameters.parameterNode)
    assert (again.volume, again.on, again.opacity) == (volume, False, 1 / 3)
    node = parameters.parameterNode
    assert node.GetNodeReferenceID("volume") == volume.GetID()
    assert (node.GetParameter("on"), node.GetParameter("limits._minimum")) == ("False", "0.25")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("opacity", 1.5, ValueError),
        ("opacity", None, ValueError),
        ("opacity", "0.5", TypeError),
        ("on", 1, TypeError),
        ("mode", "c", ValueError),
        ("limits", (0, 1), TypeError),
    ],
)
def test_values_out_of_type_or_range_are_refused(parameters, name, value, error):
    before = parameters.getValue(name)
    with pytest.raises(error):
        setattr(parameters, name, value)
    assert parameters.getValue(name) == before


def test_ranges_are_in_order_and_in_bounds(parameters):
    from slicer.parameterNodeWrapper import FloatRange

    with pytest.raises(ValueError, match="4 and 3"):
        FloatRange(4, 3)
    with pytest.raises(ValueError, match="within"):
        parameters.limits = FloatRange(0, 2)
    with pytest.raises(AttributeError):
        parameters.limits.minimum = 0.5


def test_a_node_of_another_class_is_refused(slicer, parameters):
    with pytest.raises(TypeError, match="vtkMRMLScalarVolumeNode"):
        parameters.volume = slicer.vtkMRMLModelNode()


@pytest.mark.parametrize("declared", [int, list[str], Annotated[str, "annotation"]])
def test_types_and_annotations_that_the_host_does_not_know_are_refused(slicer, declared):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(TypeError, match="item"):
        parameterNodeWrapper(type("Parameters", (), {"__annotations__": {"item": declared}}))


@pytest.mark.parametrize("name", ["default", "connectGui"])
def test_names_of_the_wrappers_own_methods_are_refused(slicer, name):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(ValueError, match="reserved"):
        parameterNodeWrapper(type("Parameters", (), {"__annotations__": {name: str}}))


def test_observers_hear_of_one_change_once(parameters):
    from slicer.parameterNodeWrapper import FloatRange

    heard = []
    parameters.AddObserver("ModifiedEvent", lambda *_: heard.append(1))
    parameters.limits = FloatRange(0, 0.5)
    assert len(heard) == 1


@pytest.fixture
def gui(slicer, qt):
    """Widgets for some of the fields, found by their dynamic property."""
    import ctk

    kinds = {
        "volume": slicer.qMRMLNodeComboBox,
        "opacity": ctk.ctkSliderWidget,
        "on": qt.QCheckBox,
        "mode": qt.QComboBox,
        "limits": ctk.ctkRangeWidget,
    }
    ui = types.SimpleNamespace(**{name: kind() for name, kind in kinds.items()})
    for name, widget in vars(ui).items():
        widget.setProperty("SlicerParameterName", name)
    ui.volume.setMRMLScene(slicer.mrmlScene)
    return ui


def test_widgets_show_the_values_and_change_them(slicer, parameters, gui):
    parameters.connectGui(gui)
    assert (gui.opacity.value, gui.opacity.maximum, gui.on.checked, gui.mode.currentText) == (0.5, 1.0, True, "b")
    assert gui.limits.minimumValue == 0.25
    gui.opacity.value, gui.on.checked, gui.mode.currentIndex = 0.75, False, 0
    gui.limits.setValues(0.5, 0.75)
    assert (parameters.opacity, parameters.on, parameters.mode) == (0.75, False, "a")
    assert (parameters.limits.minimum, parameters.limits.maximum) == (0.5, 0.75)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    gui.volume.setCurrentNode(volume)
    assert parameters.volume is volume
    parameters.volume, parameters.opacity = None, 0.25
    assert (gui.volume.currentNode(), gui.opacity.value) == (None, 0.25)


def test_disconnected_widgets_are_left_alone(parameters, gui):
    tag = parameters.connectParametersToGui(vars(gui))
    parameters.disconnectGui(tag)
    gui.opacity.value = 0.125
    parameters.on = False
    assert (parameters.opacity, gui.on.checked) == (0.5, True)
    parameters.disconnectGui(None)


def test_what_connect_gui_bound_stays_bound(parameters, gui):
    parameters.disconnectGui(parameters.connectGui(gui))
    gui.opacity.value = 0.75
    assert parameters.opacity == 0.75


def test_a_node_that_comes_after_its_reference_is_missed_by_wrappers_that_are_there(slicer, wrapper, parameters):
    parameters.parameterNode.SetNodeReferenceID("volume", "vtkMRMLScalarVolumeNode1")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    assert volume.GetID() == "vtkMRMLScalarVolumeNode1"
    assert parameters.volume is None and wrapper(parameters.parameterNode).volume is volume
    parameters.opacity = 0.25
    assert parameters.volume is volume


def test_a_wrapper_that_nobody_holds_goes(parameters, wrapper):
    left = weakref.ref(wrapper(parameters.parameterNode))
    gc.collect()
    assert left() is None
    parameters.opacity = 0.25  # an observer that lives on fails


def test_a_widget_that_cannot_show_a_field_raises(qt, parameters):
    with pytest.raises(RuntimeError, match="no way to show 'on'"):
        parameters.connectParametersToGui({"on": qt.QLineEdit()})
    with pytest.raises(ValueError, match="no parameter named 'of'"):
        parameters.connectParametersToGui({"of": qt.QCheckBox()})
    with pytest.raises(RuntimeError, match="'name' needs Choice"):
        parameters.connectParametersToGui({"name": qt.QComboBox()})
