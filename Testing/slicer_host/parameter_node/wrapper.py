"""The decorator `@parameterNodeWrapper`."""

import typing
from typing import Any

import qt
import slicer
import vtk

from .annotations import Default
from .field import Field
from .gui_binding import Binding, bind
from .pack import field_of

SlicerParameterNamePropertyName = "SlicerParameterName"


def _field_of(wrapper_class: type, name: str) -> Field:
    """The field that a name means; dotted, one inside a pack.

    Raises:
        ValueError: there is none.
    """
    top, _, rest = name.partition(".")
    if top not in wrapper_class.allParameters:
        raise ValueError(f"no parameter named '{top}'; there are {list(wrapper_class.allParameters)}")
    field = wrapper_class.allParameters[top]
    return field_of(field.type, rest) if rest else field


class _ParameterNode:
    """What the decorator adds to a class: the node, access by name, binding to widgets."""

    allParameters: dict[str, Field] = {}
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode, prefix: str | None = None):
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._bindings: dict[int, dict[str, Binding]] = {}
        self._tags: dict[int, int] = {}
        self._next_tag = 0
        self._updating = False
        for name, field in self.allParameters.items():
            field.read(parameterNode, self._prefix + name)  # writes the default of a field that is not there

    def getValue(self, name: str) -> Any:
        _field_of(type(self), name)
        top, _, rest = name.partition(".")
        value = self.allParameters[top].read(self.parameterNode, self._prefix + top)
        return value.getValue(rest) if rest else value

    def setValue(self, name: str, value: Any) -> None:
        _field_of(type(self), name)
        top, _, rest = name.partition(".")
        if rest:
            self.getValue(top).setValue(rest, value)
        else:
            self.allParameters[top].write(self.parameterNode, self._prefix + top, value)

    def default(self, name: str) -> Default:
        return _field_of(type(self), name).default

    def isCached(self, name: str) -> bool:
        """Whether 3D Slicer would keep the value after reading it; the host reads it each time."""
        return _field_of(type(self), name).serializer.supportsCaching()

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
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Binds widgets to fields by name: shows the values, then follows changes on either side."""
        fields = {name: _field_of(type(self), name) for name in mapping}
        bindings = {name: bind(widget, fields[name]) for name, widget in mapping.items()}
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


def isParameterNodeWrapper(item: Any) -> bool:
    """Whether this is a wrapped parameter node, or a class of them."""
    return getattr(item, "_is_parameter_node_wrapper", False)


def parameterNodeWrapper(cls: type | None = None):
    """Class decorator, with or without parentheses: annotated fields become properties in a vtkMRMLScriptedModuleNode.

    Raises:
        ValueError: a field has the name of one of the wrapper's own methods.
        TypeError: a field has a type or an annotation that the host does not know.
    """
    if cls is None:
        return parameterNodeWrapper
    fields = {}
    for name, declared in typing.get_type_hints(cls, include_extras=True).items():
        if hasattr(_ParameterNode, name) or name == "dataType":
            raise ValueError(f"'{name}' is a reserved name in a parameterNodeWrapper")
        fields[name] = Field(name, declared, getattr(cls, name, ...))
    members = dict(vars(cls)) | {name: _property_of(name) for name in fields} | {"allParameters": fields}
    for name in ("__dict__", "__weakref__"):
        members.pop(name, None)
    bases = (base for base in cls.__bases__ if base is not object)
    wrapped = type(cls.__name__, (_ParameterNode, *bases), members)
    wrapped.dataType = staticmethod(lambda name: _field_of(wrapped, name).declared)
    return wrapped


NodeModify = slicer.util.NodeModify
