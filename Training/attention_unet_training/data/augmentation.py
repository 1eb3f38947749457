"""A training patch of a case: a random place, then a random affine map and axial flips (paper, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import Affine
from monai.transforms.utils import create_rotate, create_scale, create_translate
from torch import Tensor

from ..preparation.records import IGNORED
from ..preparation.volume_scaling import scaled_volume

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Augmentation:
    """How training patches vary. The paper names affine maps, axial flips and random crops, without numbers.

    Attributes:
        rotation_deg: Largest rotation about the axes D, H and W.
        scale: Smallest and largest magnification, drawn for each of ``scaled_axes``.
        scaled_axes: Axes (0: D, 1: H, 2: W) that are magnified.
        translation: Largest shift along D, H and W, as a share of the patch's extent (of the volume's where that is
            transformed as a whole).
        affine_probability: Share of patches that are rotated, scaled and shifted.
        flip_axes: Axes (0: D, 1: H, 2: W) that are flipped, each with ``flip_probability``.
        flip_probability: See ``flip_axes``.
        intensity_probability: Probability of each of noise, blur, gamma, another contrast phase and a lower resolution
            (``IntensityAugmentation``); the paper has none.
        organ_probability: Share of patches centred on a voxel of an organ, every organ of the case as often.
    """

    rotation_deg: tuple[float, float, float] = (15.0, 0.0, 0.0)
    scale: tuple[float, float] = (0.7, 1.3)
    scaled_axes: tuple[int, ...] = (0, 1, 2)
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    affine_probability: float = 1.0
    flip_axes: tuple[int, ...] = (1, 2)
    flip_probability: float = 0.5
    intensity_probability: float = 0.0
    organ_probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must rise and be positive, got {list(self.scale)}")
        for name in ("flip_axes", "scaled_axes"):
            if not set(getattr(self, name)) <= {0, 1, 2}:
                raise ValueError(f"{name} may hold 0, 1 and 2, got {list(getattr(self, name))}")
        if not all(0 <= share < 1 for share in self.translation):
            raise ValueError(f"translation must lie in 0..1, got {list(self.translation)}")
        for name in ("affine_probability", "flip_probability", "intensity_probability", "organ_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")


def draw_patch(
    image: np.ndarray, labels: np.ndarray, shape_kji: Triple, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A random patch; where it reaches beyond the case, edge voxels are repeated, as the engine pads, and ignored.

    Args:
        image: (D, H, W), scaled; may be a memory map, of which only the part that is needed is read.
        labels: (D, H, W) uint8 class numbers, or ``IGNORED``.
        shape_kji: The patch's shape.
        augmentation: How it varies.
        rng: The source of every random choice.

    Returns:
        Image (1, *shape_kji) float32 and class numbers (1, *shape_kji) int64.
    """
    start = draw_start(labels, shape_kji, augmentation.organ_probability, rng)
    return _transformed(image, labels, start, shape_kji, augmentation, rng)


