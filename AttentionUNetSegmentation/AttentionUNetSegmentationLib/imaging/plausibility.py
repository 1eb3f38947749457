"""Warnings: what does not look like a CT of the abdomen going in, and what does not look like organs coming out.

What is compared with a limit is rounded as it is shown, so that no warning contradicts itself.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from ..models.description import LabelSpec, ModelSpec
from ..volume import OrganMeasure, Segmentation, Volume
from .hounsfield import BONE_ABOVE_HU, hu_warnings

MAX_SPACING_MM = 5.0
MIN_HEIGHT_MM = 60.0


def input_warnings(volume: Volume) -> list[str]:
    """What about a volume makes it unlikely to be a CT of the abdomen, one sentence each."""
    return [*_modality_warnings(volume), *hu_warnings(volume), *_geometry_warnings(volume)]


def is_ct_in_hu(volume: Volume) -> bool:
    """Whether neither the modality nor the intensities speak against a CT in HU."""
    return not _modality_warnings(volume) and not hu_warnings(volume)


def result_warnings(result: Segmentation, spec: ModelSpec, volume: Volume, hidden: Container[str] = ()) -> list[str]:
    """Organs that are missing, implausibly small or large, denser or darker than in training, or cut by the field.

    What the model is known to do badly is said too, whatever the result looks like (``LabelSpec.caution``).

    Args:
        result: The segmentation, measured.
        spec: The model's description.
        volume: The CT.
        hidden: Organs of which it was said already why they are not shown.
    """
    warnings = []
    where = " in the region of interest" if volume.cut_faces else ""
    for label in spec.labels:
        halves, whole = label.organs(split=True), label.organs(split=False)
        measures = [measure for measure in result.organ_measures if measure.organ in (*halves, *whole)]
        found = [measure for measure in measures if measure.voxels]
        missing = [m.organ for m in measures if not m.voxels and m.organ.name not in hidden]
        warnings += [f"{organ.name}: not found{where}" for organ in (whole if missing == halves else missing)]
        if found and label.caution:
            warnings.append(f"{label.name}: {label.caution}")
        for measure in found:
            share = 1 if measure.organ in whole else 1 / len(halves)
            warnings += [
                f"{measure.organ.name}: {text}" for text in _organ_warnings(measure, label, share, result, volume)
            ]
    return warnings


def _organ_warnings(
    measure: OrganMeasure, label: LabelSpec, share: float, result: Segmentation, volume: Volume
) -> list[str]:
    """What is wrong with an organ that was found; of its label's plausible volume, it may have a share."""
    texts = []
    edges = edges_touched(result.labels, [measure.organ.value], volume)
    if label.plausible_ml:
        low, high = (limit * share for limit in label.plausible_ml)
        if not _within(measure.volume_ml, (0 if edges else low, high)):
            source = f" ({label.plausible_source})" if label.plausible_source else ""
            texts.append(f"{measure.volume_ml:.0f} ml lies outside the usual {low:.0f}-{high:.0f} ml{source}")
    if label.trained_hu and measure.mean_hu is not None and not _within(measure.mean_hu, label.trained_hu):
        low, high = label.trained_hu
        texts.append(f"its mean of {measure.mean_hu:.0f} HU lies outside {low:.0f}-{high:.0f} HU of training")
    if edges:
        texts.append(f"reaches the edge of {' and of '.join(edges)}, so its volume is incomplete")
    return texts


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
    upwards = int(np.abs(volume.grid.directions[2]).argmax())  # the axis along the body; a tilted box would be higher
    box = volume.scanned_box
    along = box[2 - upwards]
    height_mm = round((along.stop - along.start) * volume.spacing_mm[upwards])
    if height_mm < MIN_HEIGHT_MM:
        what = "region of interest" if volume.cut_faces else "scan"
        warnings.append(f"the {what} covers only {height_mm} mm from top to bottom; organs are seen in part")
    sizes = volume.voxels.shape
    filled = [(axis, 0) for axis in range(3) if box[axis].start] + [
        (axis, -1) for axis in range(3) if box[axis].stop < sizes[axis]
    ]
    brightest = max((float(volume.voxels.take(end, axis).max()) for axis, end in filled), default=0.0)
    if brightest > BONE_ABOVE_HU:
        warnings.append(
            f"the border is filled with {brightest:.0f} HU, as bone has: crop it, or left and right may be exchanged"
        )
    return warnings


def edges_touched(labels: np.ndarray, values: list[int], volume: Volume) -> list[str]:
    """What ends where an organ reaches the volume's edge: the field of view, the region of interest, or both."""
    box = volume.scanned_box
    ends = {(axis, end): box[axis].stop - 1 if end else box[axis].start for axis in range(3) for end in (0, -1)}
    faces = {where: labels.take(plane, axis=where[0]) for where, plane in ends.items()}
    cut = [face for where, face in faces.items() if where in volume.cut_faces]
    scanned = [face for where, face in faces.items() if where not in volume.cut_faces]
    if volume.valid_region is not None:
        scanned = [labels[~volume.valid_region.contains(volume.grid, margin_vox=-0.5)]]
    edges = {"the field of view": scanned, "the region of interest": cut}
    return [name for name, parts in edges.items() if any(bool(np.isin(part, values).any()) for part in parts)]
