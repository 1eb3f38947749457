"""Axial and sagittal slices through a case and through what happened at the gates, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from AttentionUNetSegmentationLib.imaging.resampling import reach, resample
from AttentionUNetSegmentationLib.volume import Grid, Volume

from .case import AttentionCase, CaseOnGrid
from .metrics import voxels_per_cell
from .recording import Recording

PIXEL_MM = 1.0
PLANES = {"axial": (2, 0, 1), "sagittal": (0, 1, 2)}  # axes through, across, up: R=0, A=1, S=2
RANGE_PERCENT = (1.0, 99.5)  # of the values in the body: what a colour range spans

Slices = dict[str, np.ndarray]
"""View -> (H, W), row 0 at the bottom; axial: the patient's right on the left; sagittal: the front on the left."""


@dataclass(frozen=True)
class Shown:
    """A scalar volume as slices, with the range its colours should span."""

    slices: Slices
    low: float
    high: float


@dataclass(frozen=True)
class Views:
    """Slices of one network on one case.

    Attributes:
        ct: HU.
        organs: Organ -> share of each pixel inside, [0, 1].
        coefficients: Map -> coefficients.
        before: Gate -> magnitude of the features that enter.
        after: Gate -> magnitude of the features that leave.
        gates: Gate -> its maps.
        cell_mm: Gate -> edge of its voxels in mm.
    """

    ct: Slices
    organs: dict[str, Slices]
    coefficients: dict[str, Shown]
    before: dict[str, Shown]
    after: dict[str, Shown]
    gates: dict[str, list[str]]
    cell_mm: dict[str, float]


def cut(case: AttentionCase, prepared: CaseOnGrid, recording: Recording) -> Views:
    """Cut everything through the case's position, as far as the network's grid reaches."""
    planes = {name: plane_grid(prepared.network_input.grid, name, case.position_ras_mm) for name in PLANES}

    def shown(name: str, volume: Volume) -> Shown:
        inside = voxels_per_cell(prepared.body, recording.strides[name]) > 0
        low, high = np.percentile(volume.voxels[inside], RANGE_PERCENT)
        return Shown(cut_planes(volume, planes), float(low), float(high))

    organs = {name: cut_planes(Volume(case.mask(name), case.reference.ijk_to_ras), planes) for name in case.organs}
    coefficients, before, after = (
        {name: shown(name, volume) for name, volume in group.items()}
        for group in (recording.coefficients, recording.before, recording.after)
    )
    gates = {gate: recording.maps_of(gate) for gate in recording.gates}
    cell_mm = {gate: float(recording.before[gate].spacing_mm[0]) for gate in recording.gates}
    ct = cut_planes(case.ct, planes, antialias=True)
    return Views(ct, organs, coefficients, before, after, gates, cell_mm)


def plane_grid(source: Grid, view: str, through_ras_mm: tuple[float, float, float]) -> Grid:
    """A patient-aligned grid of one layer: i across the picture, j up, k through the plane.

    Args:
        source: The picture covers its field.
        view: "axial" or "sagittal".
        through_ras_mm: A point of the plane.
    """
    through, across, up = PLANES[view]
    corners = source.corners_ras_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    sizes = [max(1, math.ceil((high[axis] - low[axis]) / PIXEL_MM)) for axis in (across, up)]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    matrix[across, 0] = -PIXEL_MM  # from right to left, or from the front to the back
    matrix[up, 1] = matrix[through, 2] = PIXEL_MM
    matrix[:3, 3] = low
    matrix[across, 3] = high[across]
    matrix[through, 3] = through_ras_mm[through]
    return Grid((1, sizes[1], sizes[0]), matrix)


def cut_planes(volume: Volume, planes: Mapping[str, Grid], antialias: bool = False) -> Slices:
    """A scalar volume on each of the planes."""
    result = {}
    for name, plane in planes.items():
        box = reach(volume.grid, plane)
        result[name] = resample(volume.voxels[box], volume.grid.crop_to(box), plane, antialias)[0]
    return result
