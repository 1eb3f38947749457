"""What is measured of a result: volume and mean HU per organ, and where the attention of each gate lies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ..volume import Box, GateMeasure, Grid, OrganMeasure, Segmentation, Volume, nonzero_box, triple

Indices = tuple[np.ndarray, np.ndarray, np.ndarray]  # k, j, i of each voxel
POINTS_AT_A_TIME = 1 << 20  # voxels of an organ's box, to bound memory


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
    counts: dict[tuple[str, str], int] = defaultdict(int)  # (gate, organ) -> voxels of the organ inside the map
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for organ, kji in _organ_voxels(segmentation):
        places: dict[bytes, Indices] = {}  # the maps of a gate share their grid
        for name, attention in segmentation.attention.items():
            grid = attention.grid
            key = np.append(grid.ijk_to_ras, grid.shape_kji).tobytes()
            if key not in places:
                places[key] = _voxels_around(kji, segmentation.grid, grid)
            values = attention.voxels[places[key]]
            counts[name, organ] += len(values)
            sums[name, organ] += float(values.sum(dtype=np.float64))
    measures = {}
    for name, attention in segmentation.attention.items():
        alpha = attention.voxels
        total = float(alpha.sum(dtype=np.float64))
        per_voxel = segmentation.grid.voxel_volume_ml / attention.grid.voxel_volume_ml
        share = {o.name: sums[name, o.name] * per_voxel / total if total > 0 else 0.0 for o in segmentation.organs}
        volume_share = {o.name: counts[name, o.name] * per_voxel / alpha.size for o in segmentation.organs}
        mean, std = float(alpha.mean(dtype=np.float64)), float(alpha.std(dtype=np.float64))
        measures[name] = GateMeasure(mean, std, share, volume_share)
    return measures


def _organ_voxels(segmentation: Segmentation) -> Iterator[tuple[str, Indices]]:
    """Names of the organs found with the indices of their voxels, a few slices at a time."""
    boxes = organ_boxes(segmentation)
    for organ in segmentation.organs:
        if organ.value not in boxes:
            continue
        slices, rows, columns = boxes[organ.value]
        step = max(1, POINTS_AT_A_TIME // ((rows.stop - rows.start) * (columns.stop - columns.start)))
        for start in range(slices.start, slices.stop, step):
            part = segmentation.labels[start : min(start + step, slices.stop), rows, columns]
            k, j, i = np.nonzero(part == organ.value)
            yield organ.name, (k + start, j + rows.start, i + columns.start)


def _voxels_around(kji: Indices, source: Grid, target: Grid) -> Indices:
    """Indices of the target's voxels that the centres of some of the source's lie in; those outside are left out."""
    mapping = np.linalg.inv(target.ijk_to_ras) @ source.ijk_to_ras
    k, j, i = kji
    places, inside = [], np.ones(len(k), dtype=bool)
    for row, size in zip(mapping[:3], target.shape_kji[::-1], strict=True):
        index = np.floor(row[0] * i + row[1] * j + row[2] * k + (row[3] + 0.5)).astype(np.int32)
        inside &= (index >= 0) & (index < size)
        places.append(index)
    third, second, first = (index[inside] for index in places)
    return first, second, third


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
