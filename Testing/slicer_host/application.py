"""`slicer.app`: the application object, over a real scene and real logics."""

import os
import types
from pathlib import Path

from . import logics, subject_hierarchy
from .extensions import qSlicerExtensionsManagerModel
from .io_manager import qSlicerCoreIOManager
from .layout_manager import qSlicerLayoutManager
from .module_manager import qSlicerModuleManager
from .pythonqt.binding import QtCore, QtWidgets
from .widgets.stand_in import stand_in

VERSION = "5.12.0"  # the version whose documented behaviour the stand-ins follow


@stand_in
class qSlicerApplication(QtWidgets.QApplication):
    """The application; its folders lie in `home`, which is temporary."""

    startupCompleted = QtCore.Signal()
    mrmlSceneChanged = QtCore.Signal(object)
    CPP_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    _home = None
    _scene = None
    _logic = None
    _kept_alive = ()
    _testing = True
    _layout_manager = None
    _layout_visible = True
    _module_manager = None
    _io_manager = None
    _extensions = None

    def __init__(self, home: Path, testing: bool):
        super().__init__(["SlicerHost"])
        self._home = home
        self._testing = testing
        for folder in ("tmp", "cache", "share/ColorFiles"):
            (home / folder).mkdir(parents=True)
        QtCore.QCoreApplication.setOrganizationName("slicer_host")
        QtCore.QCoreApplication.setApplicationName("Slicer")
        QtCore.QCoreApplication.setApplicationVersion(VERSION)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        scope = QtCore.QSettings.Scope.UserScope
        QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(home / "settings"))
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

    temporaryPath = property(lambda self: str(self._home / "tmp"))
    cachePath = property(lambda self: str(self._home / "cache"))
    slicerHome = property(lambda self: str(self._home))
    majorVersion = property(lambda self: int(VERSION.split(".")[0]))
    minorVersion = property(lambda self: int(VERSION.split(".")[1]))
    documentationBaseUrl = property(lambda self: "https://slicer.readthedocs.io/en/latest/")

    def mrmlScene(self):
        return self._scene

    def applicationLogic(self):
        return self._logic

    def moduleManager(self):
        return self._module_manager

    def moduleLogic(self, name: str):
        return self._module_manager.module(name).logic()

    def coreIOManager(self):
        return self._io_manager

    ioManager = coreIOManager

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

    def commandOptions(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(noMainWindow=not self._layout_visible, testingEnabled=self._testing)

    def moduleDocumentationUrl(self, name: str) -> str:
        return self.documentationBaseUrl + "user_guide/modules/" + name.lower() + ".html"

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    userSettings = revisionUserSettings = settings

    def startupEnvironment(self) -> dict[str, str]:
        return dict(os.environ)

    def pauseRender(self) -> None:
        self._logic.PauseRender()

    def resumeRender(self) -> None:
        self._logic.ResumeRender()
