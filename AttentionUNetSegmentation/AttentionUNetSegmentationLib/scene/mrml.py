"""MRML nodes <-> the engine's Volume and Segmentation. Called from Slicer's main thread only.

Results follow their input: voxels are read and written in the volume's own frame, and every result node gets the
input's parent transform, so it sits where the input sits, whatever the transform.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk

from ..devices import backend_name, device_name
from ..volume import Box, Grid, Segmentation, Volume, triple

PREFIX = "AttentionUNet."  # of the attributes, tags and reference roles that mark what belongs to a result
INPUT_ROLE = PREFIX + "Input"  # segmentation -> the CT it was made from
MAP_ATTRIBUTE = PREFIX + "Map"  # on map volumes: "s2-1" ..., "probability pancreas" ...
PROVENANCE_ATTRIBUTE = PREFIX + "Provenance"  # JSON, everything; the keys below are repeated one by one
WARNINGS_ATTRIBUTE = PREFIX + "Warnings"  # JSON list
PROVENANCE_KEYS = ("model", "model_version", "model_sha256", "device", "backend", "date", "engine_version")
LABELMAP = "Binary labelmap"
SURFACE = "Closed surface"


def matrix_to_numpy(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """(4, 4) array of a VTK matrix."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrix_to_vtk(matrix: np.ndarray) -> vtk.vtkMatrix4x4:
    """VTK matrix of a (4, 4) array."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result


def volume_from_node(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """A copy of a volume node's voxels with its IJK-to-RAS matrix (the parent transform is not applied).

    Raises:
        ValueError: If the node is no scalar volume, a label map, a map of this module, or has no voxels.
    """
    name = node.GetName()
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise ValueError(f"{name!r} is a {node.GetNodeTagName()}; a CT volume is needed")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise ValueError(f"{name!r} is a label map; a CT in HU is needed")
    if node.GetAttribute(MAP_ATTRIBUTE):
        raise ValueError(f"{name!r} is a map made by this module; a CT in HU is needed")
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or not image.GetNumberOfPoints():
        raise ValueError(f"the volume {name!r} has no voxels")
    if image.GetNumberOfScalarComponents() != 1 or node.IsA("vtkMRMLTensorVolumeNode"):
        raise ValueError(f"{name!r} is a colour or vector image; a CT in HU is needed")
    voxels = slicer.util.arrayFromVolume(node).copy()
    return Volume(voxels, grid_of_node(node).ijk_to_ras, name, modality_of_node(node))


def ijk_to_ras_of(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """(4, 4) IJK-to-RAS matrix of a volume node in mm, in its own frame."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix_to_numpy(matrix)


def grid_of_node(node: slicer.vtkMRMLScalarVolumeNode) -> Grid:
    """Where a volume node's voxels lie, in its own frame."""
    return Grid(node.GetImageData().GetDimensions()[::-1], ijk_to_ras_of(node))


def modality_of_node(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The DICOM modality that the node was loaded with, "" if it came from another kind of file."""
    if node.GetScene() is not slicer.mrmlScene:  # a frame of a sequence
        return ""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node)
    return hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""


def input_volumes() -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The scalar volumes in the scene, without this module's maps."""
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetAttribute(MAP_ATTRIBUTE)
    ]


def input_candidates() -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The scalar volumes in the scene that may be a CT; those that are one by DICOM, if there are several."""
    nodes = input_volumes()
    return nodes if len(nodes) < 2 else [node for node in nodes if modality_of_node(node) == "CT"]


def map_node_ids() -> list[str]:
    """IDs of all maps in the scene, of whatever result."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node.GetID() for node in nodes if node.GetAttribute(MAP_ATTRIBUTE)]


def transform_between(
    source: slicer.vtkMRMLTransformableNode | None, target: slicer.vtkMRMLTransformableNode | None
) -> vtk.vtkGeneralTransform:
    """From the frame of one node to that of another; None stands for the world."""
    nodes = [node.GetParentTransformNode() if node is not None else None for node in (source, target)]
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*nodes, transform)
    return transform


def turn_and_deformation(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float]:
    """What the parent transform does to a volume beyond a shift, as a rigid motion and what is left.

    Returns:
        The angle of the motion in degrees, and the largest distance from it in mm.
    """
    grid = grid_of_node(node)
    if node.GetParentTransformNode() is None:
        return 0.0, 0.0
    k, j, i = (
        np.linspace(0, size - 1, min(size, count)) for size, count in zip(grid.shape_kji, (200, 3, 3), strict=True)
    )
    before = grid.ras_of(np.stack(np.meshgrid(i, j, k, indexing="ij"), axis=-1).reshape(-1, 3))
    to_world = transform_between(node, None)
    after = np.array([to_world.TransformPoint(point) for point in before])
    before, after = before - before.mean(axis=0), after - after.mean(axis=0)
    left, _, right = np.linalg.svd(before.T @ after)
    rotation = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
    angle = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    return float(angle), float(np.linalg.norm(before @ rotation - after, axis=1).max())


