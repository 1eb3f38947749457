"""Modules: their descriptions, their widgets, and the manager that knows them by name."""

import sys
from pathlib import Path

import slicer

from .pythonqt.binding import QtCore, QtWidgets
from .widgets.mrml_widget import qMRMLWidget
from .widgets.stand_in import stand_in, stored


@stand_in
@stored(
    title="",
    categories=(),
    dependencies=(),
    contributors=(),
    helpText="",
    acknowledgementText="",
    icon=None,
)
class qSlicerLoadableModule(QtCore.QObject):
    """A module without a widget: a name and a logic."""

    _name = ""
    _path = ""
    _logic = None

    def __init__(self, name: str, path: str = "", logic=None):
        super().__init__()
        self._name, self._path, self._logic = name, path, logic

    name = property(lambda self: self._name)
    path = property(lambda self: self._path)

    def logic(self):
        return self._logic


@stand_in
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The C++ widget around a module's <Name>Widget; `self()` is the Python object."""

    _source = ""
    _python_self = None
    _entered = False

    def __init__(self, parent=None):
        super().__init__(parent)
        QtWidgets.QVBoxLayout(self)

    isEntered = property(lambda self: self._entered)

    def self(self):
        return self._python_self

    def setPythonSource(self, path: str) -> None:
        """Makes a new <Name>Widget from the module as it is in sys.modules now."""
        self._source = path
        name = Path(path).stem
        self._python_self = getattr(sys.modules[name], name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._python_self)

    def setup(self) -> None:
        self._python_self.setup()

    def reload(self) -> None:
        self.setPythonSource(self._source)
        self.setup()

    def enter(self) -> None:
        self._entered = True
        self._python_self.enter()

    def exit(self) -> None:
        self._entered = False
        self._python_self.exit()


@stand_in
class qSlicerScriptedLoadableModule(qSlicerLoadableModule):
    """A module written in Python; its widget is made when it is first asked for."""

    _widget = None

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget()
            self._widget.setPythonSource(self._path)
            self._widget.setMRMLScene(slicer.mrmlScene)
            self._widget.setup()
        return self._widget


@stand_in
class qSlicerModuleManager(QtCore.QObject):
    """Modules by name; also fills `slicer.modules`."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)
    _modules = None
    _entered = ""

    def __init__(self):
        super().__init__()
        self._modules = {}

    def addModule(self, module: qSlicerLoadableModule) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)

    def addLoadableModule(self, name: str, logic) -> None:
        self.addModule(qSlicerLoadableModule(name, logic=logic))

    def module(self, name: str):
        return self._modules.get(name)

    def modulesNames(self) -> list[str]:
        return list(self._modules)

    def enteredModuleName(self) -> str:
        """The host's own: the module that the user would see, empty for none."""
        return self._entered

    def enterModule(self, name: str) -> None:
        """The host's own: leaves the entered module and enters another; an empty name enters none.

        Raises:
            RuntimeError: there is no module of that name.
        """
        if name and name not in self._modules:
            raise RuntimeError(f"no module named {name}")
        if self._entered:
            self._modules[self._entered].widgetRepresentation().exit()
            self._entered = ""
        if name:
            self._modules[name].widgetRepresentation().enter()
            self._entered = name

    def deleteWidgets(self) -> None:
        """The host's own, for its end: deletes the widgets of all modules, which have to be cleaned up before."""
        for name, module in self._modules.items():
            vars(slicer.modules).pop(name + "Widget", None)
            if isinstance(module, qSlicerScriptedLoadableModule):
                module.widgetRepresentation().delete()
