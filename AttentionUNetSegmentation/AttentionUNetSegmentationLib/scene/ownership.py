"""Whose a segment or a map is: the module's own only while its voxels, their place and its name are what a run wrote.

A tag keeps a fingerprint of what was written; it is saved and loaded with the segment, and copied with it. So the
fingerprint covers the segment's ID and a random one of the result, too: node IDs change when a scene is imported. It
does not depend on how a labelmap is cropped or shared. Called from Slicer's main thread only.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..volume import Grid, Volume, nonzero_box, triple
from .mrml import INPUT_ROLE, LABELMAP, PREFIX, crop_volume, matrix_to_numpy
from .sequences import Frames, frames_of

ORGAN_TAG = PREFIX + "Organ"
WRITTEN_TAG = PREFIX + "Written"  # the fingerprint of what a run wrote
RESULT_ATTRIBUTE = PREFIX + "Result"  # a random ID; a clone has it, too
RESULT_ROLE = PREFIX + "Result"  # result -> itself; a copy refers to the original or to nothing
TRANSFORM_ROLE = PREFIX + "Transform"  # part of a result -> the transform that it was written under, with its CT
FRAME_ATTRIBUTE = PREFIX + "Frame"  # index value of the frame that a result or map is of; "" for a single CT, or all
STATUS_TAG = "Segmentation.Status"  # of Slicer's module Segmentations


class Whose(Enum):
    """What a run may do with a segment."""

    OWN = "what a run wrote, unchanged: the next run replaces it"
    EDITED = "what a run wrote, changed since then, or not known to be unchanged: replaced only on request"
    KEPT = "anything else, copies of results too: never removed"


@dataclass(frozen=True)
class Fingerprint:
    """What a segment or a map is at some moment.

    Attributes:
        identity: Hash of what it is for the module: of a segment, its ID and its result's.
        name: Hash of its name, of a segment's terminology and status, and of the user's transform.
        voxels: Hash of its voxels; of a segmentation that is made of surfaces, of their state in this session.
        grid: Where the voxels lie, cropped to the segment; None if it is empty.
    """

    identity: str
    name: str
    voxels: str
    grid: Grid | None

    def __str__(self) -> str:
        numbers = [] if self.grid is None else [*self.grid.shape_kji, *self.grid.ijk_to_ras[:3].ravel()]
        return " ".join([self.identity, self.name, self.voxels, *(f"{number:.10g}" for number in numbers)])

    @classmethod
    def read(cls, text: str) -> Fingerprint | None:
        """The fingerprint that a text holds; None if there is none that can be read."""
        texts = text.split()
        if len(texts) not in (3, 18):
            return None
        try:
            grid = Grid(triple(int(x) for x in texts[3:6]), _matrix(texts[6:])) if len(texts) > 3 else None
        except ValueError:
            return None
        return cls(texts[0], texts[1], texts[2], grid)

    def has_voxels_of(self, other: Fingerprint) -> bool:
        """Whether both have the same voxels at the same place."""
        if self.grid is None or other.grid is None:
            return self.grid is other.grid and self.voxels == other.voxels
        return self.voxels == other.voxels and self.grid.same_as(other.grid)

    def same_as(self, other: Fingerprint) -> bool:
        """Whether nothing differs."""
        return (self.identity, self.name) == (other.identity, other.name) and self.has_voxels_of(other)


def organ_segments(node: slicer.vtkMRMLSegmentationNode) -> list[tuple[str, slicer.vtkSegment]]:
    """(ID, segment) of the organs: what a run wrote, edited or not, and copies of it."""
    segmentation = node.GetSegmentation()
    pairs = [(segment_id, segmentation.GetSegment(segment_id)) for segment_id in segment_ids(segmentation)]
    return [pair for pair in pairs if tag(pair[1], ORGAN_TAG)]


def segment_ids(segmentation: slicer.vtkSegmentation) -> list[str]:
    """IDs of all segments, in order."""
    return [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]


def tag(segment: slicer.vtkSegment, name: str) -> str:
    """A segment's tag, "" if it lacks it."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def default_id(organ_name: str) -> str:
    """The ID that an organ's segment gets if it is free."""
    return organ_name.replace(" ", "_")


