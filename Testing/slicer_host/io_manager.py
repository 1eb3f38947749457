"""Loading and saving: the application's IO manager over the real storage nodes and logics."""

import logging
from collections.abc import Callable
from pathlib import Path

import slicer
import vtk

from .pythonqt.binding import QtCore
from .widgets.stand_in import stand_in

_FILE_TYPES = {
    "SceneFile": (".mrml", ".mrb"),
    "SegmentationFile": (".seg.nrrd", ".seg.nhdr"),
    "VolumeFile": (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm"),
    "ModelFile": (".vtk", ".vtp", ".stl", ".obj", ".ply"),
    "MarkupsFile": (".mrk.json",),
    "TransformFile": (".h5", ".tfm"),
    "TableFile": (".csv", ".tsv"),
    "TextFile": (".txt",),
    "ColorTableFile": (".ctbl",),
}
_STORED_BY_STORAGE_NODE = {
    "TransformFile": "vtkMRMLTransformNode",
    "TableFile": "vtkMRMLTableNode",
    "TextFile": "vtkMRMLTextNode",
}
_TYPE_OF_NODE = {
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLVolumeNode": "VolumeFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLMarkupsNode": "MarkupsFile",
    "vtkMRMLColorNode": "ColorTableFile",
    **{node_class: file_type for file_type, node_class in _STORED_BY_STORAGE_NODE.items()},
}
# Bits of the options of vtkSlicerVolumesLogic.AddArchetypeVolume, by the name of the loading property.
_VOLUME_OPTIONS = {"labelmap": 1, "center": 2, "singleFile": 4, "autoWindowLevel": 8, "discardOrientation": 16}


def _known_extension(path: str) -> str:
    extensions = sorted((end for ends in _FILE_TYPES.values() for end in ends), key=len, reverse=True)
    return next((end for end in extensions if path.lower().endswith(end)), "")


def _load_volume(path: str, name: str, properties: dict):
    settings = {"autoWindowLevel": True} | properties
    options = sum(bit for key, bit in _VOLUME_OPTIONS.items() if settings.get(key))
    return slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)


def _load_segmentation(path: str, name: str, properties: dict):
    return slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)


def _load_model(path: str, name: str, properties: dict):
    node = slicer.modules.models.logic().AddModel(path)
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    return node


def _load_color_table(path: str, name: str, properties: dict):
    return slicer.modules.colors.logic().LoadColorFile(path, name)


def _load_markups(path: str, name: str, properties: dict):
    node_id = slicer.modules.markups.logic().LoadMarkups(path, name)
    return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None


def _by_storage_node(node_class: str) -> Callable:
    def load(path: str, name: str, properties: dict):
        scene = slicer.mrmlScene
        node = scene.AddNewNodeByClass(node_class, scene.GenerateUniqueName(name))
        node.AddDefaultStorageNode(path)
        if node.GetStorageNode().ReadData(node):
            return node
        scene.RemoveNode(node)
        return None

    return load


def _load_scene(path: str, name: str, properties: dict):
    scene, clear = slicer.mrmlScene, bool(properties.get("clear", False))
    if path.lower().endswith(".mrb"):
        return scene if scene.ReadFromMRB(path, clear) else None
    scene.SetURL(path)
    return scene if (scene.Connect() if clear else scene.Import()) else None


_LOADERS = {
    "SceneFile": _load_scene,
    "VolumeFile": _load_volume,
    "SegmentationFile": _load_segmentation,
    "ModelFile": _load_model,
    "MarkupsFile": _load_markups,
    "ColorTableFile": _load_color_table,
} | {file_type: _by_storage_node(node_class) for file_type, node_class in _STORED_BY_STORAGE_NODE.items()}


@stand_in
class qSlicerCoreIOManager(QtCore.QObject):
    """What slicer.util's loading and saving functions call."""

    newFileLoaded = QtCore.Signal(object)
    CPP_SIGNALS = {"newFileLoaded(qSlicerIO::IOProperties)": "newFileLoaded"}

    def fileType(self, path) -> str:
        """Returns e.g. VolumeFile; NoFile where the extension is not known."""
        extension = _known_extension(str(path))
        return next((name for name, ends in _FILE_TYPES.items() if extension in ends), "NoFile")

    def fileWriterFileType(self, node, file_format: str = "") -> str:
        return next((kind for name, kind in _TYPE_OF_NODE.items() if node.IsA(name)), "NoFile")

    def fileWriterExtensions(self, node) -> list[str]:
        types = self._temporary_storage(node).GetSupportedWriteFileTypes()
        return [types.GetValue(index) for index in range(types.GetNumberOfValues())]

    def extractKnownExtension(self, path, node) -> str:
        return self._temporary_storage(node).GetSupportedFileExtension(str(path)) or Path(path).suffix

    def loadNodes(self, file_type: str, properties: dict, loaded=None, messages=None) -> bool:
        """Loads one file into the scene; adds the node to `loaded` (a scene adds none)."""
        path = str(properties["fileName"])
        name = properties.get("name") or Path(path).name.removesuffix(_known_extension(path))
        node = None
        if file_type not in _LOADERS:
            logging.error("no reader for file type %s", file_type)
        elif Path(path).exists():
            node = _LOADERS[file_type](path, name, properties)
        if node is None:
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"could not read {path} as {file_type}")
            return False
        if loaded is not None and node is not slicer.mrmlScene:
            loaded.AddItem(node)
        self.newFileLoaded.emit(properties)
        return True

    def saveNodes(self, file_type: str, properties: dict, messages=None) -> bool:
        """Writes the scene, or one node together with its storage node's file name."""
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return self._save_scene(path, messages)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        return self._write(node, node.GetStorageNode(), path, properties)

    def exportNodes(self, node_ids, paths, properties: dict, world=False, messages=None) -> bool:
        """Writes nodes without touching their storage nodes.

        Raises:
            NotImplementedError: `world` is asked for; the host does not harden transforms.
        """
        if world:
            raise NotImplementedError("exporting in world coordinates is not in the host")
        nodes = [slicer.mrmlScene.GetNodeByID(node_id) for node_id in node_ids]
        written = [
            self._write(node, self._temporary_storage(node), str(path), properties)
            for node, path in zip(nodes, paths, strict=True)
        ]
        return all(written)

    def _save_scene(self, path: str, messages) -> bool:
        scene = slicer.mrmlScene
        messages = messages or slicer.vtkMRMLMessageCollection()
        if path.lower().endswith(".mrb"):
            return bool(scene.WriteToMRB(path, None, messages))
        if not path.lower().endswith(".mrml"):
            return bool(scene.SaveSceneToSlicerDataBundleDirectory(path, None))
        scene.SetRootDirectory(str(Path(path).resolve().parent))
        scene.SetURL(path)
        return bool(scene.Commit(path, messages))

    def _temporary_storage(self, node):
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(slicer.mrmlScene)
        return storage

    def _write(self, node, storage, path: str, properties: dict) -> bool:
        storage.SetFileName(path)
        storage.SetUseCompression(int(properties.get("useCompression", 1)))
        return bool(storage.WriteData(node))
