"""Serializers of single values: numbers, text, paths, enumerations, MRML nodes, and unions of them.

The names under which values are stored are 3D Slicer's, as scenes and C++ code may know them.
"""

import enum
import pathlib
import types
import typing
from typing import Any

import slicer

from .annotations import IsInstance, NotNone
from .serializers import Serializer, ValidatedSerializer, parameterNodeSerializer, serializer_of

_PATHS = (
    pathlib.Path,
    pathlib.PosixPath,
    pathlib.WindowsPath,
    pathlib.PurePath,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
)


class _TextSerializer(Serializer):
    """A value that one string of the node holds."""

    def isIn(self, parameterNode, name: str) -> bool:
        return parameterNode.HasParameter(name)

    def write(self, parameterNode, name: str, value) -> None:
        parameterNode.SetParameter(name, str(value))

    def remove(self, parameterNode, name: str) -> None:
        parameterNode.UnsetParameter(name)

    @staticmethod
    def supportsCaching() -> bool:
        return True


class _TypedTextSerializer(_TextSerializer):
    """A value whose type makes it from its text."""

    def __init__(self, type_: type):
        self.type = type_

    def default(self) -> Any:
        return self.type()

    def read(self, parameterNode, name: str) -> Any:
        return self.type(parameterNode.GetParameter(name))


@parameterNodeSerializer
class NumberSerializer(_TypedTextSerializer):
    """int, or float, which takes an int too."""

    @staticmethod
    def canSerialize(type_) -> bool:
        return type_ in (int, float)

    @staticmethod
    def create(type_):
        accepted = (int, float) if type_ is float else int
        return ValidatedSerializer(NumberSerializer(type_), [NotNone(), IsInstance(accepted)])


@parameterNodeSerializer
class PathSerializer(_TypedTextSerializer):
    """The classes of pathlib."""

    @staticmethod
    def canSerialize(type_) -> bool:
        return type_ in _PATHS

    @staticmethod
    def create(type_):
        return ValidatedSerializer(PathSerializer(type_), [NotNone(), IsInstance(type_)])


@parameterNodeSerializer
class StringSerializer(_TypedTextSerializer):
    """str."""

    def __init__(self):
        super().__init__(str)

    @staticmethod
    def canSerialize(type_) -> bool:
        return type_ is str

    @staticmethod
    def create(type_):
        return ValidatedSerializer(StringSerializer(), [NotNone(), IsInstance(str)])


@parameterNodeSerializer
class BoolSerializer(_TextSerializer):
    """bool."""

    @staticmethod
    def canSerialize(type_) -> bool:
        return type_ is bool

    @staticmethod
    def create(type_):
        return ValidatedSerializer(BoolSerializer(), [NotNone(), IsInstance(bool)])

    def default(self) -> bool:
        return False

    def read(self, parameterNode, name: str) -> bool:
        return parameterNode.GetParameter(name) == "True"


@parameterNodeSerializer
class EnumSerializer(_TextSerializer):
    """An enumeration, stored by its member's name."""

    def __init__(self, type_: type[enum.Enum]):
        if not len(type_):
            raise ValueError(f"{type_} has no members")
        self.type = type_

    @staticmethod
    def canSerialize(type_) -> bool:
        return isinstance(type_, type) and issubclass(type_, enum.Enum)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(EnumSerializer(type_), [NotNone(), IsInstance(type_)])

    def default(self) -> enum.Enum:
        return next(iter(self.type))

    def write(self, parameterNode, name: str, value) -> None:
        parameterNode.SetParameter(name, value.name)

    def read(self, parameterNode, name: str) -> enum.Enum:
        text = parameterNode.GetParameter(name)
        if text not in self.type.__members__:
            raise ValueError(f"{text!r} is no member of {self.type}")
        return self.type[text]


@parameterNodeSerializer
class NoneSerializer(_TextSerializer):
    """None, as a member of a union."""

    @staticmethod
    def canSerialize(type_) -> bool:
        return type_ is type(None)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(NoneSerializer(), [IsInstance(())])

    def default(self) -> None:
        return None

    def read(self, parameterNode, name: str) -> None:
        return None


@parameterNodeSerializer
class NodeSerializer(_TextSerializer):
    """A MRML node or None: a node reference, and an empty string that tells None from nothing."""

    @staticmethod
    def canSerialize(type_) -> bool:
        return isinstance(type_, type) and issubclass(type_, slicer.vtkMRMLNode)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(NodeSerializer(), [IsInstance(type_)])

    def default(self) -> None:
        return None

    def write(self, parameterNode, name: str, value) -> None:
        with slicer.util.NodeModify(parameterNode):
            parameterNode.SetParameter(name, "")
            parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, parameterNode, name: str) -> Any:
        return parameterNode.GetNodeReference(name)

    def remove(self, parameterNode, name: str) -> None:
        parameterNode.UnsetParameter(name)
        parameterNode.RemoveNodeReferenceIDs(name)


@parameterNodeSerializer
class UnionSerializer(Serializer):
    """One of several types; the stored name ends in the number of the type."""

    def __init__(self, serializers: list[Serializer]):
        self._members = [ValidatedSerializer(serializer, []) for serializer in serializers]

    @staticmethod
    def canSerialize(type_) -> bool:
        return typing.get_origin(type_) in (typing.Union, types.UnionType)

    @staticmethod
    def create(type_):
        return UnionSerializer([serializer_of(member) for member in typing.get_args(type_)])

    def default(self) -> Any:
        is_optional = len(self._members) == 2 and isinstance(self._members[1].serializer, NoneSerializer)
        return None if is_optional else self._members[0].default()

    def validate(self, value) -> None:
        self._number_of(value)

    def isIn(self, parameterNode, name: str) -> bool:
        return self._stored(parameterNode, name) is not None

    def write(self, parameterNode, name: str, value) -> None:
        number = self._number_of(value)
        with slicer.util.NodeModify(parameterNode):
            for other, member in enumerate(self._members):
                if other != number:
                    member.remove(parameterNode, f"{name}_{other}")
            self._members[number].write(parameterNode, f"{name}_{number}", value)

    def read(self, parameterNode, name: str) -> Any:
        number = self._stored(parameterNode, name)
        if number is None:
            raise KeyError(f"the node holds no value of the name {name!r}")
        return self._members[number].read(parameterNode, f"{name}_{number}")

    def remove(self, parameterNode, name: str) -> None:
        for number, member in enumerate(self._members):
            member.remove(parameterNode, f"{name}_{number}")

    def supportsCaching(self) -> bool:
        return all(member.supportsCaching() for member in self._members)

    def _stored(self, parameterNode, name: str) -> int | None:
        held = (n for n, member in enumerate(self._members) if member.isIn(parameterNode, f"{name}_{n}"))
        return next(held, None)

    def _number_of(self, value) -> int:
        """The first type that takes the value; if those that might all refuse it, the last one's error is raised."""
        refusal: Exception = TypeError(f"no type of the union takes {value!r}, a {type(value)}")
        for number, member in enumerate(self._members):
            if member.serializer.canSerialize(type(value)):
                try:
                    member.validate(value)
                    return number
                except (TypeError, ValueError) as error:
                    refusal = error
        raise refusal
