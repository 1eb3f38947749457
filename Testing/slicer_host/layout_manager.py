"""The layout manager: real slice and view logics, without widgets. `render` makes pictures of them."""

import slicer
import vtk

from .pythonqt.binding import QtCore
from .widgets.stand_in import stand_in

_SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
_SLICE_SIZE = 256


@stand_in
class qMRMLSliceWidget(QtCore.QObject):
    """One slice view: its logic and nodes. View and controller are the same object."""

    _logic = None

    def __init__(self, logic, parent=None):
        super().__init__(parent)
        self._logic = logic

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def sliceView(self):
        return self

    def sliceController(self):
        return self

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def setSliceVisible(self, visible: bool) -> None:
        self.mrmlSliceNode().SetSliceVisible(visible)

    def forceRender(self) -> None:
        """There is no window to render into."""

    scheduleRender = forceRender


@stand_in
class qMRMLThreeDWidget(QtCore.QObject):
    """One 3D view: its logic and node. View and controller are the same object."""

    _logic = None

    def __init__(self, logic, parent=None):
        super().__init__(parent)
        self._logic = logic

    def viewLogic(self):
        return self._logic

    def mrmlViewNode(self):
        return self._logic.GetViewNode()

    def threeDView(self):
        return self

    def threeDController(self):
        return self

    def forceRender(self) -> None:
        """There is no window to render into, and no camera to move; so for the methods that follow."""

    scheduleRender = resetFocalPoint = resetCamera = forceRender


@stand_in
class qSlicerLayoutManager(QtCore.QObject):
    """Slice views Red, Yellow and Green and one 3D view; the layout is a number that changes nothing."""

    layoutChanged = QtCore.Signal(int)
    _layout = 3
    _slice_widgets = None
    _three_d_widgets = ()
    _logics = None

    def __init__(self, application_logic, scene):
        super().__init__()
        self._logics = vtk.vtkCollection()
        application_logic.SetSliceLogics(self._logics)
        self._slice_widgets = {
            name: qMRMLSliceWidget(self._create_slice_logic(name, orientation, application_logic, scene), self)
            for name, orientation in _SLICE_VIEWS.items()
        }
        view_logic = self._create_view_logic(application_logic, scene)
        self._three_d_widgets = (qMRMLThreeDWidget(view_logic, self),)

    def _create_slice_logic(self, name: str, orientation: str, application_logic, scene):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        node = logic.AddSliceNode(name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        node.SetDimensions(_SLICE_SIZE, _SLICE_SIZE, 1)
        self._logics.AddItem(logic)
        return logic

    def _create_view_logic(self, application_logic, scene):
        logic = slicer.vtkMRMLViewLogic()
        logic.SetName("1")  # by which it finds its node again after the scene was closed
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        logic.AddViewNode("1")
        logics = vtk.vtkCollection()
        logics.AddItem(logic)
        application_logic.SetViewLogics(logics)
        return logic

    layout = property(lambda self: self._layout, lambda self, value: self.setLayout(value))
    threeDViewCount = property(lambda self: len(self._three_d_widgets))
    tableViewCount = property(lambda self: 0)
    plotViewCount = property(lambda self: 0)

    def setLayout(self, layout: int) -> None:
        self._layout = layout
        self.layoutChanged.emit(layout)

    def sliceViewNames(self) -> list[str]:
        return list(self._slice_widgets)

    def sliceWidget(self, name: str):
        return self._slice_widgets.get(name)

    def mrmlSliceLogics(self):
        return self._logics

    def threeDWidget(self, index: int):
        return self._three_d_widgets[index]

    def resetSliceViews(self) -> None:
        for widget in self._slice_widgets.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """There is no camera to reset."""
