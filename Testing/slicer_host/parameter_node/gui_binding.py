"""How a parameter is shown in a widget: one small class per kind of widget.

A combination of widget class and parameter type that is not in the table raises RuntimeError.
"""

from typing import Any

import ctk
import qt
import slicer

from .annotations import Choice, FloatRange, RangeBounds, WithinRange, find
from .field import Field


class Binding:
    """Widget and parameter; subclasses name the property that holds the value, and the signal of its change."""

    value_property = "value"
    signal_name = "valueChanged"

    def __init__(self, widget, field: Field):
        self.widget = widget
        self.field = field
        self._callback = None
        self.prepare()

    def prepare(self) -> None:
        """Sets the widget up for the parameter's annotations."""

    def read(self) -> Any:
        return getattr(self.widget, self.value_property)

    def write(self, value: Any) -> None:
        setattr(self.widget, self.value_property, value)

    def connect(self, callback) -> None:
        self._callback = lambda *_: callback()
        getattr(self.widget, self.signal_name).connect(self._callback)

    def disconnect(self) -> None:
        getattr(self.widget, self.signal_name).disconnect(self._callback)

    def _required(self, annotation: type) -> Any:
        found = find(self.field.annotations, annotation)
        if found is None:
            raise RuntimeError(
                f"'{self.field.name}' needs {annotation.__name__} to be bound to a {type(self.widget).__name__}"
            )
        return found


class CheckBinding(Binding):
    """Check boxes."""

    value_property, signal_name = "checked", "toggled"


class SliderBinding(Binding):
    """Sliders."""

    def prepare(self) -> None:
        limits = self._required(WithinRange)
        self.widget.setRange(limits.minimum, limits.maximum)


class ChoiceBinding(Binding):
    """Combo boxes with the choices of the parameter; replaces the items that the .ui file gives."""

    signal_name = "currentIndexChanged"

    def prepare(self) -> None:
        self._choices = self._required(Choice).choices
        self.widget.clear()
        self.widget.addItems(self._choices)

    def read(self) -> str:
        return self._choices[self.widget.currentIndex]

    def write(self, value: str) -> None:
        self.widget.setCurrentIndex(self._choices.index(value))


class RangeBinding(Binding):
    """Range widgets."""

    signal_name = "valuesChanged"

    def prepare(self) -> None:
        bounds = self._required(RangeBounds)
        self.widget.setRange(bounds.minimum, bounds.maximum)

    def read(self) -> FloatRange:
        return FloatRange(self.widget.minimumValue, self.widget.maximumValue)

    def write(self, value: FloatRange) -> None:
        self.widget.setValues(value.minimum, value.maximum)


class NodeBinding(Binding):
    """Node selectors; they list the parameter's node class, whatever the .ui file says."""

    signal_name = "currentNodeChanged"

    def prepare(self) -> None:
        self.widget.nodeTypes = [self.field.type().GetClassName()]

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


def bind(widget, field: Field) -> Binding:
    """Returns the binding of a widget to a parameter.

    Raises:
        RuntimeError: a parameter of this type cannot be shown in a widget of this class.
    """
    table = (  # exact classes, as in 3D Slicer
        (NodeBinding, slicer.qMRMLNodeComboBox, field.is_node),
        (CheckBinding, qt.QCheckBox, field.type is bool),
        (SliderBinding, ctk.ctkSliderWidget, field.type is float),
        (ChoiceBinding, qt.QComboBox, field.type is str),
        (RangeBinding, ctk.ctkRangeWidget, field.type is FloatRange),
    )
    binding = next((binding for binding, kind, fits in table if fits and type(widget) is kind), None)
    if binding is None:
        raise RuntimeError(f"no way to show '{field.name}' ({field.type}) in a {type(widget).__name__}")
    return binding(widget, field)
