"""Warnings about where an organ lies and what it is made of, from a coarse look at the CT and the result."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..models.description import LabelSpec, ModelSpec
from ..volume import Box, Grid, Segmentation, Volume, nonzero_box, triple
from .components import numbered_components
from .midline import patient_midline_mm
from .plausibility import MIN_HEIGHT_MM, edges_touched
from .preprocessing import network_grid
from .resampling import Check, resample

VIEW_SPACING_MM = 4.0
MARGIN_MM = 50.0
MIN_MISPLACED_ML = 2.0
MIN_FIELD_MM = 200.0  # in a narrower one ribs may pass for a spine
MIDLINE_TOLERANCE_MM = 10.0  # the column's middle is not the spine's to the millimetre
LUNG_HU = (-950.0, -600.0)
LUNG_RADIUS_VOX = 2  # what is thinner is the border of gas in the gut, or of the skin
MAX_GUT_GAS_ML = 200.0  # of a connected part, without what is denser or pure gas
LUNG_SLICE_SHARE = 0.15  # of the body's voxels, from which a slice counts as chest
BODY_ABOVE_HU = -150.0  # fat and what is denser
BODY_SLICE_SHARE = 0.02  # of a slice, from which it shows a body
NARROW_BODY_MM = 180.0
FLUID_HU = (-10.0, 20.0)
MIN_FLUID_ML, MIN_FLUID_SHARE = 10.0, 0.1  # of the inside of an organ
MIN_FLUID_CONTRAST_HU = 20.0  # between the brightest fluid and the median of the rest
MIN_SECOND_PART_ML = 3.0  # without its rim; in 37 label maps a spleen's second part has at most 0.3 ml

FLUID_SOURCE = "simple fluid: -9 to 20 HU, Silverman et al. 2019, Radiology 292:475"


@dataclass(frozen=True)
class View:
    """The CT and the label map on a coarse grid that is aligned with the patient.

    Attributes:
        hu: (K, J, I) in HU, i to the right, j to the front, k upwards.
        labels: (K, J, I) label values.
        grid: Where both lie.
    """

    hu: np.ndarray
    labels: np.ndarray
    grid: Grid

    @classmethod
    def of(cls, result: Segmentation, volume: Volume, organs: Box, check: Check) -> View:
        """Look at a CT and its segmentation, from ``MARGIN_MM`` below the box that holds the organs to above it."""
        grid = network_grid(volume.grid, (VIEW_SPACING_MM,) * 3)
        organs_mm = volume.grid.crop_to(organs).edges_ras_mm()[:, 2]
        ends = (organs_mm.min() - MARGIN_MM, organs_mm.max() + MARGIN_MM) - grid.ijk_to_ras[2, 3]
        first, last = np.clip(np.round(ends / VIEW_SPACING_MM), 0, grid.shape_kji[0] - 1).astype(int)
        grid = grid.crop((first, 0, 0), (last + 1 - first, *grid.shape_kji[1:]))
        hu = resample(*_thinned(volume), grid, check=check)
        return cls(hu, _nearest(result.labels, volume.grid, grid), grid)

    def ml(self, mask: np.ndarray) -> float:
        """Volume of a mask in ml."""
        return float(np.count_nonzero(mask)) * self.grid.voxel_volume_ml


def place_warnings(result: Segmentation, spec: ModelSpec, volume: Volume, check: Check = lambda: None) -> list[str]:
    """What lies where the organ cannot lie, or is made of what the organ is not; one sentence each.

    Args:
        result: The segmentation.
        spec: Says of each organ where it lies (``LabelSpec.place``) and whether it is solid.
        volume: The CT in HU.
        check: Called now and then; may raise to stop.
    """
    organs = nonzero_box(result.labels)
    if organs is None:
        return []
    view = View.of(result, volume, organs, check)
    lungs = numbered_components(_lungs(view.hu))
    large = np.flatnonzero(np.bincount(lungs.ravel()) * view.grid.voxel_volume_ml > MAX_GUT_GAS_ML)
    lungs[~np.isin(lungs, [*large, *np.unique(lungs[-1])])] = 0  # gas in the gut is less, and ends below
    above_lung = np.logical_or.accumulate(lungs > 0, axis=0)
    warnings = []
    for label in spec.labels:
        check()
        values = [organ.value for organ in (*label.organs(split=False), *label.organs(split=True))]
        mask = np.isin(view.labels, values)
        if mask.any():
            whole = not edges_touched(result.labels, values, volume)
            texts = [*_beside_midline(view, mask, label, whole), *_above_lung(view, mask & above_lung)]
            if label.solid:
                texts += [*_fluid_inside(view, mask), *(_in_two_parts(view, mask) if label.components == 1 else [])]
            warnings += [f"{label.name}: {text}" for text in texts]
    return warnings


def field_of_view_warnings(volume: Volume, check: Check = lambda: None) -> list[str]:
    """Whether the abdomen is likely to be outside the field of view: a head or limb, or mostly lung.

    A coarse look, without the network. The body is the largest connected part of what is not air.

    Args:
        volume: The CT in HU.
        check: Called now and then; may raise to stop.
    """
    hu = resample(*_thinned(volume), network_grid(volume.grid, (VIEW_SPACING_MM,) * 3), check=check)
    body = numbered_components(hu > BODY_ABOVE_HU) == 1
    used = np.count_nonzero(body, axis=(1, 2)) > BODY_SLICE_SHARE * body[0].size
    if not used.any():
        return ["no slice shows a body"]
    warnings = []
    width_mm = max(np.ptp(np.flatnonzero(plane.any(axis=0))) + 1 for plane in body[used]) * VIEW_SPACING_MM
    if width_mm < NARROW_BODY_MM:
        warnings.append(f"the body is at most {width_mm:.0f} mm wide; this may be a head, a limb or a cut-out")
    opaque = sitk.GetImageFromArray((hu > BODY_ABOVE_HU).astype(np.uint8))
    walls = sitk.GetArrayFromImage(sitk.BinaryMorphologicalOpening(opaque, [1, 1, 0])) > 0  # without a table's shells
    trunk = numbered_components(walls) == 1
    lung = _enclosed(_lungs(hu), trunk)  # a table's foam has the density of lung
    chest = lung[used].sum(axis=(1, 2)) > LUNG_SLICE_SHARE * (trunk | lung)[used].sum(axis=(1, 2))
    if chest.any():
        below = ~chest[: int(np.median(np.flatnonzero(chest)))]  # the neck, above, is no abdomen either
        abdomen_mm = np.count_nonzero(below) * VIEW_SPACING_MM
        if abdomen_mm < MIN_HEIGHT_MM:
            warnings.append(
                f"only {abdomen_mm:.0f} mm of the scan lie below the lungs; the organs may be outside the field of view"
            )
    return warnings


def _thinned(volume: Volume) -> tuple[np.ndarray, Grid]:
    """Every n-th voxel, no more than half the view's spacing apart, and where they lie."""
    steps = [max(1, int(VIEW_SPACING_MM / 2 / spacing)) for spacing in volume.spacing_mm]  # i, j, k
    voxels = volume.voxels[:: steps[2], :: steps[1], :: steps[0]]
    return voxels, Grid(triple(voxels.shape), volume.ijk_to_ras @ np.diag([*steps, 1]))


