"""Figures of a result: volume and mean HU per organ, and where the attention of each gate lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .resampling import resample
from .volume import Box, Grid, OrganMask, Segmentation, Volume, nonzero_box


@dataclass(frozen=True)
class OrganMeasure:
    """One organ's figures.

    Attributes:
        organ: Which organ.
        voxels: Number of voxels.
        volume_ml: Volume in ml.
        mean_hu: Mean of the CT inside, None if the organ was not found.
        centroid_ras_mm: Centre of mass in mm, None if not found.
    """

    organ: OrganMask
    voxels: int
    volume_ml: float
    mean_hu: float | None
    centroid_ras_mm: tuple[float, float, float] | None


@dataclass(frozen=True)
class GateMeasure:
    """One gate's figures.

    Attributes:
        mean: Mean coefficient.
        std: Its standard deviation.
        share: Organ name -> share in [0, 1] of the map's attention mass (sum of coefficients) inside the organ.
        volume_share: Organ name -> share of the map's volume that the organ takes: what a flat map would give.
    """

    mean: float
    std: float
    share: dict[str, float]
    volume_share: dict[str, float]


def measure_organs(segmentation: Segmentation, volume: Volume) -> list[OrganMeasure]:
    """Figures of every organ, found or not, in the segmentation's order."""
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
        measures.append(OrganMeasure(organ, count, volume_ml, mean_hu, tuple(float(x) for x in centroid)))
    return measures


def measure_attention(segmentation: Segmentation) -> dict[str, GateMeasure]:
    """Figures of every gate; organs are brought to each gate's grid as the fraction of its voxels they fill."""
    boxes = organ_boxes(segmentation)
    fractions: dict[tuple, dict[str, tuple[Box, np.ndarray]]] = {}
    measures = {}
    for name, attention in segmentation.attention.items():
        key = attention.grid.shape_kji
        if key not in fractions:
            fractions[key] = {
                organ.name: part
                for organ in segmentation.organs
                if organ.value in boxes
                and (part := _fraction_on(segmentation, organ, boxes[organ.value], attention.grid)) is not None
            }
        alpha = attention.voxels.astype(np.float64)
        share, volume_share = {}, {}
        for organ in segmentation.organs:
            box, fraction = fractions[key].get(organ.name, (None, 0.0))
            inside = float((alpha[box] * fraction).sum()) if box is not None else 0.0
            share[organ.name] = inside / alpha.sum() if alpha.sum() > 0 else 0.0
            volume_share[organ.name] = float(np.sum(fraction)) / alpha.size
        measures[name] = GateMeasure(float(alpha.mean()), float(alpha.std()), share, volume_share)
    return measures


def organ_boxes(segmentation: Segmentation) -> dict[int, Box]:
    """Box of every organ that was found, by label value."""
    everything = nonzero_box(segmentation.labels)
    if everything is None:
        return {}
    boxes = {}
    part = segmentation.labels[everything]
    for organ in segmentation.organs:
        box = nonzero_box(part == organ.value)
        if box is not None:
            boxes[organ.value] = tuple(
                slice(outer.start + inner.start, outer.start + inner.stop)
                for outer, inner in zip(everything, box, strict=True)
            )
    return boxes


def _fraction_on(segmentation: Segmentation, organ: OrganMask, box: Box, target: Grid) -> tuple[Box, np.ndarray] | None:
    """Box on the target's grid around an organ, and the fraction of each voxel in it that the organ fills."""
    margin = [int(np.ceil(max(target.spacing_mm) / segmentation.grid.spacing_mm[2 - axis])) for axis in range(3)]
    start = [part.start - extra for part, extra in zip(box, margin, strict=True)]
    shape = [part.stop - part.start + 2 * extra for part, extra in zip(box, margin, strict=True)]
    mask = np.zeros(shape, dtype=np.float32)
    inner = tuple(slice(extra, size - extra) for extra, size in zip(margin, shape, strict=True))
    mask[inner] = segmentation.labels[box] == organ.value
    source = segmentation.grid.crop(tuple(start), tuple(shape))
    ijk = target.ijk_of(source.corners_ras_mm())
    part = []
    for axis in range(3):
        along = ijk[:, 2 - axis]
        low = max(0, int(np.floor(along.min())))
        high = min(target.shape_kji[axis], int(np.ceil(along.max())) + 1)
        if low >= high:
            return None
        part.append(slice(low, high))
    region = tuple(part)
    return region, resample(mask, source, target.crop_to(region))
