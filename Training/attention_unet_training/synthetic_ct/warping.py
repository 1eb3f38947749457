"""Resampling of the prepared anatomy at the coordinates of a sample."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from .preparation import PreparedAnatomy


def warp_labels(anatomy: PreparedAnatomy, source_mm: torch.Tensor) -> torch.Tensor:
    """Sample the labels at the nearest voxel.

    Args:
        anatomy: The prepared label map.
        source_mm: (3, K, J, I) coordinates, order z, y, x. Beyond the ends along z the last slice counts.

    Returns:
        (K, J, I) int64; 0 beside the map in plane.
    """
    position_vox = (source_mm / anatomy.spacing_mm).round_().long()
    flat = torch.zeros(source_mm.shape[1:], dtype=torch.int64)
    for axis, size in enumerate(anatomy.labels.shape):
        flat = flat * size + position_vox[axis].clamp(0, size - 1)
    labels = torch.from_numpy(anatomy.labels).flatten()[flat].long()
    labels[_beside_mm(anatomy, source_mm) > anatomy.spacing_mm] = 0
    return labels


def warp_distances(
    anatomy: PreparedAnatomy, source_mm: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Sample the distances to outline, border and bone, and to each organ, linearly, in mm, each (K, J, I).

    Beside the map in plane all but the distance to a border grow by the distance to the map.
    """
    source_vox = source_mm / anatomy.spacing_mm
    box = _bounding_box(source_vox, anatomy.labels.shape)
    maps = (
        anatomy.hull_distance_mm,
        anatomy.border_depth_mm,
        anatomy.bone_distance_mm,
        *anatomy.organ_distance_mm.values(),
    )
    cropped = torch.stack([torch.from_numpy(distance_mm[box].astype("float32")) for distance_mm in maps])
    origin = torch.tensor([float(part.start) for part in box]).view(3, 1, 1, 1)
    hull_mm, depth_mm, bone_mm, *to_organs_mm = _sample_linear(cropped, source_vox - origin)
    beside_mm = _beside_mm(anatomy, source_mm)
    organ_mm = {
        organ: to_organ_mm + beside_mm
        for organ, to_organ_mm in zip(anatomy.organ_distance_mm, to_organs_mm, strict=True)
    }
    return hull_mm + beside_mm, depth_mm, bone_mm + beside_mm, organ_mm


def _beside_mm(anatomy: PreparedAnatomy, source_mm: torch.Tensor) -> torch.Tensor:
    """Distance in plane to the map, 0 within."""
    last_mm = [(size - 1) * anatomy.spacing_mm for size in anatomy.labels.shape[1:]]
    beyond = [
        (-axis).clamp_(min=0) + (axis - last).clamp_(min=0) for axis, last in zip(source_mm[1:], last_mm, strict=True)
    ]
    return torch.hypot(*beyond)


def _bounding_box(source_vox: torch.Tensor, shape: tuple[int, ...]) -> tuple[slice, ...]:
    lows, highs = source_vox.flatten(1).min(1).values, source_vox.flatten(1).max(1).values
    box = []
    for low, high, size in zip(lows.tolist(), highs.tolist(), shape, strict=True):
        start = min(max(int(low) - 2, 0), size - 1)
        box.append(slice(start, max(start + 1, min(int(high) + 3, size))))
    return tuple(box)


def _sample_linear(volumes: torch.Tensor, position_vox: torch.Tensor) -> torch.Tensor:
    """Sample (C, k, j, i) volumes at (3, K, J, I) positions, edges replicated."""
    sizes = torch.tensor(volumes.shape[1:]).view(3, 1, 1, 1)
    scaled = position_vox * (2 / (sizes - 1).clamp(min=1)) - 1
    grid = torch.stack([scaled[2], scaled[1], scaled[0]], dim=-1)[None]  # grid_sample wants x, y, z
    return functional.grid_sample(volumes[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
