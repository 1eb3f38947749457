"""One field of a parameter node or pack: its declared type, its default, and how its value is stored."""

import types
import typing
from typing import Any

import slicer

from . import containers, values  # noqa: F401  (importing registers their serializers)
from .annotations import Decimals, Default, SingleStep, find, is_validator
from .serializers import is_serializer, serializer_of, split_annotations


def _is_node_class(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, slicer.vtkMRMLNode)


class Field:
    """A field's name, declared type, member types of a union, whether None is allowed, annotations and serializer."""

    def __init__(self, name: str, declared: Any, default: Any = ...):
        self.name = name
        self.declared = declared
        kind, self.annotations = split_annotations(declared)
        is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
        members = typing.get_args(kind) if is_union else (kind,)
        self.types = tuple(member for member in members if member is not type(None))
        self.is_node = all(_is_node_class(member) for member in self.types)
        self.optional = self.is_node or type(None) in members
        self._require_known_annotations()
        try:
            self.serializer = serializer_of(declared)
        except TypeError as error:
            raise TypeError(f"'{name}': {error}") from error
        self.default = self._default(default)

    @property
    def type(self) -> Any:
        """The only type that the field may have, or None for a union."""
        return self.types[0] if len(self.types) == 1 else None

    def is_a(self, *classes: type) -> bool:
        """Whether the field has one type, and that is derived from one of the classes."""
        return isinstance(self.type, type) and issubclass(self.type, classes)

    def read(self, node, name: str) -> Any:
        """Reads the value; a field that the node lacks (it was reset) gets its default first."""
        if not self.serializer.isIn(node, name):
            self.write(node, name, self.default.value)
        return self.serializer.read(node, name)

    def write(self, node, name: str, value: Any) -> None:
        """Writes a value; observers hear of it once.

        Raises:
            ValueError: None, or a value out of limits.
            TypeError: a value of another type.
        """
        with slicer.util.NodeModify(node):
            self.serializer.write(node, name, value)

    def _default(self, assigned: Any) -> Default:
        if assigned is not ...:
            return Default(assigned)
        return find(self.annotations, Default) or Default(generator=self.serializer.default)

    def _require_known_annotations(self) -> None:
        known = (Default, Decimals, SingleStep)
        unknown = [
            item
            for item in self.annotations
            if not (isinstance(item, known) or is_validator(item) or is_serializer(item))
        ]
        if unknown:
            raise TypeError(f"'{self.name}' has annotations that the host does not know: {unknown}")
