"""A label map of a few organs -> a whole anatomy: what is missing comes from another person, warped to fit.

Own organs are smoothed, as maps drawn on thick slices step along z, and otherwise kept. The donor's body is registered
to them (`organ_registration`) and gives everything that no map of the incomplete set shows. Where both claim a voxel,
the own organ has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage

from . import structures
from .body_map import grid_points
from .organ_distances import ORGANS, is_one_of, signed_distance_mm
from .organ_registration import RegistrationConfig, register

_SLICES = 16  # warped at once, to bound memory


@dataclass(frozen=True)
class CompletionConfig:
    """Numbers of the completion; all judgement.

    Attributes:
        registration: Numbers of the registration.
        smoothing_mm: Standard deviations (z, y, x) by which distances to own organs are smoothed.
        smallest_landmark_ml: Smaller pieces of an organ are no landmark.
        smallest_share_in_field: Share of a slice that the donor's scan must cover.
        largest_loss: Share of a donor's structure that own organs may cover before it is told.
    """

    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    smoothing_mm: tuple[float, float, float] = (2.5, 1.0, 1.0)
    smallest_landmark_ml: float = 1.0
    smallest_share_in_field: float = 0.9
    largest_loss: float = 0.4


@dataclass(frozen=True)
class Completed:
    """A completed label map.

    Attributes:
        labels: (K, J, I) uint8 on RAS+ axes, numbers of `structures.STRUCTURES`.
        lost: Share of each of the donor's structures that own organs cover, where it is more than is allowed.
    """

    labels: np.ndarray
    lost: dict[str, float]


def shown(labels: np.ndarray, names: Collection[str] = structures.STRUCTURES, smallest_vox: float = 1) -> list[str]:
    """Names of the structures that a label map shows with at least so many voxels, in the order of `names`."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return [name for name in names if counts[structures.number_of(name)] >= smallest_vox]


def landmarks(recipient: np.ndarray, donor: np.ndarray, spacing_mm: float, config: CompletionConfig) -> list[str]:
    """Organs that both label maps show, of which bones, muscles, lungs and heart are none."""
    smallest_vox = config.smallest_landmark_ml * 1000 / spacing_mm**3
    return shown(donor, shown(recipient, ORGANS, smallest_vox), smallest_vox)


def smooth(labels: np.ndarray, spacing_mm: float, config: CompletionConfig) -> np.ndarray:
    """Smooth the surfaces of all structures; each keeps its volume, but for what touching ones claim of each other."""
    sigma_vox = np.array(config.smoothing_mm) / spacing_mm
    margin = np.ceil(3 * sigma_vox).astype(int) + 1
    result, nearest_mm = np.zeros_like(labels), np.zeros(labels.shape, dtype=np.float32)
    for number, tight in enumerate(ndimage.find_objects(labels), start=1):
        if tight is None:
            continue
        box = tuple(slice(max(0, part.start - m), part.stop + m) for part, m in zip(tight, margin, strict=True))
        mask = labels[box] == number
        distance_mm = ndimage.gaussian_filter(signed_distance_mm(mask, spacing_mm), sigma_vox, mode="nearest")
        volume_vox = np.count_nonzero(mask)
        level_mm = np.partition(distance_mm.ravel(), volume_vox - 1)[volume_vox - 1]
        distance_mm -= np.nextafter(level_mm, np.float32(np.inf))
        nearer = distance_mm < nearest_mm[box]
        result[box][nearer] = number
        nearest_mm[box][nearer] = distance_mm[nearer]
    return result


