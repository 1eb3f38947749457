"""The main window, as far as modules use it: choosing a module, and the status bar."""

import slicer

from .pythonqt.binding import QtCore, QtWidgets
from .widgets.stand_in import stand_in


@stand_in
class qSlicerModuleSelectorToolBar(QtCore.QObject):
    """What slicer.util.selectModule calls."""

    def selectModule(self, name: str) -> None:
        slicer.app.moduleManager().enterModule(name)

    selectedModule = property(lambda self: slicer.app.moduleManager().enteredModuleName())


@stand_in
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """Found by slicer.util.mainWindow() through its object name."""

    _selector = None

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar(self)

    def moduleSelector(self):
        return self._selector
