"""Pictures of the scene without a window: real slice logic and displayable managers, VTK off screen.

Needs VTK's EGL (packages libegl1 and libgl1-mesa-dri) or OSMesa (libosmesa6, and the environment variable
VTK_DEFAULT_OPENGL_WINDOW=vtkOSOpenGLRenderWindow).
"""

from pathlib import Path

import numpy as np
import qt
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
_THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)
_SKY = ((0.76, 0.76, 0.91), (0.45, 0.47, 0.76))  # the 3D view's default background, bottom and top


class _OffScreenView:
    """A render window with displayable managers for one view node; lives for one picture."""

    def __init__(self, factory_class, managers, view_node, size, first_actor=None):
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        if first_actor is not None:
            self.renderer.AddViewProp(first_actor)  # before the managers' actors, which blend onto it
        factory = factory_class.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(factory, self.renderer)
        self.group.SetMRMLDisplayableNode(view_node)

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
    view = _OffScreenView(slicer.vtkMRMLSliceViewDisplayableManagerFactory, _SLICE_MANAGERS, node, size, actor)
    if logic.GetImageDataConnection() is not None:
        mapper.SetInputConnection(logic.GetImageDataConnection())
    return view.grab()


def render_3d(size: tuple[int, int]) -> np.ndarray:
    """Renders the 3D view, the camera looking at everything from the front.

    Args:
        size: width and height in pixels.

    Returns:
        RGB, uint8, (height, width, 3), the top row first.
    """
    node = slicer.app.applicationLogic().GetViewLogicByLayoutName("1").GetViewNode()
    node.SetBoxVisible(False)
    node.SetAxisLabelsVisible(False)
    node.SetBackgroundColor(*_SKY[0])
    node.SetBackgroundColor2(*_SKY[1])
    view = _OffScreenView(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, _THREE_D_MANAGERS, node, size)
    camera = view.group.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()
    camera.RotateTo(slicer.vtkMRMLCameraNode.Anterior)
    view.renderer.ResetCamera()
    view.renderer.ResetCameraClippingRange()
    return view.grab()


def save_png(rgb: np.ndarray, path: str | Path) -> None:
    """Writes RGB, uint8, (height, width, 3), the top row first, to a PNG file."""
    height, width, _ = rgb.shape
    data = np.ascontiguousarray(rgb)
    image = qt.QImage(data.data, width, height, 3 * width, qt.QImage.Format_RGB888)
    if not image.save(str(path)):
        raise RuntimeError(f"could not write {path}")


def save_widget(widget, path: str | Path) -> None:
    """Writes a picture of a widget to a PNG file."""
    widget.show()
    slicer.app.processEvents()
    if not widget.grab().toImage().save(str(path)):
        raise RuntimeError(f"could not write {path}")
