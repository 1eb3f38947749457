"""`@parameterPack`: several values as one parameter."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import pytest


@pytest.fixture
def packs(slicer):
    """Two pack classes, one inside the other, and a parameter node class that has the outer one."""
    from slicer.parameterNodeWrapper import Choice, Minimum, parameterNodeWrapper, parameterPack

    @parameterPack
    class Point:
        x: float
        y: Annotated[float, Minimum(0)] = 1.0

    @parameterPack
    class Box:
        low: Point
        high: Point
        label: Annotated[str, Choice(["a", "b"])] = "a"

    @parameterNodeWrapper
    class Parameters:
        box: Box
        points: list[Point]

    return Point, Box, Parameters


@pytest.fixture
def parameters(slicer, packs):
    return packs[2](slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))


def test_values_by_position_and_by_name(packs):
    point, box, _ = packs
    assert (point(2).x, point(2).y, point(y=3.0).x) == (2, 1.0, 0.0)
    assert point(2, 3) == point(y=3, x=2) != point(2, 4)
    assert str(point(2, 3)) == "Point(x=2, y=3)"
    assert box().low == point()
    for wrong in (lambda: point(1, 2, 3), lambda: point(1, x=2), lambda: point(z=1)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="at least 0"):
        point(0, -1)
    with pytest.raises(TypeError):
        point().x = "1"


def test_packs_do_not_share_their_defaults(packs):
    _, box, _ = packs
    box().low.x = 5
    assert box().low.x == 0


def test_changes_of_a_stored_pack_are_stored(packs, parameters):
    point, box, wrapper = packs
    parameters.box.low = point(1, 2)
    parameters.box.high.x = 3
    parameters.setValue("box.high.y", 4.0)
    again = wrapper(parameters.parameterNode)
    assert again.box == parameters.box
    assert (again.box.low, again.getValue("box.high")) == (point(1, 2), point(3, 4))
    assert parameters.parameterNode.GetParameter("box.high.x") == "3"
    with pytest.raises(AttributeError, match="colour"):
        parameters.box.colour = 1
    with pytest.raises(ValueError, match="at least 0"):
        parameters.box.high.y = -1
    assert again.box.high.y == 4
    assert box() != parameters.box


def test_packs_in_a_list(packs, parameters):
    point, _, wrapper = packs
    parameters.points.append(point(1, 1))
    parameters.points.append(point(2, 2))
    parameters.points[1].x = 7
    assert wrapper(parameters.parameterNode).points == [point(1, 1), point(7, 2)]


def test_names_that_are_not_there(packs, parameters):
    _, box, wrapper = packs
    for name in ("box.middle", "box.label.x", "boxes", "box.low.z"):
        with pytest.raises(ValueError, match="no member|no parameter"):
            parameters.getValue(name)
        with pytest.raises(ValueError, match="no member|no parameter"):
            wrapper.dataType(name)
    assert wrapper.dataType("box") is box
    assert box.dataType("low.x") is float


def test_what_the_decorator_refuses(slicer):
    from slicer.parameterNodeWrapper import parameterPack

    empty = type("Empty", (), {})
    reserved = type("Reserved", (), {"__annotations__": {"allParameters": int}})
    wrong = type("Wrong", (), {"__annotations__": {"count": int}, "count": "many"})
    for cls, message in ((empty, "no fields"), (reserved, "reserved"), (wrong, "default of 'count'")):
        with pytest.raises(ValueError, match=message):
            parameterPack(cls)


def test_a_dataclass_can_be_a_pack(slicer):
    from slicer.parameterNodeWrapper import parameterNodeWrapper, parameterPack

    @parameterPack
    @dataclass
    class Options:
        folds: str = "0"
        steps: int = 2
        folder: Path = Path("a")

    @parameterNodeWrapper
    class Parameters:
        options: Options

    parameters = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))
    parameters.options.steps = 5
    parameters.options.folder = Path("b")
    assert asdict(parameters.options) == {"folds": "0", "steps": 5, "folder": Path("b")}
    assert Options(steps=5, folder=Path("b")) == parameters.options


def test_own_properties_guard_a_pack(slicer):
    from slicer.parameterNodeWrapper import FloatRange, isParameterPack

    limits = FloatRange(1, 2)
    limits.maximum = 3
    with pytest.raises(ValueError, match="4 and 3"):
        limits.minimum = 4
    assert (limits.minimum, limits.maximum) == (1, 3)
    assert isParameterPack(limits) and isParameterPack(FloatRange) and not isParameterPack(1.0)


def test_widgets_show_values_of_a_pack(slicer, qt, packs, parameters):
    spin, combo = qt.QDoubleSpinBox(), qt.QComboBox()
    parameters.connectParametersToGui({"box.low.x": spin, "box.label": combo})
    spin.value, combo.currentIndex = 0.5, 1
    assert (parameters.box.low.x, parameters.box.label) == (0.5, "b")
    parameters.box = packs[1]()
    assert (spin.value, combo.currentText) == (0.0, "a")


def test_one_widget_shows_a_pack_by_its_children(slicer, qt, parameters):
    from slicer.parameterNodeWrapper import SlicerPackParameterNamePropertyName

    widgets = {"": qt.QWidget()}
    for name, parent, kind in (
        ("low", "", qt.QWidget),
        ("low.x", "low", qt.QDoubleSpinBox),
        ("low.y", "low", qt.QDoubleSpinBox),
        ("high", "", qt.QWidget),
        ("high.x", "high", qt.QDoubleSpinBox),
        ("high.y", "high", qt.QDoubleSpinBox),
    ):
        widgets[name] = kind(widgets[parent])
        widgets[name].setProperty(SlicerPackParameterNamePropertyName, name.rpartition(".")[2])
    with pytest.raises(RuntimeError, match="'label'"):
        parameters.connectParametersToGui({"box": widgets[""]})
    combo = qt.QComboBox(widgets[""])
    combo.setProperty(SlicerPackParameterNamePropertyName, "label")
    tag = parameters.connectParametersToGui({"box": widgets[""]})
    assert widgets["high.y"].value == 1.0
    widgets["high.x"].value, combo.currentIndex = 2.5, 1
    assert (parameters.box.high.x, parameters.box.label) == (2.5, "b")
    parameters.disconnectGui(tag)
    widgets["high.x"].value = 9.0
    assert parameters.box.high.x == 2.5
