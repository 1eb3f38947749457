"""How a value is written to and read from a vtkMRMLScriptedModuleNode: the interface, and the choice by type.

Extensions derive from `Serializer` for types of their own.
"""

import abc
import typing
from typing import Annotated, Any

from .annotations import is_validator

_registered: list[type["Serializer"]] = []


class Serializer(abc.ABC):
    """Writes and reads values of one kind of type, under a name that it may extend."""

    @staticmethod
    @abc.abstractmethod
    def canSerialize(type_) -> bool:
        """Whether this class is for the type."""

    @staticmethod
    @abc.abstractmethod
    def create(type_):
        """A serializer for the type, usually a ValidatedSerializer."""

    @abc.abstractmethod
    def default(self) -> Any:
        """Value of a field that has no other default."""

    @abc.abstractmethod
    def isIn(self, parameterNode, name: str) -> bool:
        """Whether the node holds a value of that name."""

    @abc.abstractmethod
    def write(self, parameterNode, name: str, value) -> None:
        """Stores a value."""

    @abc.abstractmethod
    def read(self, parameterNode, name: str) -> Any:
        """Returns the stored value."""

    @abc.abstractmethod
    def remove(self, parameterNode, name: str) -> None:
        """Leaves no trace of the value."""

    def validate(self, value) -> None:  # noqa: B027  (an extension's class need not have it)
        """Raises if the value, or one inside it, is refused."""

    @staticmethod
    def supportsCaching() -> bool:
        """Whether 3D Slicer keeps the read value; false for types whose changes nobody hears of."""
        return False


class ValidatedSerializer(Serializer):
    """A serializer that lets only some values pass."""

    def __init__(self, serializer: Serializer, validators: list):
        self.serializer = serializer
        self.validators = list(validators)
        if isinstance(serializer, ValidatedSerializer):
            self.serializer = serializer.serializer
            self.validators = serializer.validators + self.validators

    @staticmethod
    def canSerialize(type_) -> bool:
        return False  # never chosen by type

    @staticmethod
    def create(type_):
        raise TypeError("ValidatedSerializer is made around another serializer, not for a type")

    def default(self) -> Any:
        return self.serializer.default()

    def validate(self, value) -> None:
        for validator in self.validators:
            validator.validate(value)
        self.serializer.validate(value)

    def isIn(self, parameterNode, name: str) -> bool:
        return self.serializer.isIn(parameterNode, name)

    def write(self, parameterNode, name: str, value) -> None:
        self.validate(value)
        self.serializer.write(parameterNode, name, value)

    def read(self, parameterNode, name: str) -> Any:
        return self.serializer.read(parameterNode, name)

    def remove(self, parameterNode, name: str) -> None:
        self.serializer.remove(parameterNode, name)

    def supportsCaching(self) -> bool:
        return self.serializer.supportsCaching()


def parameterNodeSerializer(cls: type | None = None):
    """Class decorator, with or without parentheses: lets the serializer be found by type."""
    if cls is None:
        return parameterNodeSerializer
    if not issubclass(cls, Serializer):
        raise TypeError(f"{cls.__name__} must derive from Serializer")
    _registered.append(cls)
    return cls


def split_annotations(declared: Any) -> tuple[Any, tuple]:
    """A declared type -> the type itself, and what `Annotated` says about it."""
    kind, *annotations = typing.get_args(Annotated[declared, None])[:-1]
    return kind, tuple(annotations)


def is_serializer(annotation: Any) -> bool:
    """True for a serializer that a field's annotation names itself."""
    return isinstance(annotation, Serializer)


def serializer_of(declared: Any) -> ValidatedSerializer:
    """Returns the serializer of a declared type, with the validators of its annotations.

    Raises:
        TypeError: no serializer is known for the type.
    """
    kind, annotations = split_annotations(declared)
    serializer = next(filter(is_serializer, annotations), None)
    if serializer is None:
        found = next((cls for cls in _registered if cls.canSerialize(kind)), None)
        if found is None:
            raise TypeError(f"the host does not know how to store a value of type {kind}")
        serializer = found.create(kind)
    return ValidatedSerializer(serializer, [item for item in annotations if is_validator(item)])
