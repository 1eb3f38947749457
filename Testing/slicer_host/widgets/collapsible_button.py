"""ctkCollapsibleButton: a titled section that can be folded."""

from ..pythonqt.binding import QtCore, QtGui, QtWidgets
from .stand_in import stand_in

_TITLE_HEIGHT = 22


@stand_in
class ctkCollapsibleButton(QtWidgets.QWidget):
    """Shows its children only while it is not collapsed."""

    _text = ""
    _collapsed = False

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setContentsMargins(0, _TITLE_HEIGHT, 0, 0)

    text = property(lambda self: self._text, lambda self, value: self.setText(value))
    collapsed = property(lambda self: self._collapsed, lambda self, value: self.setCollapsed(value))

    def setText(self, text: str) -> None:
        self._text = text
        self.update()

    def setCollapsed(self, collapsed: bool) -> None:
        if bool(collapsed) == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not self._collapsed)

    def paintEvent(self, event) -> None:
        painter = QtGui.QPainter(self)
        title = QtCore.QRect(0, 0, self.width, _TITLE_HEIGHT - 2)
        painter.fillRect(title, self.palette.color(QtGui.QPalette.ColorRole.Button))
        mark = "\u25b8" if self._collapsed else "\u25be"
        painter.drawText(title.adjusted(6, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, f"{mark} {self._text}")
        painter.end()
