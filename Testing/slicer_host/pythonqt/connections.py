"""Signals connected by their C++ signature: `button.connect("clicked(bool)", self.onApply)`.

PySide6 looks `connect` up in its own way, before the class; so the look-up itself is changed, once, on QObject.
"""

import functools
import types
from collections.abc import Callable

from .binding import QtCore, shiboken6

# C++ object's address -> [(normalised signature, the callable given, the callable connected)]
_connections: dict[int, list[tuple[str, Callable, Callable]]] = {}


def _normalized(signature: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()


def find_signal(sender: QtCore.QObject, signature: str) -> QtCore.SignalInstance:
    """Returns the sender's signal of this C++ signature.

    Raises:
        ValueError: the sender's class has no such signal. (PythonQt returns False, which nobody looks at.)
    """
    normalized = _normalized(signature)
    stand_in_signals = getattr(type(sender), "CPP_SIGNALS", {})
    if normalized in stand_in_signals:
        return getattr(sender, stand_in_signals[normalized])
    if sender.metaObject().indexOfSignal(normalized) >= 0:
        name, _, arguments = normalized.rstrip(")").partition("(")
        signal = getattr(sender, name)
        return signal[tuple(arguments.split(","))] if arguments else signal
    raise ValueError(f"{sender.metaObject().className()} has no signal '{signature}'")


def _accepted_arguments(slot: Callable) -> int | None:
    """How many positional arguments a slot takes; None where PythonQt passes all of them."""
    function = slot.__func__ if isinstance(slot, types.MethodType) else slot
    if not isinstance(function, types.FunctionType) or function.__code__.co_flags & 0x04:  # 0x04: has *args
        return None
    return function.__code__.co_argcount - (1 if isinstance(slot, types.MethodType) else 0)


def _adapted(slot: Callable, signature: str) -> Callable:
    """Calls the slot with the signature's arguments, or with as many of them as it takes."""
    arguments = signature.partition("(")[2].rstrip(")")
    sent = len(arguments.split(",")) if arguments else 0
    accepted = _accepted_arguments(slot)
    limit = sent if accepted is None else min(sent, accepted)

    def call(*values):
        return slot(*values[:limit])

    return call


def connect(sender: QtCore.QObject, signature: str, receiver, slot_name: str | None = None) -> bool:
    """`sender.connect(signature, callable)` or `sender.connect(signature, object, "slot(type)")`."""
    signal = find_signal(sender, signature)
    slot = receiver if slot_name is None else getattr(receiver, slot_name.partition("(")[0])
    if not callable(slot):
        raise TypeError(f"connect('{signature}', ...) needs a callable, got {slot!r}")
    address = shiboken6.getCppPointer(sender)[0]
    if address not in _connections:
        _connections[address] = []
        sender.destroyed.connect(lambda: _connections.pop(address, None))
    adapted = _adapted(slot, _normalized(signature))
    _connections[address].append((_normalized(signature), slot, adapted))
    signal.connect(adapted)
    return True


def disconnect(sender: QtCore.QObject, signature: str, receiver=None, slot_name: str | None = None) -> bool:
    """Undoes `connect`: of one callable, or of all callables of that signal. Returns whether there was any."""
    signal = find_signal(sender, signature)
    slot = receiver if slot_name is None else getattr(receiver, slot_name.partition("(")[0])
    known = _connections.get(shiboken6.getCppPointer(sender)[0], [])
    found = [entry for entry in known if entry[0] == _normalized(signature) and slot in (None, entry[1])]
    for entry in found:
        known.remove(entry)
        signal.disconnect(entry[2])
    return bool(found)


def install() -> None:
    """Makes `connect` and `disconnect` of every QObject take C++ signatures."""
    original = QtCore.QObject.__getattribute__

    def get_attribute(self, name):
        if name == "connect":
            return functools.partial(connect, self)
        if name == "disconnect":
            return functools.partial(disconnect, self)
        return original(self, name)

    QtCore.QObject.__getattribute__ = get_attribute
