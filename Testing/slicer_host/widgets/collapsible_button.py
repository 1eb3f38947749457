"""ctkCollapsibleButton: a titled section that can be folded."""

from ..pythonqt.binding import QtCore, QtGui, QtWidgets
from .stand_in import stand_in

_TITLE_HEIGHT = 22


@stand_in
class ctkCollapsibleButton(QtWidgets.QWidget):
    """Shows its children only while it is not collapsed; `checked` is the opposite of `collapsed`."""

    contentsCollapsed = QtCore.Signal(bool)
    toggled = QtCore.Signal(bool)
    clicked = QtCore.Signal(bool)
    _text = ""
    _collapsed = False

    def __init__(self, *arguments):
        text = next((item for item in arguments if isinstance(item, str)), "")
        super().__init__(next((item for item in arguments if isinstance(item, QtWidgets.QWidget)), None))
        self._text = text
        self.setContentsMargins(0, _TITLE_HEIGHT, 0, 0)

    text = property(lambda self: self._text, lambda self, value: self.setText(value))
    collapsed = property(lambda self: self._collapsed, lambda self, value: self.setCollapsed(value))
    checked = property(lambda self: not self._collapsed, lambda self, value: self.setCollapsed(not value))

    def setText(self, text: str) -> None:
        self._text = text
        self.update()

    def setChecked(self, checked: bool) -> None:
        self.setCollapsed(not checked)

    def setCollapsed(self, collapsed: bool) -> None:
        if bool(collapsed) == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not self._collapsed)
        self.contentsCollapsed.emit(self._collapsed)
        self.toggled.emit(not self._collapsed)

    def click(self) -> None:
        self.setCollapsed(not self._collapsed)
        self.clicked.emit(not self._collapsed)

    def mousePressEvent(self, event) -> None:
        if event.position().y() < _TITLE_HEIGHT:
            self.click()

    def paintEvent(self, event) -> None:
        painter = QtGui.QPainter(self)
        title = QtCore.QRect(0, 0, self.width, _TITLE_HEIGHT - 2)
        painter.fillRect(title, self.palette.color(QtGui.QPalette.ColorRole.Button))
        mark = "\u25b8" if self._collapsed else "\u25be"
        painter.drawText(title.adjusted(6, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, f"{mark} {self._text}")
        painter.end()


@stand_in
class qMRMLCollapsibleButton(ctkCollapsibleButton):
    """A ctkCollapsibleButton that passes a scene on."""

    mrmlSceneChanged = QtCore.Signal(object)
    CPP_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)
