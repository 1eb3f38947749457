"""The decorator `@parameterPack`: a class of several values that is one field of a parameter node."""

import typing
from typing import Any

import slicer

from .annotations import IsInstance, NotNone
from .field import Field
from .serializers import Serializer, ValidatedSerializer, parameterNodeSerializer

_VALUES, _HOME, _PREFIX = "_parameterPack_values", "_parameterPack_home", "_parameterPack_"


def isParameterPack(item: Any) -> bool:
    """Whether this is a pack, or a class of packs."""
    return getattr(item, "_is_parameterPack", False)


def nestedParameterNames(pack: Any) -> list[str]:
    """Dotted names of all values in a pack, or a class of packs, and in the packs inside it."""
    names = []
    for name, field in pack.allParameters.items():
        is_inner = isParameterPack(field.type)
        names += [f"{name}.{each}" for each in nestedParameterNames(field.type)] if is_inner else [name]
    return names


def field_of(pack_class: type, name: str) -> Field:
    """The field of a class of packs that a dotted name means.

    Raises:
        ValueError: there is none.
    """
    top, _, rest = name.partition(".")
    if not isParameterPack(pack_class) or top not in pack_class.allParameters:
        raise ValueError(f"{pack_class} has no member '{top}'")
    field = pack_class.allParameters[top]
    return field_of(field.type, rest) if rest else field


def _fresh(value: Any) -> Any:
    """A copy of a default value, so that one pack's changes do not reach the next."""
    if isParameterPack(value):
        return _instance(type(value), {name: _fresh(item) for name, item in getattr(value, _VALUES).items()})
    return value.copy() if isinstance(value, list | dict) else value


def _instance(pack_class: type, values: dict[str, Any], home: tuple | None = None) -> Any:
    pack = pack_class.__new__(pack_class)
    object.__setattr__(pack, _VALUES, values)
    object.__setattr__(pack, _HOME, home)
    return pack


class _Members:
    """What the decorator gives to a class of packs."""

    def getValue(self, name: str) -> Any:
        top, _, rest = name.partition(".")
        if not hasattr(self, top) or (rest and not isParameterPack(getattr(self, top))):
            raise ValueError(f"{self} has no member '{name}'")
        value = getattr(self, top)
        return value.getValue(rest) if rest else value

    def setValue(self, name: str, value: Any) -> None:
        before, _, last = name.rpartition(".")
        target = self.getValue(before) if before else self
        if not hasattr(target, last):
            raise ValueError(f"{target} has no member '{last}'")
        setattr(target, last, value)

    def initialise(self, *args, **options) -> None:
        names = list(self.allParameters)
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} takes {len(names)} values, got {len(args)}")
        given = dict(zip(names, args, strict=False))
        wrong = [name for name in options if name in given or name not in names]
        if wrong:
            raise TypeError(f"{type(self).__name__} got an unexpected or repeated value {wrong[0]!r}")
        for name, value in (given | options).items():
            setattr(self, name, value)

    def is_equal(self, other) -> bool:
        return type(self) is type(other) and getattr(self, _VALUES) == getattr(other, _VALUES)

    def describe(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in getattr(self, _VALUES).items())
        return f"{type(self).__name__}({values})"

    def set_attribute(self, key: str, value: Any) -> None:
        if getattr(self, _HOME) is not None and not hasattr(self, key):
            raise AttributeError(f"{type(self).__name__} has no attribute '{key}', and none can be added while stored")
        object.__setattr__(self, key, value)


def _property_of(name: str) -> property:
    def read(self) -> Any:
        return getattr(self, _VALUES)[name]

    def write(self, value: Any) -> None:
        field, home = self.allParameters[name], getattr(self, _HOME)
        field.serializer.validate(value)
        if home is not None:
            node, prefix = home
            field.write(node, f"{prefix}.{name}", value)
            value = field.read(node, f"{prefix}.{name}")
        getattr(self, _VALUES)[name] = value

    return property(read, write)


def _begun_with_defaults(initialise):
    def begin(self, *args, **options) -> None:
        defaults = {name: _fresh(field.default.value) for name, field in self.allParameters.items()}
        object.__setattr__(self, _VALUES, defaults)
        object.__setattr__(self, _HOME, None)
        initialise(self, *args, **options)

    return begin


def parameterPack(cls: type | None = None):
    """Class decorator, with or without parentheses: turns annotated fields into validated properties.

    Raises:
        ValueError: there are no fields, one has a name that the decorator needs, or a default is refused.
        TypeError: a field has a type or an annotation that the host does not know.
    """
    if cls is None:
        return parameterPack
    declared = typing.get_type_hints(cls, include_extras=True)
    if not declared:
        raise ValueError(f"{cls.__name__} has no fields")
    added = ("allParameters", "_is_parameterPack", "getValue", "setValue", "dataType")
    reserved = [name for name in declared if name in added or name.startswith(_PREFIX)]
    reserved += [name for name in added if hasattr(cls, name)]
    if reserved:
        raise ValueError(f"'{reserved[0]}' is a reserved name in a parameterPack")
    fields = {name: Field(name, kind, vars(cls).get(name, ...)) for name, kind in declared.items()}
    for name, field in fields.items():
        try:
            field.serializer.validate(field.default.value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the default of '{name}' is refused: {error}") from error
        setattr(cls, name, _property_of(name))
    cls.allParameters, cls._is_parameterPack = fields, True
    cls.getValue, cls.setValue = _Members.getValue, _Members.setValue
    cls.dataType = staticmethod(lambda name: field_of(cls, name).declared)
    cls.__init__ = _begun_with_defaults(vars(cls).get("__init__", _Members.initialise))
    cls.__setattr__ = _Members.set_attribute
    own = {"__eq__": _Members.is_equal, "__str__": _Members.describe, "__repr__": _Members.describe}
    for name, method in own.items():
        if name not in vars(cls):
            setattr(cls, name, method)
    return cls


@parameterNodeSerializer
class ParameterPackSerializer(Serializer):
    """A pack: each value under `name.value`; what is read stores its changes."""

    def __init__(self, type_: type):
        self.type = type_

    @staticmethod
    def canSerialize(type_) -> bool:
        return isinstance(type_, type) and isParameterPack(type_)

    @staticmethod
    def create(type_):
        return ValidatedSerializer(ParameterPackSerializer(type_), [NotNone(), IsInstance(type_)])

    def default(self) -> Any:
        return self.type()

    def isIn(self, parameterNode, name: str) -> bool:
        first, field = next(iter(self.type.allParameters.items()))
        return field.serializer.isIn(parameterNode, f"{name}.{first}")

    def write(self, parameterNode, name: str, value) -> None:
        with slicer.util.NodeModify(parameterNode):
            for each, field in self.type.allParameters.items():
                field.write(parameterNode, f"{name}.{each}", getattr(value, _VALUES)[each])

    def read(self, parameterNode, name: str) -> Any:
        fields = self.type.allParameters.items()
        values = {each: field.read(parameterNode, f"{name}.{each}") for each, field in fields}
        return _instance(self.type, values, (parameterNode, name))

    def remove(self, parameterNode, name: str) -> None:
        for each, field in self.type.allParameters.items():
            field.serializer.remove(parameterNode, f"{name}.{each}")

    def supportsCaching(self) -> bool:
        return all(field.serializer.supportsCaching() for field in self.type.allParameters.values())
