"""qMRMLWidget: the top level of a module's .ui file."""

from ..pythonqt.binding import QtCore, QtWidgets
from .stand_in import stand_in


@stand_in
class qMRMLWidget(QtWidgets.QWidget):
    """A widget that passes a scene on to its children, through the connections of the .ui file."""

    mrmlSceneChanged = QtCore.Signal(object)
    CPP_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    _scene = None

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)