def voxels_of(segment: slicer.vtkSegment) -> Volume | None:
    """A segment's own voxels, bool, in its node's frame, cropped to what it covers; None without any."""
    image, grid = segment.GetRepresentation(LABELMAP), _labelmap_grid(segment)
    if grid is None:
        return None
    scalars = vtk_to_numpy(image.GetPointData().GetScalars())
    mask = scalars.reshape(grid.shape_kji) == segment.GetLabelValue()
    box = nonzero_box(mask)
    if box is None:
        return None
    return crop_volume(Volume(mask, grid.ijk_to_ras, segment.GetName()), box)


def _labelmap_grid(segment: slicer.vtkSegment) -> Grid | None:
    """Where the labelmap lies that a segment has for itself or shares with others; None if it has no voxels."""
    image = segment.GetRepresentation(LABELMAP)
    if image is None or image.GetPointData().GetScalars() is None or not image.GetNumberOfPoints():
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    ijk_to_ras = matrix_to_numpy(matrix)
    ijk_to_ras[:3, 3] += ijk_to_ras[:3, :3] @ image.GetExtent()[::2]
    return Grid(image.GetDimensions()[::-1], ijk_to_ras)


def mark_result(node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Remember that a node holds the result of a CT."""
    node.SetNodeReferenceID(INPUT_ROLE, volume_node.GetID())
    node.SetNodeReferenceID(RESULT_ROLE, node.GetID())
    node.SetNodeReferenceID(TRANSFORM_ROLE, volume_node.GetTransformNodeID())
    if not node.GetAttribute(RESULT_ATTRIBUTE):
        node.SetAttribute(RESULT_ATTRIBUTE, uuid.uuid4().hex)


def holds_other_result(
    node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode | None
) -> bool:
    """Whether a node holds the result of another CT, or of one that is gone, or a copy of a result."""
    volume_of_node = node.GetNodeReference(INPUT_ROLE)
    if node.GetAttribute(RESULT_ATTRIBUTE) and node.GetNodeReferenceID(RESULT_ROLE) != node.GetID():
        return True  # a copy, of which the original may be gone
    return volume_of_node is not volume_node and (volume_of_node is not None or bool(organ_segments(node)))


def latest_result(volume_node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode | None:
    """The newest segmentation node that holds the result of a CT; None if there is none."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    own = [node for node in nodes if node.GetNodeReference(INPUT_ROLE) is volume_node]
    return next((node for node in reversed(own) if not holds_other_result(node, volume_node)), None)


def frame_of_result(node: slicer.vtkMRMLSegmentationNode) -> str:
    """Index value of the frame that a result is of, if its CT shows frames of a sequence and the others have none."""
    frames = frames_of(node.GetNodeReference(INPUT_ROLE))
    return (node.GetAttribute(FRAME_ATTRIBUTE) or "") if frames is not None and not frames.results(node) else ""


def users_transform(node: slicer.vtkMRMLTransformableNode, volume_node: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """ID of the parent transform that the user put on a part of a result; "" if it has its CT's, or none.

    The CT's at the time of the run counts too: when it is hardened on the CT alone, the result stays under it.
    """
    transform = node.GetParentTransformNode()
    of_ct = volume_node.GetParentTransformNode() if volume_node is not None else None
    is_users = transform is not None and transform not in (of_ct, node.GetNodeReference(TRANSFORM_ROLE))
    return transform.GetID() if is_users else ""


def mark_written(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
    """Remember that a segment is now what a run wrote; its node is marked as a result, in its CT's frame."""
    written = _fingerprint(node.GetSegmentation(), segment_id, node)
    node.GetSegmentation().GetSegment(segment_id).SetTag(WRITTEN_TAG, str(written))


def has_written_voxels(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """Whether a segment's voxels are those that a run wrote, so that the measures in its tags are true."""
    written = _written(node.GetSegmentation().GetSegment(segment_id))
    return written is not None and _fingerprint(node.GetSegmentation(), segment_id, node).has_voxels_of(written)


def replaceable_ids(node: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """IDs of the segments that a run wrote, edited or not; copies of them are not among them."""
    segmentation = node.GetSegmentation()
    return [each for each in segment_ids(segmentation) if _is_original(segmentation.GetSegment(each), each, node)]


def edited_segments(
    node: slicer.vtkMRMLSegmentationNode, frames: Frames | None = None
) -> list[tuple[str, Fingerprint]]:
    """(name, what it is now) of every segment that is ``Whose.EDITED``.

    Args:
        node: The segmentation.
        frames: Of a sequence of CTs whose results the node shows: their segments are looked at as well.
    """
    return [
        (segmentation.GetSegment(segment_id).GetName(), _fingerprint(segmentation, segment_id, node))
        for segmentation, segment_id, whose in _segments(node, frames)
        if whose is Whose.EDITED
    ]


def has_kept_segments(node: slicer.vtkMRMLSegmentationNode, frames: Frames | None = None) -> bool:
    """Whether any segment is ``Whose.KEPT``; see ``edited_segments``."""
    return any(whose is Whose.KEPT for _, _, whose in _segments(node, frames))


def kept_grids(node: slicer.vtkMRMLSegmentationNode) -> list[Grid]:
    """Where the labelmaps of segments lie that are ``Whose.KEPT``."""
    kept = [segmentation.GetSegment(each) for segmentation, each, whose in _segments(node, None) if whose is Whose.KEPT]
    return [grid for segment in kept if (grid := _labelmap_grid(segment)) is not None]


def _segments(
    node: slicer.vtkMRMLSegmentationNode, frames: Frames | None
) -> Iterator[tuple[slicer.vtkSegmentation, str, Whose]]:
    nodes = [node, *(frames.results(node).values() if frames is not None else [])]
    for segmentation in (each.GetSegmentation() for each in nodes):
        for segment_id in segment_ids(segmentation):
            yield segmentation, segment_id, _whose(segmentation, segment_id, node)


def _whose(segmentation: slicer.vtkSegmentation, segment_id: str, node: slicer.vtkMRMLSegmentationNode) -> Whose:
    segment = segmentation.GetSegment(segment_id)
    if not _is_original(segment, segment_id, node):
        return Whose.KEPT
    written = _written(segment)
    is_own = written is not None and _fingerprint(segmentation, segment_id, node).same_as(written)
    return Whose.OWN if is_own else Whose.EDITED


def _is_original(segment: slicer.vtkSegment, segment_id: str, node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a segment is the one that a run wrote: a copy has its tags, but another ID, or lies in another node."""
    organ, written = tag(segment, ORGAN_TAG), _written(segment)
    if written is None:  # of an older version
        return bool(organ) and segment_id == default_id(organ)
    return bool(organ) and written.identity == _identity(segment_id, node)


def _written(segment: slicer.vtkSegment) -> Fingerprint | None:
    """The fingerprint in a segment's tag; None if there is none that can be read."""
    return Fingerprint.read(tag(segment, WRITTEN_TAG))


def _matrix(texts: list[str]) -> np.ndarray:
    return np.vstack([np.array([float(x) for x in texts]).reshape(3, 4), [0, 0, 0, 1]])


def _identity(segment_id: str, node: slicer.vtkMRMLSegmentationNode) -> str:
    return hash_of(f"{node.GetAttribute(RESULT_ATTRIBUTE)} {segment_id}")


def _fingerprint(
    segmentation: slicer.vtkSegmentation, segment_id: str, node: slicer.vtkMRMLSegmentationNode
) -> Fingerprint:
    """What a segment is, of a node or of a frame that the node may show."""
    segment = segmentation.GetSegment(segment_id)
    source = segmentation.GetSourceRepresentationName()
    grid = None
    if source == LABELMAP:
        own = voxels_of(segment)
        voxels = hash_of("" if own is None else np.packbits(own.voxels).tobytes())
        grid = own.grid if own is not None else None
    else:  # surfaces: never what was written
        data = segment.GetRepresentation(source)
        voxels = hash_of(f"{source} {data.GetMTime() if data is not None else 0}")
    status = tag(segment, STATUS_TAG).replace("notstarted", "")  # the same as none
    terminology = tag(segment, slicer.vtkSegment.GetTerminologyEntryTagName())
    names = (segment.GetName(), terminology, status, users_transform(node, node.GetNodeReference(INPUT_ROLE)))
    return Fingerprint(_identity(segment_id, node), hash_of("\n".join(names)), voxels, grid)


def hash_of(content: str | bytes | memoryview) -> str:
    """A short hash of a text, or of bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:32]
