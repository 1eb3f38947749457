"""qMRMLSegmentationShow3DButton: makes the closed surface of a segmentation, or removes it."""

import slicer
import vtk

from ..pythonqt.binding import QtCore, QtWidgets
from .observation import Observation
from .stand_in import stand_in

_SURFACE = "Closed surface"
_NODE_EVENTS = (
    vtk.vtkCommand.ModifiedEvent,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.ContainedRepresentationNamesModified,
)


@stand_in
class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    """Checked while the segmentation has a closed surface; disabled without segments."""

    _node = None
    _observation = None

    def __init__(self, parent=None):
        super().__init__("Show 3D", parent)
        self._observation = Observation(self)
        self.setCheckable(True)
        self.setEnabled(False)
        self.toggled.connect(lambda checked: self._on_toggled(checked))

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node) -> None:
        self._node = node
        self._observation.follow(node, _NODE_EVENTS, self._refresh)
        self._refresh()

    def _refresh(self, caller=None, event=None) -> None:
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        self.setEnabled(segmentation is not None and segmentation.GetNumberOfSegments() > 0)
        if segmentation is not None:
            blocker = QtCore.QSignalBlocker(self)
            self.setChecked(segmentation.ContainsRepresentation(_SURFACE))
            blocker.unblock()

    def _on_toggled(self, checked: bool) -> None:
        if self._node is None:
            return
        if checked:
            self._node.CreateClosedSurfaceRepresentation()
            self._node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(_SURFACE)
        else:
            self._node.RemoveClosedSurfaceRepresentation()
