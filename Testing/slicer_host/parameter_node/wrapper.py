"""The decorator `@parameterNodeWrapper`."""

import typing
from typing import Any

import vtk

from .field import Field
from .gui_binding import Binding, bind

_RESERVED = {"StartModify", "EndModify", "Modified", "dataType", "default", "isCached"}  # not needed here


class _ParameterNode:
    """What the decorator adds to a class: the node, access by name, binding to widgets."""

    allParameters: dict[str, Field] = {}

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._bindings: dict[int, dict[str, Binding]] = {}
        self._tags: dict[int, int] = {}
        self._next_tag = 0
        self._updating = False
        for name in self.allParameters:
            self.getValue(name)  # writes the default of a parameter that is not there

    def getValue(self, name: str) -> Any:
        return self.allParameters[name].read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        self.allParameters[name].write(self.parameterNode, value)

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, gui) -> int:
        """Binds all widgets among an object's attributes that have the dynamic property SlicerParameterName.

        Returns:
            A tag for disconnectGui.
        """
        named = {widget.property("SlicerParameterName"): widget for widget in vars(gui).values()}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Binds widgets to parameters by name: shows the values, then follows changes on either side.

        Raises:
            ValueError: there is no parameter of a name.
        """
        unknown = [name for name in mapping if name not in self.allParameters]
        if unknown:
            raise ValueError(f"no parameter named '{unknown[0]}'; there are {list(self.allParameters)}")
        bindings = {name: bind(widget, self.allParameters[name]) for name, widget in mapping.items()}
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
    """Class decorator: annotated fields become properties in a vtkMRMLScriptedModuleNode.

    Raises:
        ValueError: a field has the name of one of the wrapper's own methods.
        TypeError: a field has a type or an annotation that the host does not know.
    """
    fields = {}
    for name, declared in typing.get_type_hints(cls, include_extras=True).items():
        if hasattr(_ParameterNode, name) or name in _RESERVED:
            raise ValueError(f"'{name}' is a reserved name in a parameterNodeWrapper")
        fields[name] = Field(name, declared, getattr(cls, name, ...))
    members = {name: _property_of(name) for name in fields} | {"allParameters": fields}
    return type(cls.__name__, (cls, _ParameterNode), members)
