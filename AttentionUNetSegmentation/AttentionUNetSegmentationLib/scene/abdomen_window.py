"""The window in which readers look at an abdomen, for a CT whose own is automatic. Called from the main thread only."""

from __future__ import annotations

import slicer

from ..imaging.plausibility import is_ct_in_hu
from .mrml import PREFIX, volume_from_node

WINDOW_HU, LEVEL_HU = 400.0, 60.0
WINDOW_ATTRIBUTE = PREFIX + "AbdomenWindow"  # on the display node whose window was set here


def show_abdomen(node: slicer.vtkMRMLScalarVolumeNode | None, wanted: bool) -> None:
    """Set the abdomen window in place of an automatic one, or give the automatic one back.

    A window that the user chose stays, as does that of a volume that does not look like a CT in HU. A CT whose window
    was set once is left alone, so that the user can make it automatic again.

    Args:
        node: The CT; None does nothing.
        wanted: Whether to set the window, else an abdomen window that was set here becomes automatic again.
    """
    display = node.GetDisplayNode() if node is not None else None
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        return
    was_set = bool(display.GetAttribute(WINDOW_ATTRIBUTE))
    if wanted and not was_set and display.GetAutoWindowLevel() and _is_ct(node):
        display.AutoWindowLevelOff()
        display.SetWindowLevel(WINDOW_HU, LEVEL_HU)
        display.SetAttribute(WINDOW_ATTRIBUTE, "1")
    elif was_set and not wanted:
        display.RemoveAttribute(WINDOW_ATTRIBUTE)
        if (display.GetWindow(), display.GetLevel()) == (WINDOW_HU, LEVEL_HU):
            display.AutoWindowLevelOn()


def _is_ct(node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    try:
        return is_ct_in_hu(volume_from_node(node))
    except ValueError:  # no voxels, or more than one value each: a run says so
        return False