def roi_box(roi: slicer.vtkMRMLMarkupsROINode, node: slicer.vtkMRMLScalarVolumeNode) -> Box:
    """The part of a volume that a ROI covers, rotated or not: the box of its corners in the volume's indices.

    Raises:
        ValueError: If the ROI is empty, or does not overlap with the volume.
    """
    size = roi.GetSize()
    if min(size) <= 0:
        raise ValueError(f"the ROI {roi.GetName()!r} is empty; its size is {' x '.join(f'{x:g}' for x in size)} mm")
    corners = np.array(np.meshgrid(*[(-length / 2, length / 2) for length in size], indexing="ij")).reshape(3, -1).T
    to_world = matrix_to_numpy(roi.GetObjectToWorldMatrix())
    corners = corners @ to_world[:3, :3].T + to_world[:3, 3]
    to_local = transform_between(None, node)
    grid = grid_of_node(node)
    ijk = grid.ijk_of(np.array([to_local.TransformPoint(corner) for corner in corners]))
    box = []
    for axis, length in enumerate(grid.shape_kji):
        along = ijk[:, 2 - axis]
        start, stop = max(0, int(np.ceil(along.min() - 0.5))), min(length, int(np.floor(along.max() + 0.5)) + 1)
        if start >= stop:
            raise ValueError(f"the ROI {roi.GetName()!r} lies outside the volume {node.GetName()!r}")
        box.append(slice(start, stop))
    return triple(box)


def fit_roi(roi: slicer.vtkMRMLMarkupsROINode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Make a ROI enclose a volume, as a start for the user to change."""
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    roi.SetXYZ(*((low + high) / 2))
    roi.SetSize(*(high - low))


def crop_volume(volume: Volume, box: Box) -> Volume:
    """A copy of the part of a volume inside a box, which knows where the box cuts it."""
    cut_faces = [(axis, 0) for axis, part in enumerate(box) if part.start > 0]
    cut_faces += [(axis, -1) for axis, part in enumerate(box) if part.stop < volume.voxels.shape[axis]]
    return dataclasses.replace(
        volume,
        voxels=np.ascontiguousarray(volume.voxels[box]),
        ijk_to_ras=volume.grid.crop_to(box).ijk_to_ras,
        cut_faces=tuple(cut_faces),
    )


@contextmanager
def nodes_removed_on_error() -> Iterator[None]:
    """Removes what the block added to the scene, nodes and folders, if the block fails.

    Subject hierarchy items of nodes go with their nodes. Those of segments are left alone: Slicer gives a segment that
    was put back a new item, and removing that would remove the segment.
    """
    nodes_before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    items_before = set(_hierarchy_items())
    try:
        yield
    except BaseException:
        for node in slicer.util.getNodesByClass("vtkMRMLNode"):
            if node.GetID() not in nodes_before and node.GetScene() is slicer.mrmlScene:
                slicer.mrmlScene.RemoveNode(node)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        segment_id = slicer.vtkMRMLSegmentationNode.GetSegmentIDAttributeName()
        for item in set(_hierarchy_items()) - items_before:
            if hierarchy.GetItemDataNode(item) is None and not hierarchy.HasItemAttribute(item, segment_id):
                hierarchy.RemoveItem(item, False, False)  # what the user moved into it meanwhile stays
        raise


def put_under(parent: int, node: slicer.vtkMRMLNode) -> None:
    """Put a node under an item of the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:  # Slicer has not come to it yet
        hierarchy.CreateItem(parent, node)


def _hierarchy_items() -> list[int]:
    """All items of the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    return [items.GetId(n) for n in range(items.GetNumberOfIds())]


def write_provenance(node: slicer.vtkMRMLNode, result: Segmentation) -> None:
    """Keep in a node's attributes what made it."""
    for key in PROVENANCE_KEYS:
        node.SetAttribute(PREFIX + key, str(result.provenance.get(key, "")))
    node.SetAttribute(PREFIX + "seconds", str(result.provenance.get("seconds", {}).get("total", "")))
    node.SetAttribute(PROVENANCE_ATTRIBUTE, json.dumps(result.provenance))
    node.SetAttribute(WARNINGS_ATTRIBUTE, json.dumps(result.warnings))


def read_json(node: slicer.vtkMRMLNode, attribute: str, otherwise: Any) -> Any:
    """The content of an attribute that this module wrote as JSON; ``otherwise`` if the node lacks it."""
    text = node.GetAttribute(attribute)
    return json.loads(text) if text else otherwise


def result_line(node: slicer.vtkMRMLSegmentationNode | None) -> str:
    """How a result came about: "9.3 s on CPU (OpenVINO), model abdomen-ct 0.1.0"; "" if it is none of this module."""
    if node is None or not node.GetAttribute(PREFIX + "model"):
        return ""
    keys = ("seconds", "device", "backend", "model", "model_version")
    seconds, device, backend, model, version = (node.GetAttribute(PREFIX + key) or "" for key in keys)
    where = device_name(device) + (f" ({backend_name(backend)})" if backend else "")
    return f"{float(seconds or 'nan'):.1f} s on {where}, model {model} {version}"


def provenance_text(node: slicer.vtkMRMLSegmentationNode | None) -> str:
    """What tells the run that a result is of from others, as text; "" if it is none of this module."""
    return (node.GetAttribute(PROVENANCE_ATTRIBUTE) or "") if node is not None else ""


def result_notes(node: slicer.vtkMRMLSegmentationNode | None) -> list[str]:
    """The warnings that came with a result."""
    return read_json(node, WARNINGS_ATTRIBUTE, []) if node is not None else []


def table_column(name: str, texts: Sequence[str], is_text: bool) -> vtk.vtkStringArray | vtk.vtkDoubleArray:
    """A column of a table node; numbers can be plotted, those that are empty are NaN."""
    column = vtk.vtkStringArray() if is_text else vtk.vtkDoubleArray()
    column.SetName(name)
    for text in texts:
        column.InsertNextValue(text if is_text else float(text or "nan"))
    return column
