"""One field of a parameter node: its declared type, and how its value is written to and read from the node."""

import enum
import pathlib
import types
import typing
from typing import Annotated, Any

import slicer

from .annotations import VALIDATORS, Decimals, Default, SingleStep, find
from .float_range import FloatRange

_PLAIN_TYPES = (bool, int, float, str)
_KNOWN_ANNOTATIONS = (*VALIDATORS, Default, Decimals, SingleStep)
_NONE_MARK = ".isNone"


def _is_node_class(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, slicer.vtkMRMLNode)


class Field:
    """A field's name, member types, whether None is allowed, annotations and default."""

    def __init__(self, name: str, declared: Any, default: Any = ...):
        self.name = name
        stripped, *annotations = typing.get_args(Annotated[declared, None])[:-1]
        self.annotations = tuple(annotations)
        is_union = typing.get_origin(stripped) in (typing.Union, types.UnionType)
        members = typing.get_args(stripped) if is_union else (stripped,)
        self.types = tuple(member for member in members if member is not type(None))
        self.is_node = all(_is_node_class(member) for member in self.types)
        self.optional = self.is_node or type(None) in members
        self._require_supported()
        self._default = default

    @property
    def type(self) -> type:
        return self.types[0]

    def default(self) -> Any:
        annotated = find(self.annotations, Default)
        if self._default is not ...:
            return self._default
        if annotated is not None:
            return annotated.value
        if self.optional:
            return None
        return next(iter(self.type)) if issubclass(self.type, enum.Enum) else self.type()

    def validate(self, value: Any) -> None:
        """Raises ValueError for None or a value out of limits, TypeError for a value of another type."""
        if value is None:
            if not self.optional:
                raise ValueError(f"'{self.name}' must not be None")
            return
        accepted = (int, float) if self.type is float else self.types
        if not isinstance(value, accepted):
            raise TypeError(f"'{self.name}' must be of type {self.types}, got {type(value)}: {value!r}")
        for annotation in self.annotations:
            if isinstance(annotation, VALIDATORS):
                annotation.validate(value)

    def is_in(self, node) -> bool:
        first = self.name + ".minimum" if self.type is FloatRange else self.name
        return node.HasParameter(first) or node.HasParameter(self.name + _NONE_MARK)

    def write(self, node, value: Any) -> None:
        """Writes a value; observers hear of it once."""
        self.validate(value)
        with slicer.util.NodeModify(node):
            if self.is_node:
                node.SetParameter(self.name, "")
                node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            elif value is None:
                node.SetParameter(self.name + _NONE_MARK, "True")
            else:
                node.UnsetParameter(self.name + _NONE_MARK)
                for suffix, text in self._as_text(value).items():
                    node.SetParameter(self.name + suffix, text)

    def read(self, node) -> Any:
        """Reads the value; a field that the node lacks (it was reset) gets its default first."""
        if not self.is_in(node):
            self.write(node, self.default())
        if self.is_node:
            return node.GetNodeReference(self.name)
        if node.HasParameter(self.name + _NONE_MARK):
            return None
        if self.type is FloatRange:
            return FloatRange(*(float(node.GetParameter(self.name + end)) for end in (".minimum", ".maximum")))
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)

    def _as_text(self, value: Any) -> dict[str, str]:
        if isinstance(value, FloatRange):
            return {".minimum": repr(float(value.minimum)), ".maximum": repr(float(value.maximum))}
        return {"": value.name if isinstance(value, enum.Enum) else str(value)}

    def _require_supported(self) -> None:
        unknown = [item for item in self.annotations if not isinstance(item, _KNOWN_ANNOTATIONS)]
        if unknown:
            raise TypeError(f"'{self.name}' has annotations that the host does not know: {unknown}")
        supported = self.is_node or (
            len(self.types) == 1
            and isinstance(self.type, type)
            and (self.type in (*_PLAIN_TYPES, FloatRange) or issubclass(self.type, (pathlib.PurePath, enum.Enum)))
        )
        if not supported:
            raise TypeError(f"'{self.name}' is of a type that the host does not know: {self.types}")
