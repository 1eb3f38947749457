"""The real C++ logics of the loadable modules, and the scene that they work on."""

from pathlib import Path

import slicer

from .color_files import write_color_files

# Module name -> class of its logic in slicer-core.
_LOGIC_CLASSES = {
    "Colors": "vtkSlicerColorLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}


def create_scene(home: Path):
    """Returns an empty scene with the nodes that the application adds at start, rooted in a folder."""
    scene = slicer.vtkMRMLScene()
    scene.SetRootDirectory(str(home))
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return scene


def create_application_logic(scene, home: Path):
    """Returns the application logic of a scene, and the objects that have to live as long as it does."""
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetHomeDirectory(str(home))
    logic.SetShareDirectory("share")
    write_color_files(home / "share" / "ColorFiles")
    logic.SetMRMLScene(scene)
    logic.SetTemporaryPath(str(home / "tmp"))
    remote, data_io = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(str(home / "cache"))
    logic.SetMRMLSceneDataIO(scene, remote, data_io)
    return logic, (remote, data_io)


def create_module_logics(application_logic, scene) -> dict[str, object]:
    """Returns one logic per loadable module, by the module's name, all observing the scene."""
    logics = {}
    for name, class_name in _LOGIC_CLASSES.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        if name == "Colors":
            application_logic.SetColorLogic(logic)
        application_logic.SetModuleLogic(name, logic)
        logics[name] = logic
    return logics
