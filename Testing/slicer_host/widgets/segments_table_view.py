"""qMRMLSegmentsTableView: the segments of a segmentation, one row each."""

import slicer
import vtk

from ..pythonqt.binding import QtCore, QtGui, QtWidgets
from .observation import Observation
from .stand_in import stand_in, stored

_COLUMNS = ("visible", "colour", "opacity", "name")
_VISIBLE, _COLOUR, _OPACITY, _NAME = range(4)
_NODE_EVENTS = (
    vtk.vtkCommand.ModifiedEvent,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent,
)


@stand_in
@stored(
    headerVisible=True,
    visibilityColumnVisible=True,
    colorColumnVisible=True,
    opacityColumnVisible=True,
    readOnly=False,
    filterBarVisible=False,
    statusColumnVisible=False,
    jumpToSelectedSegmentEnabled=False,
    selectionMode=3,
)
class qMRMLSegmentsTableView(QtWidgets.QWidget):
    """Shows visibility, colour, opacity and name; a click on the visibility box changes the display node."""

    selectionChanged = QtCore.Signal(object, object)
    CPP_SIGNALS = {"selectionChanged(QItemSelection,QItemSelection)": "selectionChanged"}
    _scene = None
    _node = None
    _observation = None
    _table = None
    _ids = ()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._observation = Observation(self)
        self._table = QtWidgets.QTableWidget(0, len(_COLUMNS), self)
        self._table.setHorizontalHeaderLabels(list(_COLUMNS))
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.horizontalHeader().setStretchLastSection(True)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged.emit)
        self._table.itemChanged.connect(lambda item: self._on_item_changed(item))

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._scene = scene

    def tableWidget(self) -> QtWidgets.QTableWidget:
        return self._table

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node) -> None:
        self._node = node
        self._observation.follow(node, _NODE_EVENTS, self._refresh)
        self._refresh()

    segmentCount = property(lambda self: len(self._ids))

    def displayedSegmentIDs(self) -> list[str]:
        return list(self._ids)

    def segmentIDForRow(self, row: int) -> str:
        return self._ids[row]

    def rowForSegmentID(self, segment_id: str) -> int:
        return self._ids.index(segment_id) if segment_id in self._ids else -1

    def selectedSegmentIDs(self) -> list[str]:
        return [self._ids[row] for row in sorted({index.row() for index in self._table.selectedIndexes()})]

    def setSelectedSegmentIDs(self, segment_ids: list[str]) -> None:
        self.clearSelection()
        for segment_id in segment_ids:
            self._table.selectRow(self._ids.index(segment_id))

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def _refresh(self, caller=None, event=None) -> None:
        selected = self.selectedSegmentIDs()
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        self._ids = tuple(segmentation.GetSegmentIDs()) if segmentation is not None else ()
        blocker = QtCore.QSignalBlocker(self._table)
        self._table.setRowCount(len(self._ids))
        for row, segment_id in enumerate(self._ids):
            self._fill_row(row, segment_id)
        for segment_id in selected:
            if segment_id in self._ids:
                self._table.selectRow(self._ids.index(segment_id))
        blocker.unblock()

    def _fill_row(self, row: int, segment_id: str) -> None:
        segment = self._node.GetSegmentation().GetSegment(segment_id)
        display = self._node.GetDisplayNode()
        items = [QtWidgets.QTableWidgetItem() for _ in _COLUMNS]
        shown = display is None or display.GetSegmentVisibility(segment_id)
        items[_VISIBLE].setCheckState(QtCore.Qt.CheckState.Checked if shown else QtCore.Qt.CheckState.Unchecked)
        items[_COLOUR].setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        items[_OPACITY].setText("" if display is None else f"{display.GetSegmentOpacity3D(segment_id):.2f}")
        items[_NAME].setText(segment.GetName())
        for column, item in enumerate(items):
            self._table.setItem(row, column, item)

    def _on_item_changed(self, item: QtWidgets.QTableWidgetItem) -> None:
        segment_id = self._ids[item.row()]
        if item.column() == _VISIBLE:
            shown = item.checkState() == QtCore.Qt.CheckState.Checked
            self._node.GetDisplayNode().SetSegmentVisibility(segment_id, shown)
        elif item.column() == _NAME:
            self._node.GetSegmentation().GetSegment(segment_id).SetName(item.text())

    def _property_changed(self, name: str) -> None:
        self._table.horizontalHeader().setVisible(self._headerVisible)
        self._table.setColumnHidden(_VISIBLE, not self._visibilityColumnVisible)
        self._table.setColumnHidden(_COLOUR, not self._colorColumnVisible)
        self._table.setColumnHidden(_OPACITY, not self._opacityColumnVisible)
