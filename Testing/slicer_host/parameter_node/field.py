"""One parameter: its declared type, its default, and how its value is stored in the node.

The names under which values are stored are 3D Slicer's, as scenes may know them.
"""

import typing
from typing import Annotated, Any

import slicer

from .annotations import VALIDATORS, Default, FloatRange, find

_ACCEPTED = {bool: (bool,), float: (float, int), str: (str,), FloatRange: (FloatRange,)}
_EMPTY = {bool: False, float: 0.0, str: "", FloatRange: FloatRange()}


class Field:
    """A parameter's name, type, annotations and default.

    Raises:
        TypeError: the type or an annotation is not known.
    """

    def __init__(self, name: str, declared: Any, default: Any = ...):
        self.name = name
        self.type, *self.annotations = typing.get_args(Annotated[declared, None])[:-1]
        self.is_node = isinstance(self.type, type) and issubclass(self.type, slicer.vtkMRMLNode)
        if not self.is_node and self.type not in _ACCEPTED:
            raise TypeError(f"'{name}': the host does not know how to store a value of type {self.type}")
        unknown = [item for item in self.annotations if not isinstance(item, (*VALIDATORS, Default))]
        if unknown:
            raise TypeError(f"'{name}' has annotations that the host does not know: {unknown}")
        annotated = find(self.annotations, Default) or Default(_EMPTY.get(self.type))
        self.default = annotated.value if default is ... else default

    def read(self, node) -> Any:
        """Reads the value; a parameter that the node lacks (it was reset) gets its default first."""
        if not node.HasParameter(self._stored_names()[0]):
            self.write(node, self.default)
        if self.is_node:
            return node.GetNodeReference(self.name)
        texts = [node.GetParameter(name) for name in self._stored_names()]
        if self.type is FloatRange:
            return FloatRange(*map(float, texts))
        return texts[0] == "True" if self.type is bool else self.type(texts[0])

    def write(self, node, value: Any) -> None:
        """Writes a value; observers hear of it once.

        Raises:
            ValueError: None for anything but a node, or a value out of limits.
            TypeError: a value of another type.
        """
        self._validate(value)
        texts = (value.minimum, value.maximum) if self.type is FloatRange else ("" if self.is_node else value,)
        with slicer.util.NodeModify(node):
            for name, text in zip(self._stored_names(), texts, strict=True):
                node.SetParameter(name, str(text))
            if self.is_node:
                node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)

    def _stored_names(self) -> tuple[str, ...]:
        """A node has a text too, an empty one, that tells None from nothing."""
        is_range = self.type is FloatRange
        return (f"{self.name}._minimum", f"{self.name}._maximum") if is_range else (self.name,)

    def _validate(self, value: Any) -> None:
        if value is None:
            if not self.is_node:
                raise ValueError(f"'{self.name}' must not be None")
            return
        if not isinstance(value, _ACCEPTED.get(self.type, self.type)):
            raise TypeError(f"'{self.name}' must be of type {self.type}, got {type(value)}: {value!r}")
        for annotation in self.annotations:
            if isinstance(annotation, VALIDATORS):
                annotation.validate(value)
