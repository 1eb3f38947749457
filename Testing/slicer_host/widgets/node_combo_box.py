"""qMRMLNodeComboBox: selects one node of the scene."""

import slicer

from ..pythonqt.binding import QtCore, QtWidgets
from .observation import Observation
from .stand_in import stand_in, stored

_SCENE_EVENTS = tuple(
    getattr(slicer.vtkMRMLScene, name)
    for name in ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent", "EndBatchProcessEvent")
)


@stand_in
@stored(
    nodeTypes=(),
    showChildNodeTypes=True,
    showHidden=False,
    noneEnabled=False,
    addEnabled=True,
    removeEnabled=True,
    editEnabled=False,
    renameEnabled=False,
    selectNodeUponCreation=True,
    baseName="",
    noneDisplay="None",
)
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the scene's nodes of some types; after them an entry that creates a node, if `addEnabled`.

    Where None cannot be selected and the list has no entries but nodes (nothing can be created, removed, edited or
    renamed), the first node that appears is selected, as in any combo box that was empty. A current node that leaves
    the scene gives way to None or to the first one.
    """

    currentNodeChanged = QtCore.Signal(object)
    currentNodeValidityChanged = QtCore.Signal(bool)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    CPP_SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "currentNodeValidityChanged",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    _scene = None
    _box = None
    _observation = None
    _attributes = ()
    _ids = ()
    _current_id = ""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._observation = Observation(self)
        self._box = QtWidgets.QComboBox(self)
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(lambda index: self._on_activated(index))
        self.setEnabled(False)

    currentNodeID = property(lambda self: self._current_id, lambda self, value: self.setCurrentNodeID(value))

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._scene = scene
        self._observation.follow(scene, _SCENE_EVENTS, self._on_scene)
        self.setEnabled(scene is not None)
        self._refresh()

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        """Lists nodes of that type only if they have the attribute (with that value, if one is given)."""
        self._attributes = (*self._attributes, (node_type, name, value))
        self._refresh()

    def nodeCount(self) -> int:
        return sum(1 for node_id in self._ids if node_id)

    def nodeFromIndex(self, index: int):
        return self._scene.GetNodeByID([node_id for node_id in self._ids if node_id][index])

    def currentNode(self):
        return self._scene.GetNodeByID(self._current_id) if self._scene is not None and self._current_id else None

    def setCurrentNode(self, node) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def setCurrentNodeID(self, node_id: str | None) -> None:
        """Selects a node; an ID that is not listed selects None."""
        self._refresh(keep=node_id or "")

    def addNode(self, node_type: str | None = None):
        """Creates a node as the entry "Create new" does."""
        node_type = node_type or self._nodeTypes[0]
        name = self._baseName or node_type.removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(node_type, self._scene.GenerateUniqueName(name))
        if self._selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())

    def _is_listed(self, node) -> bool:
        wanted = [name for name in self._nodeTypes if node.IsA(name)]
        if not self._showChildNodeTypes:
            wanted = [name for name in wanted if name == node.GetClassName()]
        if not wanted or (node.GetHideFromEditors() and not self._showHidden):
            return False
        rules = [rule for rule in self._attributes if node.IsA(rule[0])]
        values = [(node.GetAttribute(name), value) for _, name, value in rules]
        return all(found is not None and value in (None, found) for found, value in values)

    def _on_scene(self, caller, event) -> None:
        if not self._scene.IsBatchProcessing():
            self._refresh()

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
        only_nodes = not (self._addEnabled or self._removeEnabled or self._editEnabled or self._renameEnabled)
        if nodes and not self._noneEnabled and (left or (keep is None and was_empty and only_nodes)):
            wanted = wanted or nodes[0].GetID()
        self._show(nodes, wanted)
        self._set_current(wanted)

    def _show(self, nodes: list, current_id: str) -> None:
        blocker = QtCore.QSignalBlocker(self._box)
        self._box.clear()
        self._box.addItems(([self._noneDisplay] if self._noneEnabled else []) + [node.GetName() for node in nodes])
        if self._addEnabled:
            types = [name.removeprefix("vtkMRML").removesuffix("Node") for name in self._nodeTypes]
            self._box.addItems([f"Create new {name}" for name in types])
        self._box.setCurrentIndex(self._ids.index(current_id) if current_id in self._ids else -1)
        blocker.unblock()

    def _set_current(self, node_id: str) -> None:
        if node_id == self._current_id:
            return
        self._current_id = node_id
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self.currentNodeValidityChanged.emit(node is not None)
        self.currentNodeIDChanged.emit(node_id)

    def _on_activated(self, index: int) -> None:
        if index >= len(self._ids):
            self.addNode(self._nodeTypes[index - len(self._ids)])
        else:
            self._set_current(self._ids[index])
        self.nodeActivated.emit(self.currentNode())
