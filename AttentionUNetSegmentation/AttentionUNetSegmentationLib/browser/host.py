"""Slicer's real scene and logics without the application: what ``scene/`` finds under ``slicer``, from slicer-core."""

from __future__ import annotations

from pathlib import Path

import slicer
from trame_slicer.core import SlicerApp


def start(folder: Path) -> SlicerApp:
    """The scene of this process, which ``slicer.mrmlScene`` is from now on.

    Args:
        folder: Where scenes are written, and files that Slicer keeps for a while.
    """
    app = SlicerApp()
    scene_io = (slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic())
    scene_io[0].GetCacheManager().SetRemoteCacheDirectory(str(folder))
    app.app_logic.SetMRMLSceneDataIO(app.scene, *scene_io)
    app.app_logic.SetTemporaryPath(str(folder))
    app.scene_io = scene_io  # has to live as long as the scene
    app.scene.SetRootDirectory(str(folder))
    slicer.mrmlScene = app.scene
    return app
