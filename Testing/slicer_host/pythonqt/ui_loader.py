"""Loads .ui files with the host's widgets, and refuses what 3D Slicer's Qt would ignore or not know."""

import xml.etree.ElementTree as ElementTree
from typing import Any

from .binding import QtCore, QtUiTools, QtWidgets
from .connections import connect
from .properties import has_property

# Class name in a .ui file -> stand-in; filled by slicer_host.widgets.
STAND_INS: dict[str, type] = {}

_READERS = {
    "string": lambda node: node.text or "",
    "bool": lambda node: node.text == "true",
    "number": lambda node: int(node.text),
    "double": lambda node: float(node.text),
    "stringlist": lambda node: [item.text or "" for item in node.findall("string")],
}


class QUiLoader(QtUiTools.QUiLoader):
    """QUiLoader that knows the stand-ins, raises on unknown classes, properties and signals."""

    def createWidget(self, class_name, parent=None, name=""):
        """Called by Qt for every widget of the file."""
        stand_in = STAND_INS.get(class_name)
        if stand_in is None:
            return super().createWidget(class_name, parent, name)
        widget = stand_in(parent)
        widget.setObjectName(name)
        return widget

    def load(self, device, parent=None):
        """Loads a .ui file from an open QIODevice.

        Raises:
            RuntimeError: the file is not valid, or names a widget class, property or object that does not exist.
        """
        tree = ElementTree.fromstring(bytes(device.readAll()).decode())
        elements = list(tree.iter("widget"))
        for element in elements:
            _require_known_class(element)
        later = {element.get("name"): _take_stand_in_properties(element) for element in elements}
        links = [link for section in tree.findall("connections") for link in section.findall("connection")]
        for section in tree.findall("connections"):
            tree.remove(section)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise RuntimeError(self.errorString())
        _finish(widget, later, links)
        return widget


def _require_known_class(element: ElementTree.Element) -> None:
    name = element.get("class")
    if name not in STAND_INS and name != "Line" and not hasattr(QtWidgets, name):
        raise RuntimeError(f"widget '{element.get('name')}' is of class {name}, which the host does not know")


def _take_stand_in_properties(element: ElementTree.Element) -> list[tuple[str, Any]]:
    """Removes from the tree, and returns, the properties that Qt does not know of a stand-in."""
    cls = STAND_INS.get(element.get("class")) or getattr(QtWidgets, element.get("class"), QtWidgets.QFrame)
    taken = []
    for node in element.findall("property"):
        name = node.get("name")
        if node.get("stdset") == "0" or (name not in _stand_in_names(cls) and has_property(cls, name)):
            continue
        value = next(iter(node))
        if element.get("class") not in STAND_INS or value.tag not in _READERS:
            raise RuntimeError(f"'{element.get('name')}': {element.get('class')} has no property '{name}'")
        taken.append((name, _READERS[value.tag](value)))
        element.remove(node)
    return taken


def _stand_in_names(cls: type) -> set[str]:
    """Names that a stand-in (not Qt) defines."""
    return {name for base in cls.__mro__ if "_host_stand_in" in base.__dict__ for name in vars(base)}


def _finish(root: QtWidgets.QWidget, later: dict, links: list[ElementTree.Element]) -> None:
    """Sets the stand-ins' properties, then makes the file's connections."""
    by_name = {root.objectName: root} | {child.objectName: child for child in root.findChildren(QtCore.QObject)}
    for name, properties in later.items():
        for key, value in properties:
            try:
                setattr(by_name[name], key, value)
            except AttributeError as error:
                raise RuntimeError(f"'{name}': {error}") from error
    for link in links:
        ends = [link.findtext(end) for end in ("sender", "receiver")]
        if not all(end in by_name for end in ends):
            raise RuntimeError(f"connection between unknown objects {ends}")
        slot = link.findtext("slot")
        if not callable(getattr(by_name[ends[1]], slot.partition("(")[0], None)):
            raise RuntimeError(f"'{ends[1]}' has no slot '{slot}'")
        connect(by_name[ends[0]], link.findtext("signal"), by_name[ends[1]], slot)
