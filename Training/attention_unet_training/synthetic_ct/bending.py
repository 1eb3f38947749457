"""A label map bent part of the way towards another person, or away: a body between two people, or beyond one of them.

How people differ is learnt from people: the organs that most label maps show are landmarks of a registration
(`organ_registration`), and a share of the displacement it finds is applied. So a few people become many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .body_map import BodyMap, grid_points
from .completion import CompletionConfig, covered_slices, landmarks, warp
from .organ_registration import register
from .structures import number_of

LANDMARKS = ("pancreas", "spleen", "kidney_left", "kidney_right", "liver", "stomach", "gallbladder", "aorta")
BETWEEN, BEYOND = (0.35, 0.9), (-0.5, -0.25)  # shares of the way; judgement, as all numbers here
BETWEEN_PROBABILITY = 0.7
SMALLEST_VOLUME = 0.1  # to which a part of the body may shrink
_MARGIN_MM = 18.0  # in plane, for a body that becomes wider
_STEP_MM = 6.0  # at which volumes are looked at


@dataclass(frozen=True)
class Bend:
    """Which label map is bent towards which, and by what share of the way; negative: away from it."""

    name: str
    towards: str
    share: float


def choose_bends(maps: Mapping[str, Sequence[str]], each: int) -> list[Bend]:
    """Choose other people for each person at random, always the same ones.

    Args:
        maps: Names of the label maps of each person, which take turns.
        each: How often a person is bent, at most once towards each of the others.
    """
    rng, bends = np.random.default_rng(0), []
    for person in sorted(maps):
        others = rng.permutation(sorted(maps.keys() - {person}))[:each]
        for turn, other in enumerate(others):
            limits = BETWEEN if rng.random() < BETWEEN_PROBABILITY else BEYOND
            name, towards = maps[person][turn % len(maps[person])], maps[other][int(rng.integers(len(maps[other])))]
            bends.append(Bend(name, towards, round(float(rng.uniform(*limits)), 2)))
    return bends


def bend(
    labels: np.ndarray, other: np.ndarray, share: float, spacing_mm: float, config: CompletionConfig
) -> np.ndarray:
    """Bend a label map.

    Args:
        labels: (K, J, I) uint8 on RAS+ axes, numbers of `structures.STRUCTURES`.
        other: The same of another person; another shape.
        share: Of the way to the other's shape: 0 changes nothing, 1 fits the organs as well as the registration does.
            The size of the whole body stays.
        spacing_mm: Edge of the voxels of both.
        config: Numbers of the registration.

    Returns:
        The slices that the label map covers, wider in plane than that.

    Raises:
        ValueError: If fewer than three organs lie wholly inside both fields, or a part of the body nearly vanishes.
    """
    common = [name for name in landmarks(other, labels, spacing_mm, config) if name in LANDMARKS]
    body_map = register(other, labels, common, spacing_mm, config.registration)
    centre_mm = np.argwhere(other == number_of(common[0])).mean(0) * spacing_mm
    source = _Bent(body_map, torch.from_numpy(centre_mm).float().view(3, 1, 1, 1), share)
    margin_vox = round(_MARGIN_MM / spacing_mm)
    high, deep, wide = labels.shape
    first_vox, shape = (0, -margin_vox, -margin_vox), (high, deep + 2 * margin_vox, wide + 2 * margin_vox)
    if source.smallest_volume(first_vox, shape, spacing_mm) < SMALLEST_VOLUME:
        raise ValueError("the two bodies differ so much that a part of the body nearly vanishes")
    bent, covered = warp(labels, source, first_vox, shape, spacing_mm)
    return bent[covered_slices(covered, config)]


@dataclass(frozen=True)
class _Bent:
    """Where each point of the bent body lies in the label map, in mm from its first voxel.

    Attributes:
        body_map: From the other person to the label map.
        centre_mm: (3, 1, 1, 1) a point of the other person; where it is in the label map nothing moves.
        share: Of the way.
    """

    body_map: BodyMap
    centre_mm: torch.Tensor
    share: float

    def __call__(self, points_mm: torch.Tensor) -> torch.Tensor:
        still_mm, scale = self.body_map(self.centre_mm), self.body_map.scale.log().mean().exp()
        whole_way_mm = self.body_map(self.centre_mm + (points_mm - still_mm) / scale)
        return points_mm + self.share * (whole_way_mm - points_mm)

    def smallest_volume(self, first_vox: Sequence[int], shape: Sequence[int], spacing_mm: float) -> float:
        """Of the cells of a lattice, relative to their volume before; negative where the body folds."""
        axes = [
            torch.arange(0, n * spacing_mm, _STEP_MM) + f * spacing_mm for f, n in zip(first_vox, shape, strict=True)
        ]
        mapped_mm = self(grid_points(axes))
        cells = (slice(None), *[slice(0, n - 1) for n in mapped_mm.shape[1:]])
        edges = torch.stack([mapped_mm.diff(dim=axis + 1)[cells] / _STEP_MM for axis in range(3)])
        return float(torch.linalg.det(edges.permute(2, 3, 4, 1, 0)).min())
