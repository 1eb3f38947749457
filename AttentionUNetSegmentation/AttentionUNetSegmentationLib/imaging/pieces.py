"""Pieces that are too small to be shown as an organ, above all at the edge of the field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.description import LabelSpec
from ..monitor import Monitor
from ..volume import Box, Segmentation, Volume
from .components import numbered_components
from .measures import organ_boxes

MIN_ORGAN_ML = 3.0  # the smallest organ of the label maps, an atrophic kidney, has 10 ml
MIN_SHARE = 0.2  # of the smallest plausible volume, for organs that are small by nature
PIECE_SHARE = 1 / 3  # of that, for a piece at the edge of the field


def drop_pieces(result: Segmentation, specs: Sequence[LabelSpec], volume: Volume, monitor: Monitor) -> dict[str, str]:
    """Clear what is too small to be shown as an organ, and say so.

    That is an organ below ``smallest_ml`` altogether, and pieces below ``PIECE_SHARE`` of it at the volume's edge.

    Args:
        result: Its labels are changed in place.
        specs: The model's labels.
        volume: The CT.
        monitor: Asked between organs.

    Returns:
        By organ, one sentence for each that lost 0.1 ml or more.
    """
    notes = {}
    boxes = organ_boxes(result)
    limits = {
        organ.value: smallest_ml(spec) for spec in specs for split in (False, True) for organ in spec.organs(split)
    }
    for organ in result.organs:
        monitor.check()
        if organ.value not in boxes:
            continue
        part = result.labels[boxes[organ.value]]
        components = numbered_components(part == organ.value)
        ml = np.bincount(components.ravel()) * result.grid.voxel_volume_ml
        ml[0] = 0
        at_edge = np.zeros(len(ml), dtype=bool)
        at_edge[components[_edge(volume, boxes[organ.value])]] = True
        limit = limits[organ.value]
        small = np.ones(len(ml), dtype=bool) if ml.sum() < limit else at_edge & (ml < PIECE_SHARE * limit)
        small[0] = False
        part[small[components]] = 0
        if round(ml[small].sum(), 1) > 0:
            where = " at the edge of the field" if at_edge[small].any() else ""
            notes[organ.name] = f"{organ.name}: {ml[small].sum():.1f} ml{where} are not shown, too little for an organ"
    return notes


def smallest_ml(spec: LabelSpec) -> float:
    """The volume below which something is no organ; 0 where the model does not say what is plausible."""
    return min(MIN_ORGAN_ML, MIN_SHARE * spec.plausible_ml[0]) if spec.plausible_ml else 0.0


def _edge(volume: Volume, box: Box) -> np.ndarray:
    """Which voxels of a box lie at the edge of what was scanned or of the region of interest; boolean (K, J, I)."""
    grid = volume.grid.crop_to(box)
    edge = np.zeros(grid.shape_kji, dtype=bool)
    for axis, (part, scanned) in enumerate(zip(box, volume.scanned_box, strict=True)):
        planes = np.arange(part.start, part.stop)
        np.moveaxis(edge, axis, 0)[(planes <= scanned.start) | (planes >= scanned.stop - 1)] = True
    if volume.valid_region is not None:
        edge |= ~volume.valid_region.contains(grid, margin_vox=-0.5)
    return edge
