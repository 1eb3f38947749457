"""Warnings: what does not look like a CT of the abdomen going in, and what does not look like organs coming out.

What is compared with a limit is rounded as it is shown, so that no warning contradicts itself.
"""

from __future__ import annotations

import numpy as np

from ..models.description import ModelSpec
from ..volume import Segmentation, Volume
from .hounsfield import hu_warnings

MAX_SPACING_MM = 5.0
MIN_HEIGHT_MM = 60.0
LUNG_HU = (-950.0, -600.0)
LUNG_SLICE_SHARE = 0.15  # of the body's voxels, from which a slice counts as chest
NARROW_BODY_MM = 180.0
VIEW_SPACING_MM = 6.0


def input_warnings(volume: Volume) -> list[str]:
    """What about a volume makes it unlikely to be a CT of the abdomen, one sentence each."""
    return [*_modality_warnings(volume), *hu_warnings(volume), *_geometry_warnings(volume)]


def is_ct_in_hu(volume: Volume) -> bool:
    """Whether neither the modality nor the intensities speak against a CT in HU."""
    return not _modality_warnings(volume) and not hu_warnings(volume)


def result_warnings(result: Segmentation, spec: ModelSpec, volume: Volume) -> list[str]:
    """Organs that are missing, implausibly small or large, denser or darker than in training, or cut by the field.

    What the model is known to do badly is said too, whatever the result looks like (``LabelSpec.caution``).
    """
    warnings = []
    for label in spec.labels:
        values = [organ.value for organ in (*label.organs(split=False), *label.organs(split=True))]
        found = [measure for measure in result.organ_measures if measure.organ.value in values and measure.voxels]
        if not found:
            warnings.append(f"{label.name}: not found")
            continue
        sides = [organ for organ in result.organs if organ in label.organs(split=True)] if label.sides else []
        warnings += [f"{side.name}: not found" for side in sides if side not in [measure.organ for measure in found]]
        if label.caution:
            warnings.append(f"{label.name}: {label.caution}")
        total_ml = sum(measure.volume_ml for measure in found)
        if label.plausible_ml and not _within(total_ml, label.plausible_ml):
            low, high = label.plausible_ml
            source = f" ({label.plausible_source})" if label.plausible_source else ""
            warnings.append(f"{label.name}: {total_ml:.0f} ml lies outside the usual {low:.0f}-{high:.0f} ml{source}")
        hu_ml = sum(measure.mean_hu * measure.volume_ml for measure in found if measure.mean_hu is not None)
        mean_hu = hu_ml / total_ml
        if label.trained_hu and not _within(mean_hu, label.trained_hu):
            low, high = label.trained_hu
            warnings.append(
                f"{label.name}: its mean of {mean_hu:.0f} HU lies outside {low:.0f}-{high:.0f} HU of training"
            )
        edges = edges_touched(result.labels, values, volume)
        if edges:
            warnings.append(f"{label.name}: reaches the edge of {' and of '.join(edges)}, so its volume is incomplete")
    return warnings


def _within(value: float, limits: tuple[float, float]) -> bool:
    return round(limits[0]) <= round(value) <= round(limits[1])


def _modality_warnings(volume: Volume) -> list[str]:
    if volume.modality and volume.modality != "CT":
        return [f"the modality is {volume.modality}, not CT; the model was trained on CT only"]
    return []


def _geometry_warnings(volume: Volume) -> list[str]:
    warnings = []
    spacing = round(max(volume.spacing_mm), 1)
    if spacing > MAX_SPACING_MM:
        warnings.append(
            f"a spacing of {spacing:.1f} mm is coarser than {MAX_SPACING_MM:.0f} mm; thin organs may be missed"
        )
    height_mm = round(float(np.ptp(volume.grid.edges_ras_mm()[:, 2])))
    if height_mm < MIN_HEIGHT_MM:
        what = "region of interest" if volume.cut_faces else "scan"
        warnings.append(f"the {what} covers only {height_mm} mm from top to bottom; organs are seen in part")
    return warnings


def edges_touched(labels: np.ndarray, values: list[int], volume: Volume) -> list[str]:
    """What ends where an organ reaches the volume's edge: the field of view, the region of interest, or both."""
    faces = {(axis, end): labels.take(end, axis=axis) for axis in range(3) for end in (0, -1)}
    cut = [face for where, face in faces.items() if where in volume.cut_faces]
    scanned = [face for where, face in faces.items() if where not in volume.cut_faces]
    if volume.valid_region is not None:
        scanned = [labels[~volume.valid_region.contains(volume.grid, margin_vox=-0.5)]]
    edges = {"the field of view": scanned, "the region of interest": cut}
    return [name for name, parts in edges.items() if any(bool(np.isin(part, values).any()) for part in parts)]


def field_of_view_warnings(volume: Volume) -> list[str]:
    """Whether the abdomen is likely to be outside the field of view: a head or limb, or mostly lung.

    A coarse look, without the network: slices of 6 mm, the body is what is denser than fat, or lung.
    """
    from .preprocessing import network_grid
    from .resampling import resample  # needs SimpleITK, which the panel does without before the first run

    hu = resample(volume.voxels, volume.grid, network_grid(volume.grid, (VIEW_SPACING_MM,) * 3))
    body = hu > -150
    lung = (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
    used = body.sum(axis=(1, 2)) > 0.02 * body[0].size
    if not used.any():
        return ["no slice shows a body"]
    warnings = []
    widths_mm = [np.ptp(np.flatnonzero(plane.any(axis=0))) * VIEW_SPACING_MM for plane in body[used]]
    if max(widths_mm) < NARROW_BODY_MM:
        warnings.append(f"the body is at most {max(widths_mm):.0f} mm wide; this may be a head, a limb or a cut-out")
    chest = lung[used].sum(axis=(1, 2)) > LUNG_SLICE_SHARE * (body | lung)[used].sum(axis=(1, 2))
    abdomen_mm = float((~chest).sum() * VIEW_SPACING_MM)
    if abdomen_mm < MIN_HEIGHT_MM:
        warnings.append(
            f"only {abdomen_mm:.0f} mm of the scan lie below the lungs; the organs may be outside the field of view"
        )
    return warnings