def _nearest(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Labels of the voxels that the target's voxel centres lie in; 0 outside."""
    out = np.zeros(target.shape_kji, dtype=labels.dtype)
    j, i = np.meshgrid(*map(np.arange, target.shape_kji[1:]), indexing="ij")
    for k, plane in enumerate(out):
        ijk = np.floor(source.ijk_of(target.ras_of(np.stack([i, j, np.full_like(i, k)], axis=-1))) + 0.5).astype(int)
        inside = ((ijk >= 0) & (ijk < labels.shape[::-1])).all(axis=-1)
        first, second, third = ijk[inside].T
        plane[inside] = labels[third, second, first]
    return out


def _beside_midline(view: View, mask: np.ndarray, label: LabelSpec, whole: bool) -> list[str]:
    """Whether an organ of one side lies on the other, or one that crosses the midline does not."""
    if not label.place:
        return []
    right_mm, _, heights_mm = view.grid.ras_of(np.argwhere(mask)[:, ::-1]).T
    middle_mm = patient_midline_mm(
        view.hu, view.grid, view.labels > 0, float(heights_mm.min()), float(heights_mm.max())
    )
    field_mm = view.grid.shape_kji[2] * view.grid.spacing_mm[0]
    if middle_mm is None or (field_mm < MIN_FIELD_MM and math.isfinite(middle_mm)):
        return []
    ml = {
        "right": np.count_nonzero(right_mm > middle_mm + MIDLINE_TOLERANCE_MM) * view.grid.voxel_volume_ml,
        "left": np.count_nonzero(right_mm < middle_mm - MIDLINE_TOLERANCE_MM) * view.grid.voxel_volume_ml,
    }
    source = f" ({label.place_source})" if label.place_source else ""
    if label.place == "crosses midline":
        beside = [side for side, volume_ml in ml.items() if volume_ml == view.ml(mask) and whole]
        return [f"lies on the patient's {side} only, but should cross the midline{source}" for side in beside]
    other = "left" if label.place == "right" else "right"
    if ml[other] < MIN_MISPLACED_ML:
        return []
    return [f"{ml[other]:.0f} ml lie on the patient's {other}, but it belongs on the {label.place}{source}"]


def _lungs(hu: np.ndarray) -> np.ndarray:
    lung = sitk.GetImageFromArray(((hu > LUNG_HU[0]) & (hu < LUNG_HU[1])).astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.BinaryMorphologicalOpening(lung, [LUNG_RADIUS_VOX] * 3)) > 0


def _enclosed(part: np.ndarray, walls: np.ndarray) -> np.ndarray:
    """What of a part has walls in front and behind, on the left and on the right."""
    for axis in (1, 2):
        before, after = (np.logical_or.accumulate(side, axis=axis) for side in (walls, np.flip(walls, axis)))
        part = part & before & np.flip(after, axis)
    return part


def _above_lung(view: View, part: np.ndarray) -> list[str]:
    if view.ml(part) < MIN_MISPLACED_ML:
        return []
    return [f"{view.ml(part):.0f} ml lie above lung, but it belongs below the diaphragm (by definition of the abdomen)"]


def _fluid_inside(view: View, mask: np.ndarray) -> list[str]:
    """Whether a substantial part is fluid beside what is denser, by the mean HU around voxels, as noise hides it."""
    inside = _without_rim(mask)
    if not inside.any():
        return []
    weights = _local_mean(inside.astype(np.float32))[inside]
    hu = _local_mean(np.where(inside, view.hu, 0).astype(np.float32))[inside] / weights
    fluid = (hu > FLUID_HU[0]) & (hu < FLUID_HU[1])
    volume_ml = np.count_nonzero(fluid) * view.grid.voxel_volume_ml
    if volume_ml < MIN_FLUID_ML or fluid.mean() < MIN_FLUID_SHARE or fluid.all():
        return []
    rest_hu = float(np.median(hu[~fluid]))
    if rest_hu < FLUID_HU[1] + MIN_FLUID_CONTRAST_HU:
        return []
    return [f"{volume_ml:.0f} ml inside are as dark as fluid, the rest has {rest_hu:.0f} HU ({FLUID_SOURCE})"]


def _in_two_parts(view: View, mask: np.ndarray) -> list[str]:
    """Whether a bridge that is thinner than 8 mm joins two parts, as of an organ and a neighbour taken for it."""
    sizes = np.bincount(numbered_components(_without_rim(mask)).ravel())[1:] * view.grid.voxel_volume_ml
    if len(sizes) < 2 or sizes[1] < MIN_SECOND_PART_ML:
        return []
    return [
        "falls into parts that a thin bridge joins; one may be a neighbour, as a solid organ is one piece by definition"
    ]


def _without_rim(mask: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.BinaryErode(image, [1, 1, 1], sitk.sitkBall))[1:-1, 1:-1, 1:-1] > 0


def _local_mean(values: np.ndarray) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.Mean(sitk.GetImageFromArray(values), [1, 1, 1]))
