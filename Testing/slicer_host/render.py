"""Pictures of the scene without a window: real slice logic and displayable managers, VTK off screen.

Needs VTK's EGL (packages libegl1 and libgl1-mesa-dri) or OSMesa (libosmesa6, and the environment variable
VTK_DEFAULT_OPENGL_WINDOW=vtkOSOpenGLRenderWindow).
"""

from pathlib import Path

import numpy as np
import slicer
import vtk
from vtkmodules.util.numpy_support import vtk_to_numpy

_SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
)


class _OffScreenView:
    """A render window with displayable managers for one slice node; lives for one picture."""

    def __init__(self, slice_node, size, first_actor):
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.renderer.AddViewProp(first_actor)  # before the managers' actors, which blend onto it
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in _SLICE_MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(factory, self.renderer)
        self.group.SetMRMLDisplayableNode(slice_node)

    def grab(self) -> np.ndarray:
        """Renders; returns RGB, uint8, (height, width, 3), the top row first; then lets the window go."""
        self.window.Render()
        reader = vtk.vtkWindowToImageFilter()
        reader.SetInput(self.window)
        reader.ReadFrontBufferOff()
        reader.Update()
        width, height, _ = reader.GetOutput().GetDimensions()
        rgb = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)
        rgb = rgb[::-1, :, :3].copy()
        self.group.SetMRMLDisplayableNode(None)
        self.group.SetRenderer(None)
        self.window.Finalize()
        return rgb


def render_slice(view_name: str, size: tuple[int, int]) -> np.ndarray:
    """Renders one slice view with its background, foreground and label volumes, segments and markups.

    Args:
        view_name: Red, Yellow or Green.
        size: width and height in pixels; the background volume is fitted into them.

    Returns:
        RGB, uint8, (height, width, 3), the top row first.
    """
    logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(view_name)
    node = logic.GetSliceNode()
    offset_mm = logic.GetSliceOffset()
    logic.ResizeSliceNode(*size)
    logic.FitSliceToBackground()
    logic.SetSliceOffset(offset_mm)
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    view = _OffScreenView(node, size, actor)
    if logic.GetImageDataConnection() is not None:
        mapper.SetInputConnection(logic.GetImageDataConnection())
    return view.grab()


def save_widget(widget, path: str | Path) -> None:
    """Writes a picture of a widget to a PNG file."""
    widget.show()
    slicer.app.processEvents()
    if not widget.grab().toImage().save(str(path)):
        raise RuntimeError(f"could not write {path}")
