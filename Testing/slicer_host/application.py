"""`slicer.app`: the application object, over a real scene and real logics."""

from pathlib import Path

from . import logics, subject_hierarchy
from .extensions import qSlicerExtensionsManagerModel
from .io_manager import qSlicerCoreIOManager
from .layout_manager import qSlicerLayoutManager
from .module_manager import qSlicerModuleManager
from .pythonqt.binding import QtCore, QtWidgets
from .widgets.stand_in import stand_in


@stand_in
class qSlicerApplication(QtWidgets.QApplication):
    """The application, in testing mode; its folders lie in `home`, which is temporary."""

    startupCompleted = QtCore.Signal()
    _scene = None
    _logic = None
    _kept_alive = ()
    _testing = True
    _layout_manager = None
    _layout_visible = True
    _module_manager = None
    _io_manager = None
    _extensions = None

    def __init__(self, home: Path):
        super().__init__(["SlicerHost"])
        for folder in ("tmp", "cache", "share/ColorFiles"):
            (home / folder).mkdir(parents=True)
        self._scene = logics.create_scene(home)
        self._logic, self._kept_alive = logics.create_application_logic(self._scene, home)
        self._module_manager = qSlicerModuleManager()
        self._io_manager = qSlicerCoreIOManager()
        self._extensions = qSlicerExtensionsManagerModel()

    def startModules(self) -> None:
        """Registers the loadable modules' logics; `slicer.app` and `slicer.mrmlScene` have to be there by now."""
        for name, logic in logics.create_module_logics(self._logic, self._scene).items():
            self._module_manager.addLoadableModule(name, logic)
        subject_hierarchy.observe(self._scene)
        self._layout_manager = qSlicerLayoutManager(self._logic, self._scene)

    def mrmlScene(self):
        return self._scene

    def applicationLogic(self):
        return self._logic

    def moduleManager(self):
        return self._module_manager

    def coreIOManager(self):
        return self._io_manager

    def layoutManager(self):
        """None without a main window, as in `Slicer --no-main-window`."""
        return self._layout_manager if self._layout_visible else None

    def setLayoutVisible(self, visible: bool) -> None:
        """The host's own: takes the layout manager away with the main window."""
        self._layout_visible = visible

    def extensionsManagerModel(self):
        return self._extensions

    def testingEnabled(self) -> bool:
        return self._testing

    def setTestingEnabled(self, enabled: bool) -> None:
        """The host's own: in 3D Slicer the command line decides."""
        self._testing = enabled
