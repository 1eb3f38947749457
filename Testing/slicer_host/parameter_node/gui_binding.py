"""How a field is shown in a widget: one small class per kind of widget.

A combination of widget class and field type that 3D Slicer does not bind raises RuntimeError here too.
"""

import enum
import pathlib
from typing import Any

import ctk
import qt
import slicer

from .annotations import Choice, Decimals, Maximum, Minimum, RangeBounds, SingleStep, WithinRange, find
from .field import Field
from .float_range import FloatRange
from .pack import field_of, isParameterPack, nestedParameterNames

SlicerPackParameterNamePropertyName = "SlicerPackParameterName"


class Binding:
    """Widget and field; subclasses name the property that holds the value, and the signal of its change."""

    value_property = "value"
    signal_name = "valueChanged"

    def __init__(self, widget, field: Field):
        self.widget = widget
        self.field = field
        self._callback = None
        self.prepare()

    def prepare(self) -> None:
        """Sets the widget up for the field's annotations."""

    def read(self) -> Any:
        return getattr(self.widget, self.value_property)

    def write(self, value: Any) -> None:
        if self.read() != value:  # writing moves the cursor of a line edit
            setattr(self.widget, self.value_property, value)

    def connect(self, callback) -> None:
        self._callback = lambda *_: callback()
        getattr(self.widget, self.signal_name).connect(self._callback)

    def disconnect(self) -> None:
        getattr(self.widget, self.signal_name).disconnect(self._callback)


class CheckBinding(Binding):
    """Check boxes and checkable push buttons."""

    value_property, signal_name = "checked", "toggled"

    def prepare(self) -> None:
        self.widget.checkable = True


class TextBinding(Binding):
    """Line edits."""

    value_property, signal_name = "text", "textChanged"


class PlainTextBinding(Binding):
    """Text fields of several lines."""

    value_property, signal_name = "plainText", "textChanged"


class LabelBinding(Binding):
    """Labels, which only show."""

    value_property = "text"

    def connect(self, callback) -> None:
        """A label never changes by itself."""

    def disconnect(self) -> None:
        """Nothing was connected."""


class NumberBinding(Binding):
    """Spin boxes and sliders."""

    def prepare(self) -> None:
        annotations = self.field.annotations
        limits = find(annotations, WithinRange)
        low, high = limits or find(annotations, Minimum), limits or find(annotations, Maximum)
        if isinstance(self.widget, (ctk.ctkSliderWidget, qt.QSlider)) and None in (low, high):
            raise RuntimeError(f"'{self.field.name}' needs WithinRange to be bound to a slider")
        is_integer_widget = isinstance(self.widget, (qt.QSlider, qt.QSpinBox))
        least, most = (-(2**31), 2**31 - 1) if is_integer_widget else (float("-inf"), float("inf"))
        self.widget.setRange(low.minimum if low else least, high.maximum if high else most)
        decimals, step = find(annotations, Decimals), find(annotations, SingleStep)
        if not is_integer_widget and (self.field.type is int or decimals):
            self.widget.decimals = 0 if self.field.type is int else decimals.value
        if step:
            self.widget.singleStep = step.value

    def read(self) -> float:
        return self.field.type(self.widget.value)


class ChoiceBinding(Binding):
    """Combo boxes with the choices of the field; replaces the items that the .ui file gives."""

    signal_name = "currentIndexChanged"

    def prepare(self) -> None:
        choice = find(self.field.annotations, Choice)
        if choice is None and not self.field.is_a(enum.Enum):
            raise RuntimeError(f"'{self.field.name}' needs Choice to be bound to a combo box")
        self._choices = list(choice.choices if choice else self.field.type)
        self.widget.clear()
        self.widget.addItems([_label(item) for item in self._choices])

    def read(self) -> Any:
        return self._choices[self.widget.currentIndex]

    def write(self, value: Any) -> None:
        self.widget.setCurrentIndex(self._choices.index(value))


def _label(item: Any) -> str:
    if not isinstance(item, enum.Enum):
        return str(item)
    return item.label() if hasattr(item, "label") else item.name


class RangeBinding(Binding):
    """Range widgets."""

    signal_name = "valuesChanged"

    def prepare(self) -> None:
        bounds = find(self.field.annotations, RangeBounds)
        if bounds is None:
            raise RuntimeError(f"'{self.field.name}' needs RangeBounds to be bound to a range widget")
        self.widget.setRange(bounds.minimum, bounds.maximum)

    def read(self) -> FloatRange:
        return FloatRange(self.widget.minimumValue, self.widget.maximumValue)

    def write(self, value: FloatRange) -> None:
        self.widget.setValues(value.minimum, value.maximum)


