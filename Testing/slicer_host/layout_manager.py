"""The layout manager: real slice and view logics, without widgets. `render` makes pictures of them."""

import slicer
import vtk

from .pythonqt.binding import QtCore
from .widgets.stand_in import stand_in

_SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
_SLICE_SIZE = 256


@stand_in
class qMRMLSliceWidget(QtCore.QObject):
    """One slice view: its nodes."""

    _logic = None

    def __init__(self, logic, parent):
        super().__init__(parent)
        self._logic = logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()


@stand_in
class qSlicerLayoutManager(QtCore.QObject):
    """Slice views Red, Yellow and Green and one 3D view."""

    _slice_logics = None
    _slice_widgets = None
    _view_logic = None

    def __init__(self, application_logic, scene):
        super().__init__()
        self._slice_logics = logics = vtk.vtkCollection()
        application_logic.SetSliceLogics(logics)
        self._slice_widgets = {}
        for name, orientation in _SLICE_VIEWS.items():
            logic = self._create_slice_logic(name, orientation, application_logic, scene)
            logics.AddItem(logic)
            self._slice_widgets[name] = qMRMLSliceWidget(logic, self)
        self._view_logic = self._create_view_logic(application_logic, scene)

    def _create_slice_logic(self, name: str, orientation: str, application_logic, scene):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        node = logic.AddSliceNode(name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        node.SetDimensions(_SLICE_SIZE, _SLICE_SIZE, 1)
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

    def mrmlSliceLogics(self):
        return self._slice_logics

    def sliceWidget(self, name: str):
        return self._slice_widgets.get(name)
