"""The slice views and the 3D view of a page: what they show, where, and what lies under the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from trame_slicer.core import SlicerApp
from trame_slicer.views import Layout, LayoutDirection, ViewLayoutDefinition

from ..scene.mrml import grid_of_node, matrix_to_numpy

WINDOWS_HU = {  # window, level
    "Abdomen": (400.0, 60.0),
    "Soft tissue": (350.0, 40.0),
    "Bone": (1800.0, 400.0),
    "Lung": (1500.0, -600.0),
}
LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))  # of the negative and the positive end of each RAS axis
FIRST = 10.0  # priority of an observer: the interactor style ends what it handles
QUAD = "Quad View"
LAYOUTS = {
    QUAD: Layout(
        LayoutDirection.Vertical,
        [
            Layout(
                LayoutDirection.Horizontal, [ViewLayoutDefinition.axial_view(), ViewLayoutDefinition.coronal_view()]
            ),
            Layout(
                LayoutDirection.Horizontal, [ViewLayoutDefinition.threed_view(), ViewLayoutDefinition.sagittal_view()]
            ),
        ],
    ),
    "Axial": Layout(LayoutDirection.Vertical, [ViewLayoutDefinition.axial_view()]),
    "Coronal": Layout(LayoutDirection.Vertical, [ViewLayoutDefinition.coronal_view()]),
    "Sagittal": Layout(LayoutDirection.Vertical, [ViewLayoutDefinition.sagittal_view()]),
    "3D": Layout(LayoutDirection.Vertical, [ViewLayoutDefinition.threed_view()]),
}


class Views:
    """Shows one CT in all slice views, which a crosshair links.

    Args:
        app: The scene, with its views.
        on_cursor: Called with a line on what lies under the cursor.
    """

    def __init__(self, app: SlicerApp, on_cursor: Callable[[str], None]) -> None:
        self._app, self._on_cursor = app, on_cursor
        self._ct: slicer.vtkMRMLScalarVolumeNode | None = None
        self._active: Any = None
        self._dragging = False
        self._crosshair = app.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        self._crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowBasic)
        self._crosshair.SetCrosshairThickness(slicer.vtkMRMLCrosshairNode.Fine)

    def watch(self, view: Any) -> None:
        """Follow the mouse in a slice view: a click or drag with the left button moves the crosshair there."""
        interactor = view.interactor()
        interactor.AddObserver("LeftButtonPressEvent", lambda *_: self._press(view, True), FIRST)
        interactor.AddObserver("LeftButtonReleaseEvent", lambda *_: self._press(view, False), FIRST)
        interactor.AddObserver("MouseMoveEvent", lambda *_: self._move(view), FIRST)
        view.modified.connect(lambda *_: self._tell_cursor(view))

    def show(self, node: slicer.vtkMRMLScalarVolumeNode, window: str) -> None:
        """Show a CT, from its middle on."""
        self._ct = node
        self.set_window(window)
        for view in self._slices():
            view.set_background_volume_id(node.GetID())
            view.set_foreground_volume_id(None)
            view.fit_view_to_content()
        grid = grid_of_node(node)
        self.jump(grid.ras_of((np.array(grid.shape_kji[::-1]) - 1) / 2))
        self._on_cursor("")

    def set_window(self, name: str) -> None:
        """Look at the CT in one of ``WINDOWS_HU``."""
        if self._ct is not None:
            display = self._ct.GetDisplayNode()
            display.AutoWindowLevelOff()
            display.SetWindowLevel(*WINDOWS_HU[name])

    def jump(self, ras_mm: Any) -> None:
        """Move crosshair and slice views to a point."""
        point = [float(x) for x in ras_mm]
        self._crosshair.SetCrosshairRAS(point)
        for view in self._slices():
            view.get_view_node().JumpSliceByOffsetting(*point)
            view.schedule_render()

    def scroll(self, slices: int) -> None:
        """Move the slice view that the mouse was in last, or the first one if that is not on the page."""
        shown = self._app.view_manager.filter_visible_views(self._slices())
        if not shown:  # the 3D view alone
            return
        view = self._active if self._active in shown else shown[0]
        low, high = view.get_slice_range()
        view.set_slice_value(min(high, max(low, view.get_slice_value() + slices * view.get_slice_step())))

    def show_surfaces(self) -> None:
        """Turn the 3D view to what there is."""
        for view in self._app.view_manager.get_threed_views():
            view.fit_view_to_content()
            view.schedule_render()

    def render(self) -> None:
        """Draw all views again."""
        for view in self._app.view_manager.get_views():
            view.schedule_render()

    def letters(self, view: Any) -> dict[str, str]:
        """Which way the edges of a slice view lie: letters for its left, right, bottom and top edge."""
        axes = matrix_to_numpy(view.get_view_node().GetSliceToRAS())[:3, :2]
        found: dict[str, str] = {}
        for column, (low, high) in enumerate((("left", "right"), ("bottom", "top"))):
            axis = int(np.abs(axes[:, column]).argmax())
            ends = LETTERS[axis] if axes[axis, column] > 0 else LETTERS[axis][::-1]
            found |= dict(zip((low, high), ends, strict=True))
        return found

    def _slices(self) -> list[Any]:
        return self._app.view_manager.get_slice_views()

    def _press(self, view: Any, down: bool) -> None:
        self._dragging = down
        if down:
            self._active = view  # which a touch has not moved over before
            self.jump(_point_under_cursor(view))

    def _move(self, view: Any) -> None:
        self._active = view
        if self._dragging:
            self.jump(_point_under_cursor(view))
        self._tell_cursor(view)

    def _tell_cursor(self, view: Any) -> None:
        """Say what lies under the cursor, also where it stays and the slice moves."""
        if view is self._active:
            self._on_cursor(self._described(_point_under_cursor(view)))

    def _described(self, ras_mm: np.ndarray) -> str:
        if self._ct is None:
            return ""
        ijk = np.floor(grid_of_node(self._ct).ijk_of(ras_mm[None])[0] + 0.5).astype(int)
        voxels = slicer.util.arrayFromVolume(self._ct)
        place = ", ".join(
            f"{ends[int(value > 0)]} {abs(value):.0f}" for ends, value in zip(LETTERS, ras_mm, strict=True)
        )
        if (ijk < 0).any() or (ijk >= voxels.shape[::-1]).any():
            return f"{place} mm"
        return f"{place} mm: {voxels[tuple(ijk[::-1])]:.0f} HU"


def _point_under_cursor(view: Any) -> np.ndarray:
    x, y = view.interactor().GetEventPosition()
    to_ras: vtk.vtkMatrix4x4 = view.get_view_node().GetXYToRAS()
    return np.array(to_ras.MultiplyPoint((x, y, 0.0, 1.0))[:3])
