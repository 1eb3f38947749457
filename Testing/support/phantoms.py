"""Small synthetic volumes with known geometry, and networks that need no training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import permutations, product

import numpy as np
import torch

from AttentionUNetSegmentationLib.models.description import (
    ArchitectureSpec,
    IntensitySpec,
    LabelSpec,
    ModelSpec,
    SideSpec,
    SidesSpec,
    WeightsSpec,
)
from AttentionUNetSegmentationLib.models.loading import Model, build_network
from AttentionUNetSegmentationLib.volume import Grid, Volume

INTENSITY = IntensitySpec((-200.0, 300.0), 50.0, 250.0)
TINY_WIDTHS = (2, 4, 4, 4, 4)
KIDNEY_SIDES = SidesSpec(
    SideSpec("right kidney", 3, "24028007", "Right"),
    SideSpec("left kidney", 4, "7771000", "Left"),
)
LABELS = (
    LabelSpec("pancreas", 1, "15776009", "Pancreas", (249, 180, 111)),
    LabelSpec("spleen", 2, "78961009", "Spleen", (157, 108, 162)),
    LabelSpec("kidney", 5, "64033007", "Kidney", (185, 102, 83), components=2, sides=KIDNEY_SIDES),
)


def spec(labels: Sequence[LabelSpec] = LABELS, name: str = "test-model", **changes) -> ModelSpec:
    """A valid description of a tiny network."""
    fields = {
        "name": name,
        "title": "Test model",
        "version": "1",
        "architecture": ArchitectureSpec("AttentionUNet", TINY_WIDTHS),
        "spacing_mm": (2.0, 2.0, 2.0),
        "intensity": INTENSITY,
        "labels": tuple(labels),
        "weights": WeightsSpec("weights.pt", "0" * 64),
        "training_data": "none",
        "licence": "Apache-2.0",
        "intended_use": "tests",
    }
    return ModelSpec(**(fields | changes))


def model(labels: Sequence[LabelSpec] = LABELS) -> Model:
    """An untrained tiny model."""
    torch.manual_seed(0)
    description = spec(labels)
    return Model(description, build_network(description.architecture, description.num_classes).eval())


def rotation(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    """Rotation about the R, A and S axes, in that order."""
    result = np.eye(3)
    for axis, degrees in enumerate((x_deg, y_deg, z_deg)):
        a, b = [other for other in range(3) if other != axis]
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = c
        turn[a, b], turn[b, a] = -s, s
        result = turn @ result
    return result


def grid(
    shape_kji: tuple[int, int, int],
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    directions: np.ndarray | None = None,
    centre_ras_mm: Sequence[float] = (0.0, 0.0, 0.0),
) -> Grid:
    """A grid whose middle lies at ``centre_ras_mm``; columns of ``directions`` are the axes i, j, k."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if directions is None else directions) * np.asarray(spacing_mm)
    middle = (np.array(shape_kji[::-1]) - 1) / 2
    matrix[:3, 3] = np.asarray(centre_ras_mm) - matrix[:3, :3] @ middle
    return Grid(shape_kji, matrix)


def ball(where: Grid, centre_ras_mm: Sequence[float], radius_mm: float, edge_mm: float = 2.0) -> np.ndarray:
    """Ball with a soft edge: 1 inside, 0 outside, 0.5 at the radius, linear over 2 x ``edge_mm``; float32 (K, J, I)."""
    k, j, i = np.meshgrid(*map(np.arange, where.shape_kji), indexing="ij")
    distance = np.linalg.norm(where.ras_of(np.stack([i, j, k], axis=-1)) - np.asarray(centre_ras_mm), axis=-1)
    return np.clip(0.5 + (radius_mm - distance) / (2 * edge_mm), 0, 1).astype(np.float32)


def hu_from(masks: Sequence[tuple[np.ndarray, float]], background_hu: float = -100.0) -> np.ndarray:
    """HU in which each soft mask blends the background into its own HU."""
    hu = np.full(masks[0][0].shape, background_hu, dtype=np.float32)
    for mask, value in masks:
        hu = hu * (1 - mask) + value * mask
    return hu.astype(np.float32)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two boolean masks."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def centroid_ras_mm(mask: np.ndarray, where: Grid) -> np.ndarray:
    """Centre of mass of a boolean mask."""
    return where.ras_of(np.argwhere(mask)[:, ::-1].mean(axis=0))


def flipped_and_permuted(volume: Volume) -> Iterator[Volume]:
    """Copies of a volume, its array permuted in six ways and flipped, each with the matrix that keeps it in place."""
    flips = list(product((False, True), repeat=3))
    for n, order in enumerate(permutations(range(3))):
        flip = flips[(3 * n + 1) % len(flips)]
        voxels = volume.voxels.transpose(order)
        # array axis a of the copy is axis order[a] of the original; index axis 2 - a runs along index axis 2 - order[a]
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        matrix[:3, 3] = volume.ijk_to_ras[:3, 3]
        for a in range(3):
            column = volume.ijk_to_ras[:3, 2 - order[a]]
            if flip[a]:
                matrix[:3, 3] += column * (voxels.shape[a] - 1)
                column = -column
                voxels = np.flip(voxels, axis=a)
            matrix[:3, 2 - a] = column
        yield Volume(np.ascontiguousarray(voxels), matrix, name=f"{order} {flip}")


class ThresholdNetwork:
    """Predictor with the network's contract: class n has the highest score around its own HU.

    Its coefficient maps are block means of the share of the first class, one per scale 2, 3, 4 and sub-gate.

    Args:
        class_hu: HU of background, class 1, class 2, ...
        intensity: The rule the image was scaled by.
    """

    def __init__(self, class_hu: Sequence[float], intensity: IntensitySpec = INTENSITY) -> None:
        self.class_hu, self.intensity, self.calls = tuple(class_hu), intensity, 0

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, OrderedDict[str, torch.Tensor]]:
        """Score by closeness of HU; soft between two values, so that edges lie where they should."""
        self.calls += 1
        hu = x * self.intensity.std_hu + self.intensity.mean_hu
        logits = torch.cat([-(((hu - value) / 40.0) ** 2) for value in self.class_hu], dim=1)
        inside = torch.clamp((hu - self.class_hu[0]) / (self.class_hu[1] - self.class_hu[0]), 0, 1)
        attention = OrderedDict()
        for scale in (2, 3, 4):
            for subgate in (1, 2):
                attention[f"s{scale}-{subgate}"] = torch.nn.functional.avg_pool3d(inside, 2 ** (scale - 1))
        return logits, attention
