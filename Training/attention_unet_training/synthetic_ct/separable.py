"""Linear filters along the three axes of a volume, each written as one small matrix.

A blur, a thick slice or an upsampling is a matrix of shape (outputs, inputs) per axis. On grids of about a hundred
voxels a side three matrix products are faster than convolutions, and borders need no padding.
"""

from __future__ import annotations

import math

import torch


def apply_separable(volume: torch.Tensor, matrices_kji: tuple[torch.Tensor | None, ...]) -> torch.Tensor:
    """Apply one matrix per axis.

    Args:
        volume: (..., K, J, I) float32.
        matrices_kji: Matrices (K', K), (J', J), (I', I); None leaves that axis alone.

    Returns:
        (..., K', J', I') float32, contiguous.
    """
    along_k, along_j, along_i = matrices_kji
    if along_i is not None:
        volume = volume @ along_i.T
    if along_j is not None:
        volume = along_j @ volume
    if along_k is not None:
        rows = volume.flatten(-2)  # (..., K, J*I)
        volume = (along_k @ rows).unflatten(-1, volume.shape[-2:])
    return volume.contiguous()


def gaussian_blur_matrix(size: int, sigma_vox: float) -> torch.Tensor | None:
    """Return the (size, size) Gaussian blur with replicated edges; None where the blur is below 0.15 voxels."""
    if sigma_vox < 0.15 or size < 2:
        return None
    radius = max(1, math.ceil(3 * sigma_vox))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma_vox) ** 2)
    taps = taps / taps.sum()
    matrix = torch.zeros(size, size)
    rows = torch.arange(size)
    for offset, tap in zip(range(-radius, radius + 1), taps, strict=True):
        columns = (rows + offset).clamp(0, size - 1)  # an edge takes the taps that would fall beyond it
        matrix[rows, columns] += tap
    return matrix


def linear_matrix(positions_vox: torch.Tensor, size: int) -> torch.Tensor:
    """Return the (len(positions), size) matrix of linear interpolation, clamped at both ends."""
    positions = positions_vox.clamp(0, size - 1)
    low = positions.floor().long().clamp(max=max(size - 2, 0))
    weight = positions - low
    matrix = torch.zeros(len(positions), size)
    rows = torch.arange(len(positions))
    matrix[rows, low] += 1 - weight
    matrix[rows, (low + 1).clamp(max=size - 1)] += weight
    return matrix


def thick_slice_matrix(size: int, thickness_vox: float, phase_vox: float, nearest: bool) -> torch.Tensor:
    """Return the (size, size) matrix of averaging into thick slices and resampling back to the fine grid.

    Args:
        size: Number of fine slices.
        thickness_vox: Thickness and spacing of the thick slices, in fine slices, at least 1.
        phase_vox: Shift of the thick slices along the axis, in fine slices.
        nearest: Resample by nearest neighbour (visible steps) instead of linearly.
    """
    count = math.ceil(size / thickness_vox) + 2
    fine = torch.arange(size).float()
    centres = (torch.arange(count).float() - 0.5) * thickness_vox + phase_vox
    overlap = (0.5 + thickness_vox / 2 - (fine[None] - centres[:, None]).abs()).clamp(0, min(1.0, thickness_vox))
    empty = overlap.sum(1) < 1e-6  # slices beyond the field take its edge, as interpolation asks for them
    nearest_fine = centres.round().long().clamp(0, size - 1)
    overlap[empty, nearest_fine[empty]] = 1.0
    average = overlap / overlap.sum(1, keepdim=True)  # (count, size)
    position = (fine - phase_vox) / thickness_vox + 0.5
    return linear_matrix(position.round() if nearest else position, count) @ average
