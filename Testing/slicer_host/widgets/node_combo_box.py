"""qMRMLNodeComboBox, which selects one node of the scene, and its kind for colour tables."""

import slicer
import vtk

from ..pythonqt.binding import QtCore, QtWidgets
from .stand_in import stand_in, stored

_NODE_EVENTS = (slicer.vtkMRMLScene.NodeAddedEvent, slicer.vtkMRMLScene.NodeRemovedEvent)
_SCENE_EVENTS = tuple(
    getattr(slicer.vtkMRMLScene, name) for name in ("EndCloseEvent", "EndImportEvent", "EndBatchProcessEvent")
)


@stand_in
@stored(
    nodeTypes=(),
    showChildNodeTypes=True,
    showHidden=False,
    noneEnabled=False,
    addEnabled=True,
    removeEnabled=True,
    renameEnabled=False,
    noneDisplay="None",
)
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the scene's nodes of some types.

    Where None cannot be selected and the list has no entries but nodes (nothing can be created, removed or renamed),
    the first node that appears is selected, as in any combo box that was empty. A current node that leaves the scene
    gives way to None or to the first one.
    """

    currentNodeChanged = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    CPP_SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    _scene = None
    _tags = ()
    _box = None
    _ids = ()
    _current_id = ""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box = QtWidgets.QComboBox(self)
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self.destroyed.connect(lambda: self._stop_observing())
        self.setEnabled(False)

    def setMRMLScene(self, scene) -> None:
        self._stop_observing()
        self._scene = scene
        self._tags = [scene.AddObserver(event, self._on_scene) for event in _SCENE_EVENTS]
        self._tags += [scene.AddObserver(event, self._on_node) for event in _NODE_EVENTS]
        self.setEnabled(True)
        self._refresh()

    def nodeCount(self) -> int:
        return sum(1 for node_id in self._ids if node_id)

    def currentNode(self):
        return self._scene.GetNodeByID(self._current_id) if self._scene is not None and self._current_id else None

    def setCurrentNode(self, node) -> None:
        """Selects a node; one that is not listed selects None."""
        self._refresh(keep=node.GetID() if node is not None else "")

    def addNode(self):
        """Creates a node as the entry "Create new" does."""
        name = self._nodeTypes[0].removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(self._nodeTypes[0], self._scene.GenerateUniqueName(name))
        self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _stop_observing(self) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = ()

    def _is_listed(self, node) -> bool:
        wanted = [name for name in self._nodeTypes if node.IsA(name)]
        if not self._showChildNodeTypes:
            wanted = [name for name in wanted if name == node.GetClassName()]
        return bool(wanted) and (self._showHidden or not node.GetHideFromEditors())

    def _on_scene(self, caller, event) -> None:
        if not self._scene.IsBatchProcessing():
            self._refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node(self, caller, event, node) -> None:
        if self._is_listed(node) or node.GetID() in self._ids:
            self._on_scene(caller, event)

    def _property_changed(self, name: str) -> None:
        self._refresh()

    def _refresh(self, keep: str | None = None) -> None:
        """Lists the nodes again and settles which of them is the current one."""
        nodes = [] if self._scene is None else slicer.util.getNodesByClass("vtkMRMLNode", self._scene)
        nodes = [node for node in nodes if self._is_listed(node)]
        was_empty = self.nodeCount() == 0
        self._ids = ([""] if self._noneEnabled else []) + [node.GetID() for node in nodes]
        wanted = self._current_id if keep is None else keep
        if wanted not in self._ids:
            wanted = ""
        left = keep is None and self._current_id != "" and wanted == ""
        only_nodes = not (self._addEnabled or self._removeEnabled or self._renameEnabled)
        if nodes and not self._noneEnabled and (left or (keep is None and was_empty and only_nodes)):
            wanted = wanted or nodes[0].GetID()
        self._box.clear()
        self._box.addItems(([self._noneDisplay] if self._noneEnabled else []) + [node.GetName() for node in nodes])
        self._box.setCurrentIndex(self._ids.index(wanted) if wanted in self._ids else -1)
        self._set_current(wanted)

    def _set_current(self, node_id: str) -> None:
        if node_id != self._current_id:
            self._current_id = node_id
            self.currentNodeChanged.emit(self.currentNode())


@stand_in
class qMRMLColorTableComboBox(qMRMLNodeComboBox):
    """A node selector set up for colour nodes, hidden ones included."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setNodeTypes(("vtkMRMLColorTableNode", "vtkMRMLProceduralColorNode"))
        self.setShowHidden(True)
        self.setAddEnabled(False)
        self.setRemoveEnabled(False)
