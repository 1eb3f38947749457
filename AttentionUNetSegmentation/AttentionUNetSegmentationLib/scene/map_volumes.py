"""Attention and probability maps as scalar volumes, in a folder under the CT. Called from the main thread only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ..volume import GateMeasure, Segmentation, Volume
from .map_colors import are_missing, attention_colors
from .mrml import MAP_ATTRIBUTE, PREFIX, grid_of_node, matrix_to_vtk, put_under, read_json, write_provenance
from .ownership import FRAME_ATTRIBUTE, TRANSFORM_ROLE, Fingerprint, frame_of_result, hash_of, users_transform
from .sequences import frames_of

MAP_ROLE = PREFIX + "Maps"  # segmentation -> its maps
MEASURES_ATTRIBUTE = PREFIX + "Figures"  # JSON, fields of GateMeasure, and the lowest and highest coefficient
WRITTEN_ATTRIBUTE = PREFIX + "Written"  # the fingerprint of what was written
PROBABILITY = "probability "  # begins the name of a probability map
PROBABILITY_COLORS = "vtkMRMLColorTableNodeRainbow"
LOW_THRESHOLD = 0.1  # below it a map is transparent: it would only darken the CT


@dataclass(frozen=True)
class MapImage:
    """A map ready to be put into the scene.

    Attributes:
        name: "s2-1" ..., "mean s2" ..., "probability pancreas" ...
        image: The voxels.
        ijk_to_ras: (4, 4) matrix in mm.
        measures: What ``MEASURES_ATTRIBUTE`` keeps, JSON types only; empty for probabilities.
    """

    name: str
    image: vtk.vtkImageData
    ijk_to_ras: np.ndarray
    measures: dict[str, Any]


def map_images(result: Segmentation) -> list[MapImage]:
    """The maps of a result: nothing of the scene is touched."""
    attention = [
        map_image(name, volume, measures_of(result.gate_measures[name], volume.voxels))
        for name, volume in result.attention.items()
    ]
    return attention + [map_image(PROBABILITY + organ, volume, {}) for organ, volume in result.probabilities.items()]


def measures_of(gate: GateMeasure, voxels: np.ndarray) -> dict[str, Any]:
    """A gate's measures as JSON types."""
    return {
        "mean": gate.mean,
        "std": gate.std,
        "low": float(voxels.min()),
        "high": float(voxels.max()),
        "share": gate.share,
        "volume_share": gate.volume_share,
    }


