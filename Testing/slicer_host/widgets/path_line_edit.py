"""CTK widgets for a path: a line edit with a browse button, and a button that chooses a folder."""

from .. import messages
from ..pythonqt.binding import QtCore, QtWidgets
from .stand_in import stand_in, stored


@stand_in
@stored(filters=0, nameFilters=(), settingKey="", label="", showBrowseButton=True, showHistoryButton=True)
class ctkPathLineEdit(QtWidgets.QWidget):
    """Line edit for a file or a folder; browsing takes the path that the host's answers give."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    # QDir's filters, which ctkPathLineEdit repeats.
    Dirs, Files, Drives, NoSymLinks, Readable, Writable, Executable = (1 << bit for bit in range(7))
    Hidden, System, AllDirs, NoDot, NoDotDot = 0x100, 0x200, 0x400, 0x2000, 0x4000
    NoDotAndDotDot = NoDot | NoDotDot
    _edit = None
    _button = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._edit = QtWidgets.QLineEdit(self)
        self._button = QtWidgets.QPushButton("...", self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._edit, 1)
        layout.addWidget(self._button)
        self._edit.textChanged.connect(self.currentPathChanged.emit)
        self._button.clicked.connect(lambda: self.browse())

    currentPath = property(lambda self: self._edit.text, lambda self, value: self.setCurrentPath(value))

    def setCurrentPath(self, path: str) -> None:
        self._edit.setText(path)

    def browse(self) -> None:
        answers = messages.record_message("file", self._label or "Select a path")
        if answers.accept and answers.path:
            self.setCurrentPath(answers.path)

    def addCurrentPathToHistory(self) -> None:
        """History is kept in the application's settings in 3D Slicer; here it is not kept."""

    def _property_changed(self, name: str) -> None:
        self._button.setVisible(self._showBrowseButton)


@stand_in
@stored(caption="")
class ctkDirectoryButton(QtWidgets.QPushButton):
    """Button that shows a folder; pressing it takes the path that the host's answers give.

    The folder is "." at first, and an absolute path once it was changed.
    """

    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)
    _directory = "."

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setText(self._directory)
        self.clicked.connect(lambda: self.browse())

    directory = property(lambda self: self._directory, lambda self, value: self.setDirectory(value))

    def setDirectory(self, path: str) -> None:
        absolute = QtCore.QDir(path).absolutePath()
        if absolute != QtCore.QDir(self._directory).absolutePath():
            self._directory = absolute
            self.setText(absolute)
            self.directoryChanged.emit(absolute)

    def browse(self) -> None:
        answers = messages.record_message("file", self._caption or "Select directory")
        if answers.accept and answers.path:
            self.setDirectory(answers.path)
            self.directorySelected.emit(self.directory)
