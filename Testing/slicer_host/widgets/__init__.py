"""Stand-ins for the few CTK and qMRML widgets that scripted modules use, on PySide6 and the real MRML scene.

Each has the documented properties, slots and signals of its namesake, and no more: what is missing raises.
"""

import sys
import types

import slicer

from ..pythonqt.ui_loader import STAND_INS
from . import (  # noqa: F401  (importing a file registers its widgets)
    boxes,
    collapsible_button,
    color_table_combo_box,
    mrml_number_widgets,
    mrml_widget,
    node_combo_box,
    path_line_edit,
    range_widget,
    segments_table_view,
    show_3d_button,
    slider_widget,
)


def install() -> None:
    """Puts the ctk widgets into the module `ctk` and the Slicer widgets into `slicer`."""
    ctk = types.ModuleType("ctk", "Stand-ins for CTK widgets; part of slicer_host, not of 3D Slicer.")
    for name, cls in STAND_INS.items():
        setattr(ctk if name.startswith("ctk") else slicer, name, cls)
    sys.modules["ctk"] = ctk
