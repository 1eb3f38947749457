"""The decorator `@parameterNodeWrapper`."""

import typing
import weakref
from typing import Any

import slicer
import vtk

from .field import Field
from .gui_binding import Binding, bind

_RESERVED = {"StartModify", "EndModify", "Modified", "dataType", "default", "isCached"}  # not needed here


class _ParameterNode:
    """What the decorator adds to a class: the node, access by name, binding to widgets.

    Values are those of the node's last ModifiedEvent. A node that a scene brings after it is missed, as in 3D Slicer.
    """

    allParameters: dict[str, Field] = {}

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._bindings: dict[int, dict[str, Binding]] = {}
        self._next_tag = 0
        self._updating = False
        self._values: dict[str, Any] = {}
        self._read_all()
        this = weakref.ref(self)
        tag = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: this()._read_all())
        weakref.finalize(self, parameterNode.RemoveObserver, tag)

    def _read_all(self) -> None:
        with slicer.util.NodeModify(self.parameterNode):  # the defaults of a node that was reset are one change
            self._values = {name: field.read(self.parameterNode) for name, field in self.allParameters.items()}

    def getValue(self, name: str) -> Any:
        return self._values[name]

    def setValue(self, name: str, value: Any) -> None:
        with slicer.util.NodeModify(self.parameterNode):  # observers shall find the new value
            self.allParameters[name].write(self.parameterNode, value)
            self._values[name] = self.allParameters[name].read(self.parameterNode)

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, gui) -> None:
        """Binds all widgets among an object's attributes that have the dynamic property SlicerParameterName.

        No tag comes back, as in 3D Slicer (its issue 7547): what it binds stays bound.
        """
        named = {widget.property("SlicerParameterName"): widget for widget in vars(gui).values()}
        self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Binds widgets to parameters by name: shows the values, then follows changes on either side.

        Returns:
            A tag for disconnectGui.

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
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_node)  # for good, as in 3D Slicer
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        """Undoes connectParametersToGui; an unknown tag is ignored."""
        for binding in self._bindings.pop(tag, {}).values():
            binding.disconnect()

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
