"""Organs written into a segmentation node as segments. Called from Slicer's main thread only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ..imaging.measures import organ_boxes
from ..volume import Box, OrganMask, OrganMeasure, Segmentation
from .mrml import INPUT_ROLE, LABELMAP, PREFIX, SURFACE, matrix_to_vtk, write_provenance
from .ownership import (
    ORGAN_TAG,
    RESULT_ROLE,
    TRANSFORM_ROLE,
    default_id,
    mark_result,
    mark_written,
    organ_segments,
    replaceable_ids,
    segment_ids,
    tag,
)

VOLUME_TAG = PREFIX + "VolumeMl"
MEAN_HU_TAG = PREFIX + "MeanHU"
CENTROID_TAG = PREFIX + "CentroidRAS"  # mm, in the segmentation's own frame
DISPLAY_PROPERTIES = (
    *("Visibility", "Visibility3D", "Visibility2DFill", "Visibility2DOutline", "Pickable"),
    *("Opacity3D", "Opacity2DFill", "Opacity2DOutline"),
)


def write_segments(
    result: Segmentation,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    node: slicer.vtkMRMLSegmentationNode,
    with_surfaces: bool,
) -> None:
    """Put the organs into a segmentation node, in place of those of an earlier run, edited or not; others stay.

    An organ that was there before keeps its colour and how it is shown.

    Args:
        result: The engine's result; its grid may be a part of the volume's. Its measures go to the segments' tags.
        volume_node: The CT, whose transform and geometry the node gets.
        node: The segmentation node to fill.
        with_surfaces: Make surfaces, too.
    """
    boxes = organ_boxes(result)
    mark_result(node, volume_node)
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    _replace_organs(node, [_segment(result, each, boxes.get(each.organ.value)) for each in result.organ_measures])
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    write_provenance(node, result)
    node.CreateDefaultDisplayNodes()
    if with_surfaces:
        node.CreateClosedSurfaceRepresentation()


def written_volumes_ml(node: slicer.vtkMRMLSegmentationNode) -> dict[str, float]:
    """Organ -> its volume as runs have written it."""
    organs = [segment for _, segment in organ_segments(node)]
    return {tag(each, ORGAN_TAG): float(tag(each, VOLUME_TAG)) for each in organs if tag(each, VOLUME_TAG)}


def has_surfaces(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a node shows its segments in 3D."""
    return node.GetSegmentation().ContainsRepresentation(SURFACE)


@contextmanager
def restored_on_error(node: slicer.vtkMRMLSegmentationNode) -> Iterator[None]:
    """Gives a node its segments, attributes, and what it refers to back if the block fails."""
    segmentation = node.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    before = {segment_id: segmentation.GetSegment(segment_id) for segment_id in segment_ids(segmentation)}
    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    references = {role: node.GetNodeReferenceID(role) for role in (INPUT_ROLE, RESULT_ROLE, TRANSFORM_ROLE)}
    transform_id, looks = node.GetTransformNodeID(), _looks(node)
    try:
        yield
    except BaseException:
        for segment_id in segment_ids(segmentation):
            if segmentation.GetSegment(segment_id) is not before.get(segment_id):
                segmentation.RemoveSegment(segment_id)
        segmentation.SetSourceRepresentationName(source)
        for index, (segment_id, segment) in enumerate(before.items()):
            if segmentation.GetSegment(segment_id) is None:
                segmentation.AddSegment(segment, segment_id)
            segmentation.SetSegmentIndex(segment_id, index)
        _look_as(node, looks)
        for name in node.GetAttributeNames():
            node.SetAttribute(name, attributes.get(name))
        for role, node_id in references.items():
            node.SetNodeReferenceID(role, node_id)
        node.SetAndObserveTransformNodeID(transform_id)
        raise


def _replace_organs(node: slicer.vtkMRMLSegmentationNode, new: Sequence[slicer.vtkSegment]) -> None:
    segmentation = node.GetSegmentation()
    looks = _looks(node)
    was_modifying = node.StartModify()
    try:
        for segment_id in replaceable_ids(node):
            segmentation.RemoveSegment(segment_id)
        if not segmentation.GetNumberOfSegments():
            segmentation.SetSourceRepresentationName(LABELMAP)  # it may have been made of surfaces
        for segment in new:
            segment_id = segmentation.GenerateUniqueSegmentID(default_id(tag(segment, ORGAN_TAG)))
            if not segmentation.AddSegment(segment, segment_id):
                raise RuntimeError(f"the segment {segment.GetName()!r} could not be added")
            mark_written(node, segment_id)
        _look_as(node, looks)
    finally:
        node.EndModify(was_modifying)


def _looks(node: slicer.vtkMRMLSegmentationNode) -> dict[str, dict[str, Any]]:
    """Colour and display of each segment, which its removal forgets."""
    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    return {
        segment_id: {"color": segmentation.GetSegment(segment_id).GetColor()}
        | {
            name: getattr(display, f"GetSegment{name}")(segment_id)
            for name in (DISPLAY_PROPERTIES if display is not None else ())
        }
        for segment_id in segment_ids(segmentation)
    }


def _look_as(node: slicer.vtkMRMLSegmentationNode, looks: dict[str, dict[str, Any]]) -> None:
    """Give segments the colour and display that those of the same IDs had."""
    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    for segment_id in set(segment_ids(segmentation)) & set(looks):
        look = dict(looks[segment_id])
        segmentation.GetSegment(segment_id).SetColor(*look.pop("color"))
        for name, value in look.items():
            getattr(display, f"SetSegment{name}")(segment_id, value)


def _segment(result: Segmentation, measure: OrganMeasure, box: Box | None) -> slicer.vtkSegment:
    organ = measure.organ
    segment = slicer.vtkSegment()
    segment.SetName(organ.name)
    segment.SetColor(*(channel / 255 for channel in organ.color_rgb))
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), organ.terminology_entry())
    tags = {ORGAN_TAG: organ.name, VOLUME_TAG: f"{measure.volume_ml:.6g}"}
    if measure.mean_hu is not None:
        tags[MEAN_HU_TAG] = f"{measure.mean_hu:.6g}"
    if measure.centroid_ras_mm is not None:
        tags[CENTROID_TAG] = " ".join(f"{x:.3f}" for x in measure.centroid_ras_mm)
    for name, value in tags.items():
        segment.SetTag(name, value)
    segment.AddRepresentation(LABELMAP, _oriented_image(result, organ, box))
    return segment


def _oriented_image(result: Segmentation, organ: OrganMask, box: Box | None) -> slicer.vtkOrientedImageData:
    """A binary labelmap of one organ, cropped to its box, in the frame of the result's grid; empty without a box."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(matrix_to_vtk(result.ijk_to_ras))
    if box is None:
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)  # none, but of a type that can be converted to a surface
        return image
    k, j, i = box
    mask = np.ascontiguousarray(result.labels[box] == organ.value)
    image.SetExtent(i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1)
    scalars = numpy_to_vtk(mask.view(np.uint8).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image