def complete(
    recipient: np.ndarray, donor: np.ndarray, own: Sequence[str], spacing_mm: float, config: CompletionConfig
) -> Completed:
    """Give a smoothed label map of few organs the rest of a body.

    Args:
        recipient: (K, J, I) uint8 on RAS+ axes, numbers of `structures.STRUCTURES`.
        donor: The same of another person, with more structures; another shape.
        own: Structures that are never taken from the donor.
        spacing_mm: Edge of the voxels of both.
        config: All numbers.

    Returns:
        The slices that both scans cover, in plane all of the box that the map between them covers.

    Raises:
        ValueError: If fewer than three organs lie wholly inside both fields, or the body folds.
    """
    body_map = register(
        recipient, donor, landmarks(recipient, donor, spacing_mm, config), spacing_mm, config.registration
    )
    if body_map.relative_volumes().min() <= 0:
        raise ValueError("the two bodies differ so much that the map between them folds")
    first_vox = (body_map.box_mm[0] / spacing_mm).floor().int().tolist()
    last_vox = (body_map.box_mm[1] / spacing_mm).ceil().int().tolist()
    shape = [last - first + 1 for first, last in zip(first_vox, last_vox, strict=True)]
    warped, covered = warp(donor, body_map, first_vox, shape, spacing_mm)
    kept = covered_slices(covered, config)
    organs = np.zeros(shape, dtype=np.uint8)
    organs[tuple(slice(-first, size - first) for first, size in zip(first_vox, recipient.shape, strict=True))] = (
        recipient
    )
    warped, organs = warped[kept], organs[kept]
    warped[is_one_of(warped, own)] = 0
    return Completed(np.where(organs > 0, organs, warped), _lost(warped, organs, config.largest_loss))


def covered_slices(share: np.ndarray, config: CompletionConfig) -> slice:
    """The slices of which a scan covers enough.

    Raises:
        ValueError: If there is none.
    """
    covered = np.flatnonzero(share >= config.smallest_share_in_field)
    if not len(covered):
        raise ValueError("the donor's scan covers no slice of the recipient's")
    return slice(covered[0], covered[-1] + 1)


def warp(
    donor: np.ndarray,
    body_map: Callable[[torch.Tensor], torch.Tensor],
    first_vox: Sequence[int],
    shape: Sequence[int],
    spacing_mm: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The donor on a grid of the recipient, and the share of each slice that lies between the donor's first and last.

    Beyond them the first or last slice counts, beside the map nothing.

    Args:
        donor: (K, J, I) uint8.
        body_map: From points (3, k, j, i) of the recipient to the donor, in mm, order z, y, x.
        first_vox: The grid's first voxel, in voxels of the recipient.
        shape: Of the grid.
        spacing_mm: Edge of all voxels.
    """
    result, share = np.zeros(shape, dtype=np.uint8), np.zeros(shape[0])
    source = torch.from_numpy(donor)
    last = torch.tensor(donor.shape).view(3, 1, 1, 1) - 1
    for start in range(0, shape[0], _SLICES):
        stop = min(start + _SLICES, shape[0])
        ranges = [(start, stop), (0, shape[1]), (0, shape[2])]
        axes = [
            torch.arange(first + low, first + high) * spacing_mm
            for first, (low, high) in zip(first_vox, ranges, strict=True)
        ]
        index = (body_map(grid_points(axes)) / spacing_mm).round_().long()
        within = (index >= 0) & (index <= last)
        beside = ~(within[1] & within[2])
        z, y, x = index.clamp_(min=0).minimum(last)
        result[start:stop] = source[z, y, x].masked_fill_(beside, 0).numpy()
        share[start:stop] = (within[0] & ~beside).sum((1, 2)) / (~beside).sum((1, 2)).clamp(min=1)
    return result, share


def _lost(warped: np.ndarray, organs: np.ndarray, largest_loss: float) -> dict[str, float]:
    all_vox, covered_vox = (np.bincount(labels, minlength=256) for labels in (warped.ravel(), warped[organs > 0]))
    numbers = {name: structures.number_of(name) for name in shown(warped)}
    shares = {name: round(float(covered_vox[n] / all_vox[n]), 2) for name, n in numbers.items()}
    return {name: share for name, share in shares.items() if share > largest_loss}