class PathBinding(Binding):
    """Path line edits."""

    value_property, signal_name = "currentPath", "currentPathChanged"

    def read(self) -> pathlib.Path:
        return self.field.type(super().read())

    def write(self, value: pathlib.Path) -> None:
        setattr(self.widget, self.value_property, str(value))


class DirectoryBinding(PathBinding):
    """Buttons that choose a folder."""

    value_property, signal_name = "directory", "directoryChanged"


class NodeBinding(Binding):
    """Node selectors; they list the field's node classes, whatever the .ui file says."""

    signal_name = "currentNodeChanged"

    def prepare(self) -> None:
        self.widget.nodeTypes = [node_class().GetClassName() for node_class in self.field.types]

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


class PackBinding(Binding):
    """A widget with a child for every value of a pack, found by the names that it and its parents carry."""

    def prepare(self) -> None:
        pack_class = self.field.type
        children = {_name_inside(child, self.widget): child for child in self.widget.findChildren(qt.QWidget)}
        names = nestedParameterNames(pack_class)
        missing = [name for name in names if name not in children]
        if missing:
            raise RuntimeError(f"no child of the widget shows '{missing[0]}' of '{self.field.name}'")
        self._inner = {name: bind(children[name], field_of(pack_class, name)) for name in names}

    def read(self) -> Any:
        pack = self.field.type()
        for name, binding in self._inner.items():
            pack.setValue(name, binding.read())
        return pack

    def write(self, value: Any) -> None:
        for name, binding in self._inner.items():
            binding.write(value.getValue(name))

    def connect(self, callback) -> None:
        for binding in self._inner.values():
            binding.connect(callback)

    def disconnect(self) -> None:
        for binding in self._inner.values():
            binding.disconnect()


def _name_inside(child, top) -> str | None:
    """The dotted name of a widget inside another one; None if it carries none."""
    if child.property(SlicerPackParameterNamePropertyName) is None:
        return None
    names = []
    while child is not None and child is not top:
        names.insert(0, child.property(SlicerPackParameterNamePropertyName))
        child = child.parentWidget()
    return ".".join(filter(None, names))


def _binding_class(widget_class: type, field: Field) -> type[Binding] | None:
    """The table of what goes together; exact classes, as in 3D Slicer."""
    sliders = (ctk.ctkSliderWidget, slicer.qMRMLSliderWidget)
    number_boxes = (*sliders, qt.QDoubleSpinBox, ctk.ctkDoubleSpinBox, slicer.qMRMLSpinBox)
    table = (
        (NodeBinding, (slicer.qMRMLNodeComboBox,), field.is_node),
        (CheckBinding, (qt.QCheckBox, ctk.ctkCheckBox, qt.QPushButton), field.type is bool),
        (NumberBinding, (qt.QSlider, qt.QSpinBox), field.type is int),
        (NumberBinding, number_boxes, field.type in (int, float)),
        (ChoiceBinding, (qt.QComboBox, ctk.ctkComboBox), field.type in (int, float, str, bool)),
        (ChoiceBinding, (qt.QComboBox, ctk.ctkComboBox), field.is_a(enum.Enum)),
        (TextBinding, (qt.QLineEdit,), field.type is str),
        (PlainTextBinding, (qt.QTextEdit,), field.type is str),
        (LabelBinding, (qt.QLabel,), field.type is str),
        (RangeBinding, (ctk.ctkRangeWidget, slicer.qMRMLRangeWidget), field.type is FloatRange),
        (PathBinding, (ctk.ctkPathLineEdit,), field.is_a(pathlib.PurePath)),
        (DirectoryBinding, (ctk.ctkDirectoryButton,), field.is_a(pathlib.PurePath)),
    )
    if field.optional and not field.is_node:
        return None
    if field.type is not FloatRange and isParameterPack(field.type):
        return PackBinding
    return next((binding for binding, classes, fits in table if fits and widget_class in classes), None)


def bind(widget, field: Field) -> Binding:
    """Returns the binding of a widget to a field.

    Raises:
        RuntimeError: a field of this type cannot be shown in a widget of this class.
    """
    binding = _binding_class(type(widget), field)
    if binding is None:
        raise RuntimeError(f"no way to show '{field.name}' ({field.types}) in a {type(widget).__name__}")
    return binding(widget, field)