def draw_patch_of_volume(
    image: np.ndarray, labels: np.ndarray, shape_kji: Triple, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """As ``draw_patch``, in the public code's order: transform the whole volume, scale it, then cut the patch.

    The volume gets mean 0 and standard deviation 1 (``scaled_volume``).
    """
    room = np.subtract(labels.shape, shape_kji)
    start, (depth, height, width) = np.minimum(0, room // 2), np.maximum(labels.shape, shape_kji).tolist()
    volume, target = _transformed(image, labels, start, (depth, height, width), augmentation, rng)
    first = draw_start(target[0].numpy(), shape_kji, augmentation.organ_probability, rng)
    box = (slice(None), *(slice(low, low + length) for low, length in zip(first, shape_kji, strict=True)))
    return torch.from_numpy(scaled_volume(volume.numpy()))[box].clone(), target[box].clone()


def draw_start(
    labels: np.ndarray, shape_kji: Triple, organ_probability: float, rng: np.random.Generator
) -> tuple[int, ...]:
    """First voxel of a random patch: inside the case where it is larger than the patch, else around it."""
    room = np.subtract(labels.shape, shape_kji)
    low, high = np.minimum(0, room), np.maximum(0, room)
    start = rng.integers(low, high + 1)
    if rng.random() < organ_probability:
        counts = np.bincount(np.ravel(labels))
        present = np.flatnonzero(counts[1:IGNORED]) + 1
        if len(present):
            organ = rng.choice(present)
            index = np.flatnonzero(np.ravel(labels) == organ)[rng.integers(counts[organ])]
            centre = np.array(np.unravel_index(index, labels.shape))
            start = np.clip(centre - np.array(shape_kji) // 2, low, high)
    return tuple(int(first) for first in start)


def draw_matrix(augmentation: Augmentation, shape_kji: Triple, rng: np.random.Generator) -> np.ndarray:
    """Random 4 x 4 map from the patch's voxels to the case's, both counted from their middles."""
    angles = np.radians(rng.uniform(-1, 1, 3) * augmentation.rotation_deg)
    magnification = rng.uniform(*augmentation.scale, 3)
    magnification[[axis not in augmentation.scaled_axes for axis in range(3)]] = 1
    shift = rng.uniform(-1, 1, 3) * augmentation.translation * shape_kji
    steps = (
        create_rotate(3, tuple(angles)),
        create_translate(3, tuple(shift)),
        create_scale(3, tuple(1 / magnification)),
    )
    return np.linalg.multi_dot(steps)


def read_window(array: np.ndarray, start: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """A box of a (D, H, W) array that may reach beyond it, where edge voxels are repeated."""
    places = [
        np.clip(np.arange(first, first + length), 0, size - 1)
        for first, length, size in zip(start, shape, array.shape, strict=True)
    ]
    box = tuple(slice(place[0], place[-1] + 1) for place in places)
    return array[box][np.ix_(*(place - place[0] for place in places))]


def read_labels(labels: np.ndarray, start: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """As ``read_window``, but what lies beyond the case is ``IGNORED``: copies of its edge teach nothing."""
    window = np.full(tuple(shape), IGNORED, labels.dtype)
    first, last = np.maximum(start, 0), np.minimum(np.add(start, shape), labels.shape)
    if (first < last).all():
        here = tuple(slice(low, high) for low, high in zip(first, last, strict=True))
        there = tuple(slice(low, high) for low, high in zip(first - start, last - start, strict=True))
        window[there] = labels[here]
    return window


def _transformed(
    image: np.ndarray,
    labels: np.ndarray,
    start: Sequence[int],
    shape: Triple,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    matrix = np.eye(4)
    if rng.random() < augmentation.affine_probability:
        matrix = draw_matrix(augmentation, shape, rng)
    flips = [axis + 1 for axis in augmentation.flip_axes if rng.random() < augmentation.flip_probability]
    patch = _mapped(read_window, image, start, shape, matrix, "bilinear")
    target = _mapped(read_labels, labels, start, shape, matrix, "nearest")
    return torch.flip(patch, flips), torch.flip(target, flips).long()


def _mapped(
    read: Callable[..., np.ndarray],
    array: np.ndarray,
    start: Sequence[int],
    shape: Triple,
    matrix: np.ndarray,
    mode: str,
) -> Tensor:
    if np.array_equal(matrix, np.eye(4)):
        return torch.from_numpy(read(array, start, shape)[None].astype(np.float32))
    reach = np.abs(matrix[:3, :3]) @ np.asarray(shape)  # extent of the mapped patch in the case's voxels
    margin = np.maximum(0, np.ceil((reach - shape) / 2 + np.abs(matrix[:3, 3]))).astype(int) + 1
    window = read(array, np.subtract(start, margin), np.add(shape, 2 * margin))
    change = Affine(affine=matrix, mode=mode, padding_mode="border", image_only=True)
    return torch.as_tensor(change(torch.from_numpy(window[None].astype(np.float32)), spatial_size=shape))
