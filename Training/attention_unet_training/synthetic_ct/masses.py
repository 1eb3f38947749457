"""Round masses in and beside organs: they push the anatomy aside, and are painted later."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import structures
from .config import MassConfig
from .preparation import PreparedAnatomy
from .randomness import Randomness


@dataclass(frozen=True)
class Mass:
    """One mass, in the coordinates of the prepared anatomy.

    Attributes:
        centre_mm: Point (z, y, x) from which the anatomy is pushed away.
        radius_mm: Mean radius.
        owner: Number of the structure the mass belongs to; 0 when it lies beside the organ.
        neighbour: Number of the organ in or beside which it grows.
        kind: "cyst", "hypodense" or "heterogeneous".
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    owner: int
    neighbour: int
    kind: str


def draw_masses(anatomy: PreparedAnatomy, config: MassConfig, randomness: Randomness) -> list[Mass]:
    """Draw none to `max_count` masses in organs of the anatomy."""
    weights = {name: weight for name, weight in config.organ_weights.items() if name in anatomy.organ_points_mm}
    if not weights or not randomness.chance(config.probability):
        return []
    return [
        _draw_mass(anatomy, config, randomness, randomness.pick(weights))
        for _ in range(randomness.integer(1, config.max_count))
    ]


def _draw_mass(anatomy: PreparedAnatomy, config: MassConfig, randomness: Randomness, organ: str) -> Mass:
    """Place a mass at a random point of the organ, or move it outwards until it sits on or beside the border."""
    points = anatomy.organ_points_mm[organ]
    point = torch.from_numpy(points[randomness.integer(0, len(points) - 1)])
    number = structures.number_of(organ)
    radius_mm = config.radius_mm.draw(randomness) * config.radius_share.draw(randomness)
    place = randomness.pick(config.place_weights)
    owner = number
    if place != "inside":
        point, outwards = _walk_outwards(anatomy, point, number)
    if place == "exophytic":
        kind = "cyst" if randomness.chance(config.exophytic_cyst_probability) else randomness.pick(config.kind_weights)
        # A cyst that bulges out of an organ is not counted as that organ, as in TotalSegmentator's kidneys.
        owner = 0 if kind == "cyst" else number
    else:
        kind = randomness.pick(config.kind_weights)
    if place == "beside":
        # Further out than a bulging one: else nothing in the image would tell the two apart.
        point = point + config.beside_gap_radii.draw(randomness) * radius_mm * outwards
        owner = 0
    return Mass(tuple(point.tolist()), radius_mm, owner, number, kind)


def _walk_outwards(anatomy: PreparedAnatomy, point_mm: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first point outside the organ on the ray from its centroid through a point, and the direction."""
    voxels_mm = torch.from_numpy(anatomy.organ_points_mm[structures.STRUCTURES[number - 1]])
    direction = point_mm - voxels_mm.mean(0)
    direction = direction / direction.norm().clamp(min=1e-3)
    last = torch.tensor(anatomy.labels.shape) - 1
    for step_mm in torch.arange(0, 120, anatomy.spacing_mm):
        candidate = point_mm + step_mm * direction
        voxel = torch.minimum((candidate / anatomy.spacing_mm).round().long().clamp(min=0), last)
        if anatomy.labels[tuple(voxel.tolist())] != number:
            return candidate, direction
    return point_mm, direction


def displace_by_masses(
    source_mm: torch.Tensor,
    masses: list[Mass],
    config: MassConfig,
    roughness: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make room for the masses: tissue at distance d from a centre came from (d^3 - r^3)^(1/3), as if incompressible.

    Args:
        source_mm: (3, K, J, I) coordinates; not changed.
        masses: The masses, applied in order.
        config: Reach and roughness.
        roughness: (K, J, I) smooth unit noise that makes the spheres uneven.

    Returns:
        New coordinates, and (K, J, I) uint8 with 1 + index of the mass at each voxel, 0 for none.
    """
    index = torch.zeros(source_mm.shape[1:], dtype=torch.uint8)
    if not masses:
        return source_mm, index
    source = source_mm.clone()
    for number, mass in enumerate(masses, start=1):
        offset = source - torch.tensor(mass.centre_mm).view(3, 1, 1, 1)
        distance = offset.square().sum(0).sqrt_() / (1 + config.surface_roughness * roughness).clamp_(0.5, 1.5)
        near = distance < config.reach_radii * mass.radius_mm
        d = distance[near]
        pushed = (d**3 - mass.radius_mm**3).clamp(min=0) ** (1 / 3)
        # The push fades to nothing at the edge of the reach.
        fade = ((config.reach_radii * mass.radius_mm - d) / ((config.reach_radii - 1) * mass.radius_mm)).clamp(0, 1)
        factor = 1 + fade * (pushed / d.clamp(min=1e-3) - 1)
        source[:, near] = source[:, near] + offset[:, near] * (factor - 1)
        index[distance < mass.radius_mm] = number
    return source, index
