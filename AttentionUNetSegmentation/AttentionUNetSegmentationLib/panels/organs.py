"""The panel's table of organs and the buttons below it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.util import VTKObservationMixin

from ..scene.mrml import INPUT_ROLE, SURFACE
from ..scene.organ_table import OrganRow, as_text, in_world, rows, world_centroid, write_csv, write_table_node
from .attention import AttentionPanel
from .progress import ProgressPanel, guarded

COLUMNS = ("", "", "Organ", "Volume (ml)", "Mean (HU)")  # colour, visibility, ...
COLOR, VISIBLE, NAME, VOLUME, MEAN = range(len(COLUMNS))
# of the segmentation node, which says nothing else when its segments change
EVENTS = (
    vtk.vtkCommand.ModifiedEvent,
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.ContainedRepresentationNamesModified,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
)


class OrganPanel(VTKObservationMixin):
    """Shows the organs of a segmentation node, read from the node alone, and again when it changes.

    Args:
        ui: The widgets of the .ui file.
        is_open: Whether the user sees the panel; while not, changes are left to the next ``refresh``.
        followers: Panels that are told the node when the table was filled: warnings may be those of another frame now.
    """

    def __init__(
        self,
        ui: Any,
        is_open: Callable[[], bool],
        *followers: AttentionPanel | ProgressPanel,
    ) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._is_open, self._followers = ui, is_open, followers
        self._timer = qt.QTimer()  # one refresh for many changes in a row
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._fill_table)
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._rows: list[OrganRow] = []
        self._is_measured = False
        table = ui.organTable
        table.setColumnCount(len(COLUMNS))
        table.setHorizontalHeaderLabels(list(COLUMNS))
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        for column in (COLOR, VISIBLE):
            table.setColumnWidth(column, 28)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.connect("cellDoubleClicked(int,int)", self.jump)
        table.connect("cellChanged(int,int)", self._on_cell_changed)
        ui.show3DButton.connect("toggled(bool)", self._on_show_3d)
        ui.editButton.connect("clicked(bool)", lambda: guarded(self.edit))
        ui.copyButton.connect("clicked(bool)", self.copy)
        ui.exportButton.connect("clicked(bool)", lambda: guarded(self.ask_and_export))

    @property
    def table(self) -> list[OrganRow]:
        """The rows that are shown."""
        return self._rows

    def refresh(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Fill the table from a segmentation node; None empties it."""
        if node is not self._node:
            self.removeObservers()
            self._node = node
            for event in EVENTS if node is not None else ():
                self.addObserver(node, event, self._on_modified)
            if node is not None:
                self.addObserver(node, node.DisplayModifiedEvent, self._on_display_modified)
        self._is_measured = False
        self._fill_table()

    def close(self) -> None:
        """Let go of the scene and of the timer, whose connection would keep the panel alive."""
        self.refresh(None)
        self._timer.disconnect("timeout()", self._fill_table)

    def jump(self, index: int, column: int = NAME) -> None:
        """Move the slice views to an organ's centre."""
        position = world_centroid(self._node, self._rows[index]) if self._node is not None else None
        if position is not None:
            slicer.modules.markups.logic().JumpSlicesToLocation(*position, True)

    def edit(self) -> None:
        """Open the result in the Segment Editor.

        Raises:
            RuntimeError: If Slicer has no main window.
        """
        if self._node is None:
            return
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(self._node)
        volume_node = self._node.GetNodeReference(INPUT_ROLE)
        if volume_node is not None:
            editor.setSourceVolumeNode(volume_node)

    def copy(self) -> None:
        """Copy the table to the clipboard, columns separated by tabulators."""
        slicer.app.clipboard().setText(as_text(in_world(self._node, self._rows)))

    def ask_and_export(self) -> None:
        """Ask for a file, and write the table there and into the scene.

        Raises:
            OSError: If the file cannot be written.
        """
        if slicer.app.testingEnabled():
            self._ui.statusLabel.setText("Testing mode opens no file dialog; nothing was exported.")
            return
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), "Export CSV", "organs.csv", "CSV (*.csv)")
        if not chosen:
            return
        path = chosen if chosen.lower().endswith(".csv") else f"{chosen}.csv"
        is_unasked = path != chosen and Path(path).exists()  # the dialog has asked for the name without the suffix
        if is_unasked and not slicer.util.confirmOkCancelDisplay(f"Replace the file {path}?"):
            return
        self.export(path)
        self._ui.statusLabel.setText(f"Written to {path}")

    def export(self, path: str) -> slicer.vtkMRMLTableNode:
        """Write the table to a CSV file and into the scene.

        Raises:
            OSError: If the file cannot be written.
        """
        table = in_world(self._node, self._rows)
        write_csv(table, Path(path))
        return write_table_node(self._node, table)

    def _on_modified(self, caller=None, event=None) -> None:
        self._is_measured = False
        self._on_display_modified()

    def _on_display_modified(self, caller=None, event=None) -> None:
        if self._is_open():  # else each stroke in the Segment Editor would measure all organs
            self._timer.start(0)

    def _fill_table(self) -> None:
        self._timer.stop()
        if not self._is_measured:
            self._rows, self._is_measured = rows(self._node), True
        table = self._ui.organTable
        table.blockSignals(True)
        table.setRowCount(len(self._rows))
        for index, row in enumerate(self._rows):
            self._fill(index, row)
        table.blockSignals(False)
        for button in (self._ui.show3DButton, self._ui.editButton, self._ui.copyButton, self._ui.exportButton):
            button.setEnabled(bool(self._rows))
        self._ui.show3DButton.blockSignals(True)
        self._ui.show3DButton.setChecked(self._is_shown_in_3d())
        self._ui.show3DButton.blockSignals(False)
        for panel in self._followers:
            panel.follow_result(self._node)

    def _fill(self, index: int, row: OrganRow) -> None:
        texts = row.texts()
        fixed = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
        for column, text in ((COLOR, ""), (NAME, texts[0]), (VOLUME, texts[1] or "-"), (MEAN, texts[2] or "-")):
            item = qt.QTableWidgetItem(text)
            item.setFlags(fixed)
            if column in (VOLUME, MEAN):
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            if column == COLOR:
                item.setBackground(qt.QBrush(qt.QColor(*(round(255 * channel) for channel in row.color_rgb))))
            self._ui.organTable.setItem(index, column, item)
        box = qt.QTableWidgetItem("")
        box.setFlags(fixed | qt.Qt.ItemIsUserCheckable)
        display = self._display()
        is_visible = display is None or display.GetSegmentVisibility(row.segment_id)
        box.setCheckState(qt.Qt.Checked if is_visible else qt.Qt.Unchecked)
        self._ui.organTable.setItem(index, VISIBLE, box)

    def _display(self) -> slicer.vtkMRMLSegmentationDisplayNode | None:
        return self._node.GetDisplayNode() if self._node is not None else None

    def _on_cell_changed(self, index: int, column: int) -> None:
        display = self._display()
        if column == VISIBLE and display is not None and index < len(self._rows):
            checked = self._ui.organTable.item(index, VISIBLE).checkState() == qt.Qt.Checked
            display.SetSegmentVisibility(self._rows[index].segment_id, checked)

    def _on_show_3d(self, shown: bool) -> None:
        if self._node is None:
            return
        self._node.CreateDefaultDisplayNodes()
        if shown:
            self._node.CreateClosedSurfaceRepresentation()
        elif self._node.GetSegmentation().GetSourceRepresentationName() != SURFACE:
            self._node.RemoveClosedSurfaceRepresentation()  # as Slicer's own button does, which follows nothing else
            return
        self._node.GetDisplayNode().SetVisibility3D(shown)

    def _is_shown_in_3d(self) -> bool:
        if self._node is None or self._node.GetDisplayNode() is None:
            return False
        has_surfaces = self._node.GetSegmentation().ContainsRepresentation(SURFACE)
        return bool(has_surfaces and self._node.GetDisplayNode().GetVisibility3D())
