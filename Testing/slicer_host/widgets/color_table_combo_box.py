"""qMRMLColorTableComboBox: selects a colour table, hidden ones included."""

from .node_combo_box import qMRMLNodeComboBox
from .stand_in import stand_in


@stand_in
class qMRMLColorTableComboBox(qMRMLNodeComboBox):
    """A node selector set up for colour nodes."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setNodeTypes(("vtkMRMLColorTableNode", "vtkMRMLProceduralColorNode"))
        self.setShowHidden(True)
        self.setAddEnabled(False)
        self.setRemoveEnabled(False)
