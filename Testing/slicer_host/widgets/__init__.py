"""Stand-ins for the few CTK and qMRML widgets that the module shows, on PySide6 and the real MRML scene.

Each has those documented properties, slots and signals of its namesake that the module uses: what is missing raises.
"""

import sys
import types

import slicer

from ..pythonqt.ui_loader import STAND_INS
from . import (  # noqa: F401  (importing a file registers its widgets)
    collapsible_button,
    mrml_widget,
    node_combo_box,
    range_widget,
    slider_widget,
)


def install() -> None:
    """Puts the ctk widgets into the module `ctk` and the Slicer widgets into `slicer`."""
    ctk = types.ModuleType("ctk", "Stand-ins for CTK widgets; part of slicer_host, not of 3D Slicer.")
    for name, cls in STAND_INS.items():
        setattr(ctk if name.startswith("ctk") else slicer, name, cls)
    sys.modules["ctk"] = ctk
