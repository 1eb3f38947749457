"""The decorator `@parameterNodeWrapper`."""

import typing
from typing import Any

import qt
import slicer
import vtk

from .field import Field
from .gui_binding import Binding, bind

_NAME_PROPERTY = "SlicerParameterName"


class _ParameterNode:
    """What the decorator adds to a class: the node, access by name, binding to widgets."""

    _fields: dict[str, Field] = {}

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._bindings: dict[int, dict[str, Binding]] = {}
        self._tags: dict[int, int] = {}
        self._next_tag = 0
        self._updating = False
        for field in self._fields.values():
            field.read(parameterNode)  # writes the default of a field that is not there

    def getValue(self, name: str) -> Any:
        return self._field(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        self._field(name).write(self.parameterNode, value)

    def default(self, name: str) -> Any:
        return self._field(name).default()

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modifying: int) -> int:
        return self.parameterNode.EndModify(was_modifying)

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, gui) -> int:
        """Binds all widgets that have the dynamic property SlicerParameterName.

        Args:
            gui: a widget, whose children are searched, or an object whose attributes are widgets.

        Returns:
            A tag for disconnectGui.
        """
        widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else list(vars(gui).values())
        named = {widget.property(_NAME_PROPERTY): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Binds widgets to fields by name: shows the values, then follows changes on either side."""
        bindings = {name: bind(widget, self._field(name)) for name, widget in mapping.items()}
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._bindings[tag] = bindings
        for name, binding in bindings.items():
            binding.write(self.getValue(name))
            binding.connect(lambda name=name, binding=binding: self._on_gui(name, binding))
        self._tags[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_node)
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        """Undoes connectGui; an unknown tag is ignored."""
        for binding in self._bindings.pop(tag, {}).values():
            binding.disconnect()
        if tag in self._tags:
            self.RemoveObserver(self._tags.pop(tag))

    def _field(self, name: str) -> Field:
        if name not in self._fields:
            raise ValueError(f"no parameter named '{name}'; there are {list(self._fields)}")
        return self._fields[name]

    def _on_gui(self, name: str, binding: Binding) -> None:
        if not self._updating:
            self.setValue(name, binding.read())

    def _on_node(self, caller, event) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            for bindings in self._bindings.values():
                for name, binding in bindings.items():
                    binding.write(self.getValue(name))
        finally:
            self._updating = False


def _property_of(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator: turns annotated fields into properties that are stored in a vtkMRMLScriptedModuleNode.

    Raises:
        ValueError: a field has the name of one of the wrapper's own methods.
        TypeError: a field has a type or an annotation that the host does not know.
    """
    fields = {}
    for name, declared in typing.get_type_hints(cls, include_extras=True).items():
        if hasattr(_ParameterNode, name):
            raise ValueError(f"'{name}' is a reserved name in a parameterNodeWrapper")
        fields[name] = Field(name, declared, getattr(cls, name, ...))
    members = dict(vars(cls)) | {name: _property_of(name) for name in fields} | {"_fields": fields}
    for name in ("__dict__", "__weakref__"):
        members.pop(name, None)
    return type(cls.__name__, (_ParameterNode, *(base for base in cls.__bases__ if base is not object)), members)


NodeModify = slicer.util.NodeModify
