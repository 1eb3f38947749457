"""From class scores on the network's grid to labels on the input's grid, and attention maps with their geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from .components import keep_largest, split_sides
from .model_spec import LabelSpec
from .monitor import Monitor
from .preprocessing import NetworkInput
from .resampling import resample
from .volume import Box, Grid, OrganMask, Volume, nonzero_box

MAX_MARGIN = 16.0  # logits
MIN_PROBABILITY = 1e-3  # below this everywhere, a probability map stays 0
SLAB_VOXELS = 16 << 20  # voxels of the input's grid that are worked on at a time


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the classes: (C, D, H, W) float32, each voxel's sum is 1."""
    return torch.softmax(torch.from_numpy(logits), dim=0).numpy()


def class_margins(logits: np.ndarray) -> np.ndarray:
    """By how much each class leads the best other one, within ``MAX_MARGIN``: (C, D, H, W) float32.

    Where one class borders another, interpolated margins put the border where the logits are equal, between voxels;
    probabilities, being almost 0 or 1, would follow the voxels' steps. The limit keeps a network that is surer of one
    side than of the other from moving the border, and a third class from appearing between two others.
    """
    top_two = np.partition(logits, -2, axis=0)[-2:]
    best_other = np.where(logits == top_two[1], top_two[0], top_two[1])
    return np.clip(logits - best_other, -MAX_MARGIN, MAX_MARGIN)


def labels_on_input_grid(margins: np.ndarray, network_grid: Grid, target: Grid, monitor: Monitor) -> np.ndarray:
    """Interpolate class margins linearly to the input's grid and take the class with the highest.

    Organs are interpolated inside their bounding boxes only, slab by slab, so memory stays bounded.

    Args:
        margins: (C, D, H, W) of ``class_margins``; channel 0 is background.
        network_grid: Where they lie.
        target: The input's grid.
        monitor: Asked between slabs.

    Returns:
        (K, J, I) uint8, the class of every voxel.
    """
    labels = np.zeros(target.shape_kji, dtype=np.uint8)
    boxes = {c: box for c in range(1, len(margins)) if (box := _box_on(margins[c], network_grid, target, -MAX_MARGIN))}
    if not boxes:
        return labels
    union = tuple(
        slice(min(box[axis].start for box in boxes.values()), max(box[axis].stop for box in boxes.values()))
        for axis in range(3)
    )
    slabs = list(_slabs(union))
    for n, slab in enumerate(slabs):
        monitor.update(n / len(slabs))
        best = _interpolated(margins[0], network_grid, target, slab)
        classes = np.zeros(best.shape, dtype=np.uint8)
        for channel, box in boxes.items():
            part = _intersection(box, slab)
            if part is None:
                continue
            score = _interpolated(margins[channel], network_grid, target, part)
            inner = tuple(slice(p.start - s.start, p.stop - s.start) for p, s in zip(part, slab, strict=True))
            better = score > best[inner]
            best[inner][better] = score[better]
            classes[inner][better] = channel
        labels[slab] = classes
    return labels


def organs_from_classes(
    classes: np.ndarray,
    specs: Sequence[LabelSpec],
    grid: Grid,
    network_input: NetworkInput,
    found: np.ndarray,
    monitor: Monitor,
    clean_up: bool,
    split: bool,
) -> tuple[np.ndarray, list[OrganMask], list[str]]:
    """Clean each class up, split paired organs by side, and give every organ its label value.

    Args:
        classes: (K, J, I) uint8 channel numbers on the input's grid.
        specs: The model's labels; ``specs[n]`` is channel n + 1.
        grid: The input's grid.
        network_input: For the patient's midline.
        found: (D, H, W) boolean on the network's grid, True where an organ is the most probable class.
        monitor: Asked between organs.
        clean_up: Keep only the largest components of each organ.
        split: Split paired organs into right and left.

    Returns:
        Labels (K, J, I) uint8, the organs in order, and warnings.
    """
    labels = np.zeros_like(classes)
    organs: list[OrganMask] = []
    warnings: list[str] = []
    for channel, spec in enumerate(specs, start=1):
        monitor.update((channel - 1) / len(specs))
        box = nonzero_box(classes == channel)
        whole = spec.organs(split=False)[0]
        if box is None:
            organs += spec.organs(split)
            continue
        mask = classes[box] == channel
        if clean_up:
            mask = keep_largest(mask, spec.components)
        if split and spec.sides is not None:
            sides, reason = split_sides(mask, grid.crop_to(box), network_input, found)
            if sides is not None:
                for organ, side in zip(spec.organs(split=True), sides, strict=True):
                    labels[box][side] = organ.value
                    organs.append(organ)
                continue
            warnings.append(f"{spec.name}: not split into right and left, {reason}")
        labels[box][mask] = whole.value
        organs.append(whole)
    return labels, organs, warnings


def probability_maps(
    logits: np.ndarray, specs: Sequence[LabelSpec], network_grid: Grid, target: Grid
) -> dict[str, Volume]:
    """Probability of each organ class on the input's grid, by name; both sides of a paired organ together."""
    probabilities = class_probabilities(logits)
    maps = {}
    for channel, spec in enumerate(specs, start=1):
        voxels = np.zeros(target.shape_kji, dtype=np.float32)
        box = _box_on(probabilities[channel], network_grid, target, MIN_PROBABILITY)
        if box is not None:
            for slab in _slabs(box):
                voxels[slab] = _interpolated(probabilities[channel], network_grid, target, slab)
        maps[spec.name] = Volume(voxels, target.ijk_to_ras, name=f"probability of {spec.name}")
    return maps


def attention_volumes(
    attention: dict[str, np.ndarray], factors: dict[str, tuple[int, int, int]], network_grid: Grid
) -> dict[str, Volume]:
    """Coefficient maps with their own geometry.

    A voxel of a map covers ``f`` input voxels per axis, so its centre lies (f - 1) / 2 input voxels further than its
    index times f.
    """
    volumes = {}
    for name, alpha in attention.items():
        f = np.array(factors[name][::-1], dtype=float)  # i, j, k
        matrix = network_grid.ijk_to_ras.copy()
        matrix[:3, :3] = network_grid.ijk_to_ras[:3, :3] * f
        matrix[:3, 3] = network_grid.ras_of((f - 1) / 2)
        volumes[name] = Volume(alpha.astype(np.float32, copy=False), matrix, name=f"attention {name}")
    return volumes


def _interpolated(channel: np.ndarray, network_grid: Grid, target: Grid, part: Box) -> np.ndarray:
    return resample(channel, network_grid, target.crop_to(part))


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
    return tuple(result)


def _slabs(box: Box) -> Iterator[Box]:
    """Cut a box along k into parts of at most ``SLAB_VOXELS`` voxels."""
    k, j, i = box
    thickness = max(1, SLAB_VOXELS // ((j.stop - j.start) * (i.stop - i.start)))
    for start in range(k.start, k.stop, thickness):
        yield slice(start, min(start + thickness, k.stop)), j, i


def _intersection(a: Box, b: Box) -> Box | None:
    parts = tuple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return parts if all(part.start < part.stop for part in parts) else None
