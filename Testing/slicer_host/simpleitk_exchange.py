"""`sitkUtils`: volumes between the scene and SimpleITK, which counts in LPS instead of RAS."""

import numpy as np
import SimpleITK
import slicer
import vtk

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def PullVolumeFromSlicer(nodeObjectOrName) -> SimpleITK.Image:
    """Returns a volume node's image, with its geometry (without its parent transform)."""
    node = nodeObjectOrName
    if not isinstance(node, slicer.vtkMRMLNode):
        node = slicer.util.getNode(nodeObjectOrName)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijk_to_lps = _FLIP @ slicer.util.arrayFromVTKMatrix(matrix)
    spacing_mm = np.linalg.norm(ijk_to_lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(slicer.util.arrayFromVolume(node))
    image.SetSpacing(spacing_mm.tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / spacing_mm).ravel().tolist())
    return image


def PushVolumeToSlicer(sitkimage, targetNode=None, name=None, className="vtkMRMLScalarVolumeNode"):
    """Writes an image into a volume node, a new one by default, and returns the node."""
    if targetNode is None:
        unique_name = slicer.mrmlScene.GenerateUniqueName(name or "Volume")
        targetNode = slicer.mrmlScene.AddNewNodeByClass(className, unique_name)
        targetNode.CreateDefaultDisplayNodes()
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3] = np.reshape(sitkimage.GetDirection(), (3, 3)) * np.array(sitkimage.GetSpacing())
    ijk_to_lps[:3, 3] = sitkimage.GetOrigin()
    slicer.util.updateVolumeFromArray(targetNode, SimpleITK.GetArrayFromImage(sitkimage))
    targetNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_FLIP @ ijk_to_lps))
    return targetNode
