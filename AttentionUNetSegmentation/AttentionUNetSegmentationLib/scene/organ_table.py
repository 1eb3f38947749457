"""The table of organs: read from a segmentation node alone, and written as text, CSV or an MRML table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..volume import triple
from .mrml import INPUT_ROLE, LABELMAP, PREFIX, SURFACE, grid_of_node, table_column, transform_between
from .ownership import frame_of_result, has_written_voxels, organ_segments, tag, voxels_of
from .segments import CENTROID_TAG, MEAN_HU_TAG, VOLUME_TAG
from .sequences import frames_of

TABLE_ROLE = PREFIX + "Table"  # segmentation -> its table of organs
Measures = tuple[float | None, float | None, tuple[float, float, float] | None]
"""Volume in ml, mean HU and centroid (RAS, mm) of a segment; None for what is not known."""

HEADERS = ("Organ", "Volume (ml)", "Mean (HU)", "R (mm)", "A (mm)", "S (mm)")


@dataclass(frozen=True)
class OrganRow:
    """One organ of a segmentation node.

    Attributes:
        segment_id: Its segment.
        name: The segment's name.
        color_rgb: 0 to 1 each.
        volume_ml: Volume in ml, of the surface where there are no voxels; None if there is neither.
        mean_hu: Mean of the CT inside; None if it is empty, or the CT or the voxels are gone.
        centroid_ras_mm: Centre of mass in the segmentation's own frame; None if it is empty.
    """

    segment_id: str
    name: str
    color_rgb: tuple[float, float, float]
    volume_ml: float | None
    mean_hu: float | None
    centroid_ras_mm: tuple[float, float, float] | None

    def texts(self) -> list[str]:
        """The row as texts, in the order of ``HEADERS``; what is not known is empty."""
        volume, mean = ("" if value is None else f"{value:.1f}" for value in (self.volume_ml, self.mean_hu))
        centroid = ["", "", ""] if self.centroid_ras_mm is None else [f"{x:.1f}" for x in self.centroid_ras_mm]
        return [self.name, volume, mean, *centroid]


def rows(node: slicer.vtkMRMLSegmentationNode | None) -> list[OrganRow]:
    """The organs that a run wrote; a segment that was edited since then is measured anew."""
    if node is None:
        return []
    result = []
    for segment_id, segment in organ_segments(node):
        if has_written_voxels(node, segment_id):
            mean_hu, centroid = tag(segment, MEAN_HU_TAG), tag(segment, CENTROID_TAG)
            measures: Measures = (
                float(tag(segment, VOLUME_TAG)),
                float(mean_hu) if mean_hu else None,
                triple(float(x) for x in centroid.split()) if centroid else None,
            )
        else:
            measures = _measure(node, segment)
        result.append(OrganRow(segment_id, segment.GetName(), segment.GetColor(), *measures))
    return result


def as_text(table: list[OrganRow], separator: str = "\t") -> str:
    """The table with its headers, for a spreadsheet; a separator other than the tabulator makes it CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    writer.writerows([HEADERS, *(row.texts() for row in table)])
    return stream.getvalue()


def write_csv(table: list[OrganRow], path: Path) -> None:
    """Write the table to a CSV file.

    Raises:
        OSError: If it cannot be written.
    """
    path.write_text(as_text(table, ","), encoding="utf-8")


def write_table_node(node: slicer.vtkMRMLSegmentationNode, table: list[OrganRow]) -> slicer.vtkMRMLTableNode:
    """Put the table into the scene; a table node made earlier for the same segmentation is filled anew."""
    table_node = node.GetNodeReference(TABLE_ROLE)
    if table_node is None:
        table_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{node.GetName()} volumes")
        node.SetNodeReferenceID(TABLE_ROLE, table_node.GetID())
    table_node.RemoveAllColumns()
    for index, header in enumerate(HEADERS):
        table_node.AddColumn(table_column(header, [row.texts()[index] for row in table], is_text=index == 0))
    return table_node


def in_world(node: slicer.vtkMRMLSegmentationNode | None, table: list[OrganRow]) -> list[OrganRow]:
    """The rows with centroids in world RAS, as slice views and Segment Statistics give positions."""
    return [replace(row, centroid_ras_mm=world_centroid(node, row)) for row in table]


def world_centroid(node: slicer.vtkMRMLSegmentationNode | None, row: OrganRow) -> tuple[float, float, float] | None:
    """An organ's centre of mass in world RAS, mm; None if it is empty."""
    if row.centroid_ras_mm is None:
        return None
    return tuple(transform_between(node, None).TransformPoint(row.centroid_ras_mm))


def _measure(node: slicer.vtkMRMLSegmentationNode, segment: slicer.vtkSegment) -> Measures:
    """Measures of a segment as it is now."""
    if segment.GetRepresentation(LABELMAP) is None:
        surface = segment.GetRepresentation(SURFACE)
        return _measure_surface(surface) if surface is not None else (None, None, None)
    own = voxels_of(segment)
    if own is None:
        return 0.0, None, None
    ras = own.grid.ras_of(np.argwhere(own.voxels)[:, ::-1])
    return len(ras) * own.grid.voxel_volume_ml, _mean_hu(node, ras), triple(float(x) for x in ras.mean(axis=0))


def _measure_surface(surface: vtk.vtkPolyData) -> Measures:
    """Volume and centroid inside a closed surface, as sums over the tetrahedra of its triangles and the origin."""
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    triangles.Update()
    cells = triangles.GetOutput().GetPolys()
    if not cells.GetNumberOfCells():
        return 0.0, None, None
    points = vtk_to_numpy(triangles.GetOutput().GetPoints().GetData()).astype(np.float64)
    start = points.mean(axis=0)
    corners = (points - start)[vtk_to_numpy(cells.GetConnectivityArray()).reshape(-1, 3)]
    volumes = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    total = float(volumes.sum())
    if total == 0:
        return 0.0, None, None
    centroid = start + (volumes[:, None] * corners.sum(axis=1) / 4).sum(axis=0) / total
    return abs(total) / 1000, None, triple(float(x) for x in centroid)


def _mean_hu(node: slicer.vtkMRMLSegmentationNode, ras_mm: np.ndarray) -> float | None:
    """Mean of the CT at points in the segmentation's space; None without a CT, or the segmentation's frame of it."""
    volume_node = node.GetNodeReference(INPUT_ROLE)
    if volume_node is None or volume_node.GetImageData() is None:
        return None
    frame, frames = frame_of_result(node), frames_of(volume_node)
    if frame and frames is not None and frame != frames.values[frames.current]:
        return None  # the CT shows another frame
    voxels = slicer.util.arrayFromVolume(volume_node)
    if node.GetParentTransformNode() is not volume_node.GetParentTransformNode():  # one of them was moved
        to_ct = transform_between(node, volume_node)
        ras_mm = np.array([to_ct.TransformPoint(point) for point in ras_mm])
    ijk = np.floor(grid_of_node(volume_node).ijk_of(ras_mm) + 0.5).astype(int)
    inside = ((ijk >= 0) & (ijk < voxels.shape[::-1])).all(axis=1)
    i, j, k = ijk[inside].T
    return float(voxels[k, j, i].mean(dtype=np.float64)) if inside.any() else None
