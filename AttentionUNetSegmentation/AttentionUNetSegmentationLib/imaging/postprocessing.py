"""From class scores on the network's grid to labels on the input's grid, and attention maps with their geometry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..models.description import LabelSpec
from ..monitor import Monitor
from ..volume import Box, Grid, OrganMask, Triple, Volume, grown, nonzero_box, triple
from .components import dilate, keep_largest, smallest_kidney_vox, split_sides
from .pieces import smallest_ml
from .preprocessing import NetworkInput
from .resampling import resample

MAX_MARGIN = 16.0  # logits
SIDE_MARGIN_VOX = 2  # around each side of a paired organ, within which the class's scores belong to that side
LARGE_SHARE, LARGE_ML = 0.2, 10.0  # a part that the clean-up takes away is named from either of these sizes on
MIN_PROBABILITY = 1e-3  # below this everywhere, a probability map stays 0
SLAB_VOXELS = 16 << 20  # voxels of the input's grid that are worked on at a time


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the classes: (C, D, H, W) float32, each voxel's sum is 1."""
    exponentials = np.exp(logits - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def cleared_beyond(logits: np.ndarray, network_grid: Grid, scanned: Grid, monitor: Monitor) -> np.ndarray:
    """Scores without organs where nothing was scanned: resampling to a box around a tilted scan repeats its edge there.

    Args:
        logits: (C, D, H, W), background first. Not changed.
        network_grid: Where they lie.
        scanned: What was scanned. One voxel around it, of the coarser of both grids, stays, for interpolation.
        monitor: Asked between channels.
    """
    around = [math.ceil(max(network_grid.spacing_mm) / spacing) for spacing in scanned.spacing_mm[::-1]]  # k, j, i
    shape = triple(size + 2 * margin for size, margin in zip(scanned.shape_kji, around, strict=True))
    reach = scanned.crop(triple(-margin for margin in around), shape)
    corners = reach.ijk_of(network_grid.corners_ras_mm())
    if (corners >= -0.5).all() and (corners <= np.array(shape[::-1]) - 0.5).all():
        return logits
    beyond = ~reach.contains(network_grid)
    floor, ceiling = logits.min(), logits.max()
    cleared = np.empty_like(logits)
    for channel, scores in enumerate(logits):
        monitor.check()
        cleared[channel] = np.where(beyond, floor if channel else ceiling, scores)
    return cleared


def organ_scores(
    logits: np.ndarray,
    specs: Sequence[LabelSpec],
    network_input: NetworkInput,
    monitor: Monitor,
    clean_up: bool = True,
    split: bool = True,
) -> tuple[np.ndarray, list[OrganMask], list[str]]:
    """Clean each class up and split paired organs by side, on the network's grid.

    Args:
        logits: (C, D, H, W); channel 0 is background, channel n + 1 is ``specs[n]``. Not changed.
        specs: The model's labels.
        network_input: The CT on the network's grid.
        monitor: Asked between organs and the steps of each.
        clean_up: Keep only the largest components of each organ, of a split one the largest on each side, no crumbs.
        split: Split paired organs into right and left.

    Returns:
        Scores (1 + organs, D, H, W), background first; the organs in order; warnings.
    """
    classes = _best_classes(logits, monitor)
    monitor.check()
    logits = logits.copy()
    monitor.check()
    found, floor = classes > 0, logits.min()
    channels, organs, warnings = [], [], []
    for channel, spec in enumerate(specs, start=1):
        monitor.update((channel - 1) / len(specs))
        mask = classes == channel
        sides, reason = None, ""
        if split and spec.sides is not None and mask.any():
            sides, reason = split_sides(mask, network_input.grid, network_input, found, largest=clean_up)
        if reason:
            warnings.append(f"{spec.name}: not split into right and left, {reason}")
        monitor.check()
        if clean_up:
            kept = _without_crumbs(mask, spec, network_input.grid) if sides is None else sides[0] | sides[1]
            _give_to_background(logits, channel, mask & ~kept)
            monitor.check()
            warnings += _left_out(spec, mask & ~kept, kept, network_input.grid)
            monitor.check()
        organs += spec.organs(split=spec.sides is not None and split and (sides is not None or not mask.any()))
        if sides is not None:
            channels += [np.where(dilate(side, SIDE_MARGIN_VOX), logits[channel], floor) for side in sides]
        else:
            channels += [logits[channel]] * (len(organs) - len(channels))
    scores = np.empty((1 + len(channels), *classes.shape), logits.dtype)
    for n, one in enumerate([logits[0], *channels]):
        monitor.check()
        scores[n] = one
    return scores, organs, warnings


def _best_classes(logits: np.ndarray, monitor: Monitor) -> np.ndarray:
    """The first channel with the highest score, (D, H, W) uint8: argmax in steps that can be interrupted."""
    classes, best = np.zeros(logits.shape[1:], np.uint8), logits[0].copy()
    for channel, scores in enumerate(logits[1:], start=1):
        monitor.check()
        classes[scores > best] = channel
        np.maximum(best, scores, out=best)
    return classes


def _without_crumbs(mask: np.ndarray, spec: LabelSpec, grid: Grid) -> np.ndarray:
    """The parts of an organ that stay; those of a pair may lie far apart, and one may be much smaller."""
    if spec.sides is None:
        return keep_largest(mask, spec.components, near=grid)
    return keep_largest(mask, spec.components, no_crumb_vox=smallest_kidney_vox(grid))


def _left_out(spec: LabelSpec, removed: np.ndarray, kept: np.ndarray, grid: Grid) -> list[str]:
    """What the clean-up took away that is too large to be taken for a fault without a word."""
    part_ml, kept_ml = (np.count_nonzero(mask) * grid.voxel_volume_ml for mask in (keep_largest(removed), kept))
    if not part_ml or part_ml < max(smallest_ml(spec), min(LARGE_SHARE * kept_ml, LARGE_ML)):
        return []
    return [f"{spec.name}: a separate part of {part_ml:.0f} ml is not shown"]


def _give_to_background(logits: np.ndarray, channel: int, where: np.ndarray) -> None:
    """Exchange the scores of a class and of background in some voxels."""
    logits[0][where], logits[channel][where] = logits[channel][where], logits[0][where]


def _class_margins(scores: np.ndarray, monitor: Monitor) -> np.ndarray:
    """By how much each class leads the best other one, within ``MAX_MARGIN``: (C, D, H, W) float32.

    Where one class borders another, interpolated margins put the border where the scores are equal, between voxels;
    probabilities, being almost 0 or 1, would follow the voxels' steps. The limit keeps a network that is surer of one
    side than of the other from moving the border, and a third class from appearing between two others.
    """
    margins = np.empty_like(scores)
    for channel in range(len(scores)):
        monitor.check()
        best_other = np.maximum.reduce([other for n, other in enumerate(scores) if n != channel])
        np.clip(scores[channel] - best_other, -MAX_MARGIN, MAX_MARGIN, out=margins[channel])
    return margins


def labels_on_input_grid(
    scores: np.ndarray, values: Sequence[int], network_grid: Grid, target: Grid, monitor: Monitor
) -> np.ndarray:
    """Interpolate the classes' margins linearly to the input's grid and take the class with the highest.

    On slices thicker than the network's this asks what lies in their middle: averaged margins shrink round organs.
    Organs are interpolated inside their bounding boxes only, slab by slab, so memory stays bounded.

    Args:
        scores: (1 + organs, D, H, W) of ``organ_scores``; background first.
        values: Label value of each organ.
        network_grid: Where the scores lie.
        target: The input's grid.
        monitor: Asked between slabs.

    Returns:
        (K, J, I) uint8 label values, 0 for background.
    """
    labels = np.zeros(target.shape_kji, dtype=np.uint8)
    found = nonzero_box((scores[1:] > scores[0]).any(axis=0))
    if found is None:
        return labels
    around = grown(found, 1, network_grid.shape_kji)
    network_grid = network_grid.crop_to(around)
    margins = _class_margins(scores[:, *around], monitor)
    boxes = {
        channel: box
        for channel in range(1, len(margins))
        if (box := _box_on(margins[channel], network_grid, target, 0.0)) is not None
    }
    if not boxes:
        return labels
    union = triple(
        slice(min(box[axis].start for box in boxes.values()), max(box[axis].stop for box in boxes.values()))
        for axis in range(3)
    )
    slabs = list(_slabs(union))
    for n, slab in enumerate(slabs):
        monitor.update(n / len(slabs))
        best = resample(margins[0], network_grid, target.crop_to(slab), antialias=False)
        for channel, box in boxes.items():
            part = _intersection(box, slab)
            if part is None:
                continue
            score = resample(margins[channel], network_grid, target.crop_to(part), antialias=False)
            inner = tuple(slice(p.start - s.start, p.stop - s.start) for p, s in zip(part, slab, strict=True))
            better = score > best[inner]
            best[inner][better] = score[better]
            labels[part][better] = values[channel - 1]
    return labels


def drop_crumbs(
    labels: np.ndarray, values: Sequence[int], monitor: Monitor, no_crumb_vox: Mapping[int, float] | None = None
) -> None:
    """Clear crumbs of each organ: thick slices cut off thin ends of parts that hang together on the network's grid.

    Args:
        labels: (K, J, I) label values; changed in place.
        values: Label value of each organ.
        monitor: Asked between organs.
        no_crumb_vox: By label value, see ``keep_largest``; of what is not there, every small part is a crumb.
    """
    for value in values:
        monitor.check()
        mask = labels == value
        kept = keep_largest(mask, count=None, no_crumb_vox=(no_crumb_vox or {}).get(value, math.inf))
        labels[mask & ~kept] = 0


def probability_maps(
    logits: np.ndarray, specs: Sequence[LabelSpec], network_grid: Grid, target: Grid, monitor: Monitor
) -> dict[str, Volume]:
    """Probability of each organ class on the input's grid, by name; both sides of a paired organ together."""
    probabilities = class_probabilities(logits)
    maps = {}
    for channel, spec in enumerate(specs, start=1):
        voxels = np.zeros(target.shape_kji, dtype=np.float32)
        box = _box_on(probabilities[channel], network_grid, target, MIN_PROBABILITY)
        if box is not None:
            for slab in _slabs(box):
                monitor.check()
                voxels[slab] = resample(probabilities[channel], network_grid, target.crop_to(slab))
        maps[spec.name] = Volume(voxels, target.ijk_to_ras, name=f"probability of {spec.name}")
    return maps


def attention_volumes(
    attention: dict[str, np.ndarray], strides: dict[str, Triple], network_grid: Grid
) -> dict[str, Volume]:
    """Coefficient maps with their own geometry.

    A voxel of a map covers ``f`` input voxels per axis, so its centre lies (f - 1) / 2 input voxels further than its
    index times f.
    """
    volumes = {}
    for name, alpha in attention.items():
        f = np.array(strides[name][::-1], dtype=float)  # i, j, k
        matrix = network_grid.ijk_to_ras.copy()
        matrix[:3, :3] = network_grid.ijk_to_ras[:3, :3] * f
        matrix[:3, 3] = network_grid.ras_of((f - 1) / 2)
        volumes[name] = Volume(alpha.astype(np.float32, copy=False), matrix, name=f"attention {name}")
    return volumes


def _box_on(channel: np.ndarray, source: Grid, target: Grid, threshold: float) -> Box | None:
    """Box of target voxels where a channel can exceed the threshold, or None if nowhere."""
    box = nonzero_box(channel > threshold)
    if box is None:
        return None
    low, high = [s.start - 1 for s in box], [s.stop for s in box]  # one voxel around
    corners = np.array(np.meshgrid(*zip(low[::-1], high[::-1], strict=True), indexing="ij")).reshape(3, -1).T
    ijk = target.ijk_of(source.ras_of(corners))
    result = []
    for axis in range(3):
        along = ijk[:, 2 - axis]
        start = max(0, int(np.floor(along.min())))
        stop = min(target.shape_kji[axis], int(np.ceil(along.max())) + 1)
        if start >= stop:
            return None
        result.append(slice(start, stop))
    return triple(result)


def _slabs(box: Box) -> Iterator[Box]:
    """Cut a box along k into parts of at most ``SLAB_VOXELS`` voxels."""
    k, j, i = box
    thickness = max(1, SLAB_VOXELS // ((j.stop - j.start) * (i.stop - i.start)))
    for start in range(k.start, k.stop, thickness):
        yield slice(start, min(start + thickness, k.stop)), j, i


def _intersection(a: Box, b: Box) -> Box | None:
    parts = triple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return parts if all(part.start < part.stop for part in parts) else None
