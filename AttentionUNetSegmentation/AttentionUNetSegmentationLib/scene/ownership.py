"""Whose a segment is: the module's own only while its voxels, their place and its name are what a run wrote.

A tag keeps a fingerprint of what was written; it is saved and loaded with the segment, and copied with it. So the
fingerprint covers the segment's ID and its node's, too. It does not depend on how a labelmap is cropped or shared.
Called from Slicer's main thread only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..volume import Grid, Volume, nonzero_box, triple
from .mrml import LABELMAP, PREFIX, crop_volume, matrix_to_numpy
from .sequences import Frames

ORGAN_TAG = PREFIX + "Organ"
WRITTEN_TAG = PREFIX + "Written"  # the fingerprint of what a run wrote


class Whose(Enum):
    """What a run may do with a segment."""

    OWN = "what a run wrote, unchanged: the next run replaces it"
    EDITED = "what a run wrote, changed since then, or not known to be unchanged: replaced only on request"
    KEPT = "anything else, copies of results too: never removed"


@dataclass(frozen=True)
class Fingerprint:
    """What a segment is at some moment.

    Attributes:
        segment_id: Hash of the segment's ID.
        name: Hash of the segment's name and the ID of its node.
        voxels: Hash of its voxels; of a segmentation that is made of surfaces, of their state in this session.
        grid: Where the voxels lie, cropped to the segment; None if it is empty.
    """

    segment_id: str
    name: str
    voxels: str
    grid: Grid | None

    def __str__(self) -> str:
        numbers = [] if self.grid is None else [*self.grid.shape_kji, *self.grid.ijk_to_ras[:3].ravel()]
        return " ".join([self.segment_id, self.name, self.voxels, *(f"{number:.10g}" for number in numbers)])

    def has_voxels_of(self, other: Fingerprint) -> bool:
        """Whether both have the same voxels at the same place."""
        if self.grid is None or other.grid is None:
            return self.grid is other.grid and self.voxels == other.voxels
        return self.voxels == other.voxels and self.grid.same_as(other.grid)

    def same_as(self, other: Fingerprint) -> bool:
        """Whether nothing differs."""
        return (self.segment_id, self.name) == (other.segment_id, other.name) and self.has_voxels_of(other)


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
    image = segment.GetRepresentation(LABELMAP)
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or not image.GetNumberOfPoints():
        return None
    mask = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]) == segment.GetLabelValue()
    box = nonzero_box(mask)
    if box is None:
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    ijk_to_ras = matrix_to_numpy(matrix)
    ijk_to_ras[:3, 3] += ijk_to_ras[:3, :3] @ image.GetExtent()[::2]
    return crop_volume(Volume(mask, ijk_to_ras, segment.GetName()), box)


def mark_written(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
    """Remember that a segment is now what a run wrote."""
    written = _fingerprint(node.GetSegmentation(), segment_id, node.GetID())
    node.GetSegmentation().GetSegment(segment_id).SetTag(WRITTEN_TAG, str(written))


def has_written_voxels(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """Whether a segment's voxels are those that a run wrote, so that the measures in its tags are true."""
    written = _written(node.GetSegmentation().GetSegment(segment_id))
    return written is not None and _fingerprint(node.GetSegmentation(), segment_id, "").has_voxels_of(written)


def replaceable_ids(node: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """IDs of the segments that a run wrote, edited or not; copies of them are not among them."""
    segmentation = node.GetSegmentation()
    return [each for each in segment_ids(segmentation) if _is_original(segmentation.GetSegment(each), each)]


def edited_segments(
    node: slicer.vtkMRMLSegmentationNode, frames: Frames | None = None
) -> list[tuple[str, Fingerprint]]:
    """(name, what it is now) of every segment that is ``Whose.EDITED``.

    Args:
        node: The segmentation.
        frames: Of a sequence of CTs whose results the node shows: their segments are looked at as well.
    """
    return [
        (segmentation.GetSegment(segment_id).GetName(), _fingerprint(segmentation, segment_id, node.GetID()))
        for segmentation, segment_id, whose in _segments(node, frames)
        if whose is Whose.EDITED
    ]


def has_kept_segments(node: slicer.vtkMRMLSegmentationNode, frames: Frames | None = None) -> bool:
    """Whether any segment is ``Whose.KEPT``; see ``edited_segments``."""
    return any(whose is Whose.KEPT for _, _, whose in _segments(node, frames))


def _segments(
    node: slicer.vtkMRMLSegmentationNode, frames: Frames | None
) -> Iterator[tuple[slicer.vtkSegmentation, str, Whose]]:
    nodes = [node, *(frames.results(node) if frames is not None else [])]
    for segmentation in (each.GetSegmentation() for each in nodes):
        for segment_id in segment_ids(segmentation):
            yield segmentation, segment_id, _whose(segmentation, segment_id, node.GetID())


def _whose(segmentation: slicer.vtkSegmentation, segment_id: str, node_id: str) -> Whose:
    segment = segmentation.GetSegment(segment_id)
    if not _is_original(segment, segment_id):
        return Whose.KEPT
    written = _written(segment)
    is_own = written is not None and _fingerprint(segmentation, segment_id, node_id).same_as(written)
    return Whose.OWN if is_own else Whose.EDITED


def _is_original(segment: slicer.vtkSegment, segment_id: str) -> bool:
    """Whether a segment is the one that a run wrote: a copy has its tags, but another ID."""
    organ, written = tag(segment, ORGAN_TAG), _written(segment)
    return bool(organ) and _hash(segment_id) == (written.segment_id if written else _hash(default_id(organ)))


def _written(segment: slicer.vtkSegment) -> Fingerprint | None:
    """The fingerprint in a segment's tag; None if there is none that can be read."""
    texts = tag(segment, WRITTEN_TAG).split()
    if len(texts) not in (3, 18):
        return None
    try:
        grid = Grid(triple(int(x) for x in texts[3:6]), _matrix(texts[6:])) if len(texts) > 3 else None
    except ValueError:
        return None
    return Fingerprint(texts[0], texts[1], texts[2], grid)


def _matrix(texts: list[str]) -> np.ndarray:
    return np.vstack([np.array([float(x) for x in texts]).reshape(3, 4), [0, 0, 0, 1]])


def _fingerprint(segmentation: slicer.vtkSegmentation, segment_id: str, node_id: str) -> Fingerprint:
    segment = segmentation.GetSegment(segment_id)
    source = segmentation.GetSourceRepresentationName()
    grid = None
    if source == LABELMAP:
        own = voxels_of(segment)
        voxels = _hash("" if own is None else np.packbits(own.voxels).tobytes())
        grid = own.grid if own is not None else None
    else:  # surfaces: never what was written
        data = segment.GetRepresentation(source)
        voxels = _hash(f"{source} {data.GetMTime() if data is not None else 0}")
    return Fingerprint(_hash(segment_id), _hash(f"{node_id} {segment.GetName()}"), voxels, grid)


def _hash(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:32]