def map_image(name: str, volume: Volume, measures: dict[str, Any]) -> MapImage:
    """One map, ready for the scene."""
    image = vtk.vtkImageData()
    image.SetDimensions(*volume.voxels.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(volume.voxels, dtype=np.float32).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return MapImage(name, image, volume.ijk_to_ras, measures)


def write_maps(
    maps: list[MapImage],
    result: Segmentation,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    frame: str = "",
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Write maps as scalar volumes in the folder "<input> attention" under the input.

    Volumes of an earlier run of the same segmentation node are filled anew, those no longer wanted removed. Those that
    were changed since then are the user's: they stay as they are, and belong to the result no longer.

    Args:
        maps: What to write.
        result: The result they belong to.
        volume_node: The CT.
        segmentation_node: The organs.
        frame: Index value of the frame that they are of, if the CT shows one of a sequence.

    Returns:
        Name of the map -> volume node.
    """
    old = {name: node for name, node in maps_of(segmentation_node).items() if _is_own(node, volume_node)}
    with _restored_on_error(list(old.values())):
        nodes = {entry.name: _map_node(entry, old.get(entry.name), volume_node) for entry in maps}
        for node in nodes.values():
            write_provenance(node, result)
            node.SetAttribute(FRAME_ATTRIBUTE, frame)
        put_into_folder(list(nodes.values()), volume_node)
    segmentation_node.RemoveNodeReferenceIDs(MAP_ROLE)
    for node in nodes.values():
        segmentation_node.AddNodeReferenceID(MAP_ROLE, node.GetID())
    for name in set(old) - set(nodes):
        _remove(old[name])
    return nodes


@contextmanager
def _restored_on_error(nodes: list[slicer.vtkMRMLScalarVolumeNode]) -> Iterator[None]:
    """Gives volumes their voxels, place, name and attributes back if the block fails."""
    before = []
    for node in nodes:
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
        transforms = node.GetTransformNodeID(), node.GetNodeReferenceID(TRANSFORM_ROLE)
        before.append((node.GetImageData(), matrix, transforms, node.GetName(), attributes))
    try:
        yield
    except BaseException:
        for node, (image, matrix, (transform_id, written_under), name, attributes) in zip(nodes, before, strict=True):
            node.SetAndObserveImageData(image)
            node.SetIJKToRASMatrix(matrix)
            node.SetAndObserveTransformNodeID(transform_id)
            node.SetNodeReferenceID(TRANSFORM_ROLE, written_under)
            node.SetName(name)
            for attribute, value in attributes.items():
                node.SetAttribute(attribute, value)
        raise


def add_map(
    entry: MapImage,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add one map to those of a segmentation node."""
    node = _map_node(entry, None, volume_node)
    put_into_folder([node], volume_node)
    segmentation_node.AddNodeReferenceID(MAP_ROLE, node.GetID())
    return node


def maps_of(segmentation_node: slicer.vtkMRMLSegmentationNode | None) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """The maps that belong to a segmentation node, by name."""
    if segmentation_node is None:
        return {}
    nodes = [
        segmentation_node.GetNthNodeReference(MAP_ROLE, n)
        for n in range(segmentation_node.GetNumberOfNodeReferences(MAP_ROLE))
    ]
    return {node.GetAttribute(MAP_ATTRIBUTE): node for node in nodes if node is not None}


def frame_note(segmentation_node: slicer.vtkMRMLSegmentationNode | None) -> list[str]:
    """One sentence on which frame of a sequence a result is of, or its maps, if its organs are those of all frames."""
    if segmentation_node is not None and (frame := frame_of_result(segmentation_node)):
        return [f"organs and maps are of frame {frame} only"]
    frames = {node.GetAttribute(FRAME_ATTRIBUTE) for node in maps_of(segmentation_node).values()} - {None, ""}
    if not frames or frames_of(segmentation_node) is None:
        return []
    return [f"the maps are of frame {', '.join(sorted(frames))} only"]


def node_name(map_name: str, volume_node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """A map's name in the scene; what tells maps apart comes first, as slice views cut long names in the middle."""
    organ = map_name.removeprefix(PROBABILITY)
    what = f"{map_name} attention" if organ == map_name else f"{organ} probability"
    return f"{what}, {volume_node.GetName()}"


def map_measures(node: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    """What ``MEASURES_ATTRIBUTE`` keeps of a map; empty if nothing."""
    return read_json(node, MEASURES_ATTRIBUTE, {})


def put_into_folder(nodes: list[slicer.vtkMRMLNode], volume_node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Put nodes into the folder "<input> attention" under the input in the subject hierarchy."""
    if not nodes:
        return
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parent = hierarchy.GetItemByDataNode(volume_node) or hierarchy.GetSceneItemID()
    name = f"{volume_node.GetName()} attention"
    folder = hierarchy.GetItemChildWithName(parent, name)
    if not folder:
        folder = hierarchy.CreateFolderItem(parent, name)
        hierarchy.SetItemExpanded(folder, False)
    left = set()
    for node in nodes:
        if item := hierarchy.GetItemByDataNode(node):
            left.add(hierarchy.GetItemParent(item))
        put_under(folder, node)
    for item in left - {folder, parent, hierarchy.GetSceneItemID()}:
        data_node = hierarchy.GetItemDataNode(item)  # a folder has one once it was shown or hidden
        is_folder = data_node is None or data_node.IsA("vtkMRMLFolderDisplayNode")
        is_ours = is_folder and hierarchy.GetItemName(item).endswith(" attention")
        if is_ours and not hierarchy.GetNumberOfItemChildren(item):
            hierarchy.RemoveItem(item)


def _map_node(
    entry: MapImage,
    node: slicer.vtkMRMLScalarVolumeNode | None,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node with the map's voxels: the given one filled anew, or a new one."""
    if node is None:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetAttribute(MAP_ATTRIBUTE, entry.name)  # before observers of the scene see it
        node.SetName(_free_name(entry, node, volume_node))
        node = slicer.mrmlScene.AddNode(node)
    node.SetName(_free_name(entry, node, volume_node))
    node.SetAndObserveImageData(entry.image)
    node.SetIJKToRASMatrix(matrix_to_vtk(entry.ijk_to_ras))
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetNodeReferenceID(TRANSFORM_ROLE, volume_node.GetTransformNodeID())
    node.SetAttribute(MEASURES_ATTRIBUTE, json.dumps(entry.measures))
    node.SetAttribute(WRITTEN_ATTRIBUTE, str(_fingerprint(node, volume_node)))
    ensure_display(node)
    return node


def _free_name(
    entry: MapImage, node: slicer.vtkMRMLScalarVolumeNode, volume_node: slicer.vtkMRMLScalarVolumeNode
) -> str:
    """A map's name, with a number if maps of another result of the CT have that name."""
    name = node_name(entry.name, volume_node)
    if re.fullmatch(re.escape(name) + r"_\d+", node.GetName() or ""):
        return node.GetName()
    is_free = slicer.mrmlScene.GetFirstNodeByName(name) in (None, node)
    return name if is_free else slicer.mrmlScene.GenerateUniqueName(name)


def _is_own(node: slicer.vtkMRMLScalarVolumeNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a map is what was written, unchanged."""
    written = Fingerprint.read(node.GetAttribute(WRITTEN_ATTRIBUTE) or "")
    return written is not None and _fingerprint(node, volume_node).same_as(written)


def _fingerprint(node: slicer.vtkMRMLScalarVolumeNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> Fingerprint:
    image = node.GetImageData()
    is_empty = image is None or image.GetPointData().GetScalars() is None
    return Fingerprint(
        hash_of(node.GetAttribute(MAP_ATTRIBUTE)),
        hash_of(f"{node.GetName()}\n{users_transform(node, volume_node)}"),
        hash_of("" if is_empty else slicer.util.arrayFromVolume(node).data),
        None if is_empty else grid_of_node(node),
    )


def ensure_display(node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeDisplayNode:
    """A map's display node; what the user deleted of it, or of its colours, is made again."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    is_new = not display.GetAttribute(MAP_ATTRIBUTE)  # one that Slicer made, perhaps for a deleted one
    if is_new:
        display.SetAttribute(MAP_ATTRIBUTE, node.GetAttribute(MAP_ATTRIBUTE))
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, 1.0)
        display.AutoThresholdOff()
        display.SetThreshold(LOW_THRESHOLD, 1.0)
        display.ApplyThresholdOn()
    if is_new or are_missing(display.GetColorNode()):
        is_probability = node.GetAttribute(MAP_ATTRIBUTE).startswith(PROBABILITY)
        display.SetAndObserveColorNodeID(PROBABILITY_COLORS if is_probability else attention_colors().GetID())
    return display


def _remove(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Remove a map with its display and storage nodes."""
    parts = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())] + [node.GetStorageNode()]
    for part in [node, *parts]:
        if part is not None:
            slicer.mrmlScene.RemoveNode(part)
