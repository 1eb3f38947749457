"""Q_PROPERTYs as attributes: `button.text` is a string, `button.text = "x"` calls setText, as in PythonQt."""

from typing import Any

from .binding import QtCore

_SIGNAL_TYPES = (QtCore.Signal, QtCore.SignalInstance)


class QtProperty:
    """A Q_PROPERTY: its value on an instance, the C++ method of the same name on the class."""

    def __init__(self, name: str, getter: str | None, method: Any, writable: bool):
        self.name = name
        self.method = method
        self._getter = getter
        self._setter = "set" + name[0].upper() + name[1:]
        self._writable = writable

    def __get__(self, instance, owner=None):
        if instance is None:
            if self.method is None:
                raise AttributeError(f"type object '{owner.__name__}' has no attribute '{self.name}'")
            return self.method
        if self.method is not None:
            return self.method.__get__(instance, owner)()
        if self._getter is not None:
            return getattr(instance, self._getter)()
        return instance.property(self.name)

    def __set__(self, instance, value) -> None:
        if not self._writable:
            raise AttributeError(f"property '{self.name}' of '{type(instance).__name__}' is not writable")
        setter = getattr(instance, self._setter, None)
        if setter is not None:
            setter(value)
        elif not instance.setProperty(self.name, value):
            raise TypeError(f"property '{self.name}' of '{type(instance).__name__}' does not take {value!r}")


def _getter_name(cls: type, name: str) -> str | None:
    capital = name[0].upper() + name[1:]
    return next((prefix + capital for prefix in ("is", "has") if callable(getattr(cls, prefix + capital, None))), None)


def _is_getter(attribute: Any) -> bool:
    """Tells a C++ method from a static one: QTimer.singleShot is both a property and a static method."""
    return type(attribute).__name__ in ("method_descriptor", "wrapper_descriptor")


def add_properties(cls: type) -> None:
    """Gives one QObject class its Q_PROPERTYs as attributes.

    Properties of base classes are repeated where the class redefines the method (`sizeHint` is virtual).
    """
    meta = cls.staticMetaObject
    for index in range(meta.propertyCount()):
        prop = meta.property(index)
        name = prop.name()
        if index < meta.propertyOffset() and name not in cls.__dict__:
            continue
        try:
            method = getattr(cls, name, None)
        except AttributeError:
            method = None
        if isinstance(method, _SIGNAL_TYPES):
            continue
        if method is not None and not _is_getter(method):
            setattr(cls, name, _StaticMethodAndProperty(name, method))
            continue
        setattr(cls, name, QtProperty(name, _getter_name(cls, name), method, prop.isWritable()))


def has_property(cls: type, name: str) -> bool:
    """Whether a QObject class has this Q_PROPERTY. PySide6 can lose a class's `staticMetaObject` with an instance."""
    return any(isinstance(vars(base).get(name), QtProperty) for base in cls.__mro__)


class _StaticMethodAndProperty(QtProperty):
    """A property that shares its name with a static method: `timer.singleShot = True`, `QTimer.singleShot(0, f)`."""

    def __init__(self, name: str, method: Any):
        super().__init__(name, None, method, writable=True)
        self._getter = "is" + name[0].upper() + name[1:]

    def __get__(self, instance, owner=None):
        return self.method if instance is None else getattr(instance, self._getter)()
