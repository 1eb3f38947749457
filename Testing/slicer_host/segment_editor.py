"""The Segment Editor, as far as other modules hand a segmentation over to it."""

import slicer

from .module_manager import qSlicerLoadableModule
from .pythonqt.binding import QtCore
from .widgets.mrml_widget import qMRMLWidget
from .widgets.stand_in import stand_in


@stand_in
class qMRMLSegmentEditorWidget(QtCore.QObject):
    """Remembers the nodes it was given; it edits nothing."""

    _segmentation = None
    _source = None

    def setSegmentationNode(self, node) -> None:
        self._segmentation = node

    def segmentationNode(self):
        return self._segmentation

    def setSourceVolumeNode(self, node) -> None:
        self._source = node

    def sourceVolumeNode(self):
        return self._source


@stand_in
class qSlicerSegmentEditorModuleWidget(qMRMLWidget):
    """The module's panel: `editor` is what other modules use."""

    _editor = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._editor = qMRMLSegmentEditorWidget(self)

    editor = property(lambda self: self._editor)

    def self(self):
        return self

    def enter(self) -> None:
        """Nothing happens when the user opens it; so for leaving."""

    exit = enter


@stand_in
class SegmentEditorModule(qSlicerLoadableModule):
    """The module that slicer.util.selectModule("SegmentEditor") finds."""

    _widget = None

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = qSlicerSegmentEditorModuleWidget()
            slicer.modules.SegmentEditorWidget = self._widget
        return self._widget
