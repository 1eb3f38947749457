"""What is measured of a result: volume and mean HU per organ, and where the attention of each gate lies."""

from __future__ import annotations

import numpy as np

from ..volume import Box, GateMeasure, OrganMeasure, Segmentation, Volume, nonzero_box, triple


def measure_organs(segmentation: Segmentation, volume: Volume) -> list[OrganMeasure]:
    """Measure every organ, found or not, in the segmentation's order."""
    boxes = organ_boxes(segmentation)
    measures = []
    for organ in segmentation.organs:
        box = boxes.get(organ.value)
        if box is None:
            measures.append(OrganMeasure(organ, 0, 0.0, None, None))
            continue
        mask = segmentation.labels[box] == organ.value
        count = int(np.count_nonzero(mask))
        mean_hu = float(volume.voxels[box][mask].mean(dtype=np.float64))
        centre_kji = [
            float((np.arange(size) * mask.sum(axis=tuple(a for a in range(3) if a != axis))).sum() / count)
            for axis, size in enumerate(mask.shape)
        ]
        centroid = segmentation.grid.crop_to(box).ras_of(np.array(centre_kji[::-1]))
        volume_ml = count * segmentation.grid.voxel_volume_ml
        measures.append(OrganMeasure(organ, count, volume_ml, mean_hu, triple(float(x) for x in centroid)))
    return measures


def measure_attention(segmentation: Segmentation) -> dict[str, GateMeasure]:
    """Measure every gate; each organ voxel counts with the coefficient of the gate's voxel that it lies in."""
    boxes = organ_boxes(segmentation)
    points = {
        organ.name: segmentation.grid.crop_to(box).ras_of(np.argwhere(segmentation.labels[box] == organ.value)[:, ::-1])
        for organ in segmentation.organs
        if (box := boxes.get(organ.value)) is not None
    }
    measures = {}
    for name, attention in segmentation.attention.items():
        alpha = attention.voxels.astype(np.float64)
        per_voxel = segmentation.grid.voxel_volume_ml / attention.grid.voxel_volume_ml
        share, volume_share = {}, {}
        for organ in segmentation.organs:
            values = _values_at(attention, points.get(organ.name, np.empty((0, 3))))
            share[organ.name] = float(values.sum()) * per_voxel / alpha.sum() if alpha.sum() > 0 else 0.0
            volume_share[organ.name] = len(values) * per_voxel / alpha.size
        measures[name] = GateMeasure(float(alpha.mean()), float(alpha.std()), share, volume_share)
    return measures


def _values_at(volume: Volume, points_ras_mm: np.ndarray) -> np.ndarray:
    """Values of the voxels that the points (n, 3) lie in; points outside are left out."""
    ijk = np.floor(volume.grid.ijk_of(points_ras_mm) + 0.5).astype(int)
    inside = ((ijk >= 0) & (ijk < volume.voxels.shape[::-1])).all(axis=1)
    i, j, k = ijk[inside].T
    return volume.voxels[k, j, i].astype(np.float64)


def organ_boxes(segmentation: Segmentation) -> dict[int, Box]:
    """Box of every organ that was found, by label value."""
    everything = nonzero_box(segmentation.labels)
    if everything is None:
        return {}
    boxes: dict[int, Box] = {}
    part = segmentation.labels[everything]
    for organ in segmentation.organs:
        box = nonzero_box(part == organ.value)
        if box is not None:
            boxes[organ.value] = triple(
                slice(outer.start + inner.start, outer.start + inner.stop)
                for outer, inner in zip(everything, box, strict=True)
            )
    return boxes
