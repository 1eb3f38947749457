"""Lists, tuples and dictionaries of a parameter node; what is read writes its changes back."""

import typing
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any

import slicer

from .serializers import Serializer, ValidatedSerializer, parameterNodeSerializer, serializer_of


def _editing(operation: str, returns_self: bool = False) -> Callable:
    """A method that does the operation on a copy, stores the copy in one step, and shows what is stored then."""

    def edit(self, *args, **options):
        changed = self._copy()
        result = getattr(changed, operation)(*args, **options)
        self._serializer.write(self._node, self._name, changed)
        self._values = self._serializer.values(self._node, self._name)
        return self if returns_self else result

    return edit


def _refusing(operation: str) -> Callable:
    def refuse(self, other):
        raise NotImplementedError(f"{operation} would make a list that is not stored; change the list in place")

    return refuse


class _Observed:
    """Values that were read, and where from."""

    def __init__(self, parameterNode, serializer: Serializer, name: str):
        self._node = parameterNode
        self._serializer = serializer
        self._name = name
        self._values = serializer.values(parameterNode, name)

    def _copy(self) -> Any:
        return self._values.copy()

    def __eq__(self, other) -> bool:
        return self._values == (other._values if isinstance(other, type(self)) else other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key):
        return self._values[key]


class ObservedList(_Observed, MutableSequence):
    """A list that is stored after every change."""

    __setitem__ = _editing("__setitem__")
    __delitem__ = _editing("__delitem__")
    __iadd__ = _editing("__iadd__", returns_self=True)
    __imul__ = _editing("__imul__", returns_self=True)
    append = _editing("append")
    extend = _editing("extend")
    insert = _editing("insert")
    remove = _editing("remove")
    pop = _editing("pop")
    clear = _editing("clear")
    sort = _editing("sort")
    reverse = _editing("reverse")
    __add__ = __radd__ = _refusing("+")
    __mul__ = __rmul__ = _refusing("*")


class ObservedDict(_Observed, MutableMapping):
    """A dictionary that is stored after every change."""

    __setitem__ = _editing("__setitem__")
    __delitem__ = _editing("__delitem__")
    pop = _editing("pop")
    popitem = _editing("popitem")
    clear = _editing("clear")
    update = _editing("update")

    def __iter__(self) -> Iterator:
        return iter(self._values)


@parameterNodeSerializer
class ListSerializer(Serializer):
    """list[X]: the length under `name_len`, the items under `name_0`, `name_1` and so on."""

    def __init__(self, element: Serializer):
        self._element = ValidatedSerializer(element, [])

    @staticmethod
    def canSerialize(type_) -> bool:
        return typing.get_origin(type_) is list

    @staticmethod
    def create(type_):
        return ListSerializer(serializer_of(*typing.get_args(type_)))

    def default(self) -> list:
        return []

    def validate(self, value) -> None:
        for item in value:
            self._element.validate(item)

    def isIn(self, parameterNode, name: str) -> bool:
        return parameterNode.HasParameter(f"{name}_len")

    def write(self, parameterNode, name: str, value) -> None:
        items = list(value)
        self.validate(items)
        with slicer.util.NodeModify(parameterNode):
            for index in range(len(items), self._length(parameterNode, name)):
                self._element.remove(parameterNode, f"{name}_{index}")
            for index, item in enumerate(items):
                self._element.write(parameterNode, f"{name}_{index}", item)
            parameterNode.SetParameter(f"{name}_len", str(len(items)))

    def read(self, parameterNode, name: str) -> ObservedList:
        return ObservedList(parameterNode, self, name)

    def values(self, parameterNode, name: str) -> list:
        """The stored items as a plain list."""
        indices = range(self._length(parameterNode, name))
        return [self._element.read(parameterNode, f"{name}_{index}") for index in indices]

    def remove(self, parameterNode, name: str) -> None:
        with slicer.util.NodeModify(parameterNode):
            self.write(parameterNode, name, [])
            parameterNode.UnsetParameter(f"{name}_len")

    def supportsCaching(self) -> bool:
        return self._element.supportsCaching()

    def _length(self, parameterNode, name: str) -> int:
        return int(parameterNode.GetParameter(f"{name}_len")) if self.isIn(parameterNode, name) else 0


@parameterNodeSerializer
class TupleSerializer(Serializer):
    """tuple[X, Y]: the items under `name_0`, `name_1`."""

    def __init__(self, elements: list[Serializer]):
        self._elements = [ValidatedSerializer(element, []) for element in elements]

    @staticmethod
    def canSerialize(type_) -> bool:
        return typing.get_origin(type_) is tuple

    @staticmethod
    def create(type_):
        return TupleSerializer([serializer_of(member) for member in typing.get_args(type_)])

    def default(self) -> tuple:
        return tuple(element.default() for element in self._elements)

    def validate(self, value) -> None:
        items = tuple(value)
        if len(items) != len(self._elements):
            raise ValueError(f"the tuple must have {len(self._elements)} items, got {len(items)}")
        for element, item in zip(self._elements, items, strict=True):
            element.validate(item)

    def isIn(self, parameterNode, name: str) -> bool:
        return self._elements[0].isIn(parameterNode, f"{name}_0")

    def write(self, parameterNode, name: str, value) -> None:
        items = tuple(value)
        self.validate(items)
        with slicer.util.NodeModify(parameterNode):
            for index, (element, item) in enumerate(zip(self._elements, items, strict=True)):
                element.write(parameterNode, f"{name}_{index}", item)

    def read(self, parameterNode, name: str) -> tuple:
        return tuple(element.read(parameterNode, f"{name}_{index}") for index, element in enumerate(self._elements))

    def remove(self, parameterNode, name: str) -> None:
        with slicer.util.NodeModify(parameterNode):
            for index, element in enumerate(self._elements):
                element.remove(parameterNode, f"{name}_{index}")

    def supportsCaching(self) -> bool:
        return all(element.supportsCaching() for element in self._elements)


@parameterNodeSerializer
class DictSerializer(Serializer):
    """dict[K, V], stored as the list of its items, in order."""

    def __init__(self, key: Serializer, value: Serializer):
        self._items = ListSerializer(TupleSerializer([key, value]))

    @staticmethod
    def canSerialize(type_) -> bool:
        return typing.get_origin(type_) is dict

    @staticmethod
    def create(type_):
        return DictSerializer(*[serializer_of(member) for member in typing.get_args(type_)])

    def default(self) -> dict:
        return {}

    def validate(self, value) -> None:
        self._items.validate(value.items())

    def isIn(self, parameterNode, name: str) -> bool:
        return self._items.isIn(parameterNode, name)

    def write(self, parameterNode, name: str, value) -> None:
        self._items.write(parameterNode, name, value.items())

    def read(self, parameterNode, name: str) -> ObservedDict:
        return ObservedDict(parameterNode, self, name)

    def values(self, parameterNode, name: str) -> dict:
        """The stored items as a plain dictionary."""
        return dict(self._items.values(parameterNode, name))

    def remove(self, parameterNode, name: str) -> None:
        self._items.remove(parameterNode, name)

    def supportsCaching(self) -> bool:
        return self._items.supportsCaching()
