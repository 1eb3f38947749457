"""Tubes through unlabelled tissue: vessels that the label maps lack."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .scene import Scene
from .structures import number_of


def paint_tube(
    scene: Scene, path_vox: list[torch.Tensor], radius_mm: float, value_hu: float, through: str | None = None
) -> None:
    """Paint a tube along straight pieces, over unlabelled voxels inside the body only.

    Args:
        scene: The scene.
        path_vox: Corner points (k, j, i) in voxels, at least two.
        radius_mm: Radius of the tube.
        value_hu: Value of the tube.
        through: Structure that is painted over, too.
    """
    number = number_of(through) if through else 0
    for box, tube in _pieces(scene.shape, path_vox, radius_mm / scene.spacing_mm):
        free = (
            ((scene.labels[box] == 0) | (scene.labels[box] == number))
            & scene.inside[box]
            & (scene.mass_index[box] == 0)
        )
        scene.image_hu[box] = torch.where(tube & free, value_hu, scene.image_hu[box])


def tube_mask(shape: tuple[int, int, int], path_vox: list[torch.Tensor], radius_vox: float) -> torch.Tensor:
    """Return the (K, J, I) bool mask of a tube along straight pieces between corner points (k, j, i)."""
    mask = torch.zeros(shape, dtype=torch.bool)
    for box, tube in _pieces(shape, path_vox, radius_vox):
        mask[box] |= tube
    return mask


def _pieces(
    shape: tuple[int, int, int], path_vox: list[torch.Tensor], radius_vox: float
) -> Iterator[tuple[tuple[slice, ...], torch.Tensor]]:
    """Yield the box around each straight piece, cut to the volume, and the piece's mask in it."""
    for start, end in zip(path_vox[:-1], path_vox[1:], strict=True):
        low = (torch.minimum(start, end) - radius_vox).floor().clamp(min=0).long()
        high = torch.minimum((torch.maximum(start, end) + radius_vox).ceil().long() + 1, torch.tensor(shape))
        if (high <= low).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        yield box, _distance_to_segment_vox(box, start, end) < radius_vox


def _distance_to_segment_vox(box: tuple[slice, ...], start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    axes = [torch.arange(part.start, part.stop).float() for part in box]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) - start
    direction = end - start
    along = ((points @ direction) / direction.square().sum().clamp(min=1e-6)).clamp(0, 1)
    return (points - along[..., None] * direction).norm(dim=-1)
