"""Loading and saving: the application's IO manager over the real storage nodes and logics."""

from pathlib import Path

import slicer
import vtk

from .pythonqt.binding import QtCore
from .widgets.stand_in import stand_in

_FILE_TYPES = {".mrb": "SceneFile", ".nrrd": "VolumeFile"}
_AUTO_WINDOW_LEVEL = 8  # bit of the options of vtkSlicerVolumesLogic.AddArchetypeVolume, set by default


def _load_scene(path: str, properties: dict):
    return slicer.mrmlScene if slicer.mrmlScene.ReadFromMRB(path, bool(properties.get("clear", False))) else None


def _load_volume(path: str, properties: dict):
    name = properties.get("name") or Path(path).stem
    return slicer.modules.volumes.logic().AddArchetypeVolume(path, name, _AUTO_WINDOW_LEVEL)


_LOADERS = {"SceneFile": _load_scene, "VolumeFile": _load_volume}


@stand_in
class qSlicerCoreIOManager(QtCore.QObject):
    """What slicer.util's functions call that load a volume, and load and save a scene."""

    def fileType(self, path) -> str:
        """Returns e.g. VolumeFile; NoFile where the extension is not known."""
        return _FILE_TYPES.get(Path(path).suffix, "NoFile")

    def loadNodes(self, file_type: str, properties: dict, loaded, messages) -> bool:
        """Loads one file into the scene; adds the node to `loaded` (a scene adds none)."""
        path = str(properties["fileName"])
        node = _LOADERS[file_type](path, properties) if Path(path).exists() else None
        if node is None:
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"could not read {path} as {file_type}")
            return False
        if node is not slicer.mrmlScene:
            loaded.AddItem(node)
        return True

    def saveNodes(self, file_type: str, properties: dict, messages) -> bool:
        """Writes the scene.

        Raises:
            NotImplementedError: anything but an .mrb is asked for.
        """
        path = str(properties["fileName"])
        if _FILE_TYPES.get(Path(path).suffix) != "SceneFile":
            raise NotImplementedError(f"the host writes .mrb files only, got {path}")
        return bool(slicer.mrmlScene.WriteToMRB(path, None, messages))
