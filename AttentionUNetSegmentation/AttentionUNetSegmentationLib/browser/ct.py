"""A CT from a file into the scene of a session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import slicer

from ..scene.mrml import matrix_to_vtk
from ..volume import Volume


@dataclass(frozen=True)
class LoadedCT:
    """A CT as it was read, and its node in the scene.

    Attributes:
        volume: What the engine segments: the same that ``attention-unet segment`` reads.
        node: What the views show.
        name: For the page and for downloads, without an ending.
        dicom: The folder of its images, if it is DICOM.
    """

    volume: Volume
    node: slicer.vtkMRMLScalarVolumeNode
    name: str
    dicom: Path | None = None


def put_into_scene(volume: Volume, name: str, dicom: Path | None = None) -> LoadedCT:
    """Empty the scene but for its views, and put a CT into it."""
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"):
        for node in slicer.util.getNodesByClass(kind):
            for display in [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]:
                slicer.mrmlScene.RemoveNode(display)
            slicer.mrmlScene.RemoveNode(node)
    matrix = matrix_to_vtk(volume.ijk_to_ras)
    node = slicer.util.addVolumeFromArray(volume.voxels, ijkToRAS=matrix, name=name)
    node.CreateDefaultDisplayNodes()
    return LoadedCT(volume, node, name, dicom)
