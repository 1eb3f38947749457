"""The trunk around the labelled structures: air, skin, subcutaneous fat, muscle wall, visceral fat."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import structures
from .config_body import BodyConfig
from .contrast import TissueValues
from .scene import Scene


@dataclass(frozen=True)
class _Wall:
    """Layers of the body wall: (K, J, I) fields in mm, measured from the inner side of the wall outwards."""

    distance_mm: torch.Tensor
    muscle_mm: torch.Tensor
    outer_mm: torch.Tensor


def paint_body(scene: Scene, values: TissueValues, config: BodyConfig) -> torch.Tensor:
    """Paint air, fat, skin and wall, and set `scene.inside`.

    Returns:
        (K, J, I) bool mask of the visceral fat: inside the wall, without label.
    """
    randomness = scene.randomness
    muscle_mm = config.muscle_mm.draw(randomness) * (1 + 0.25 * scene.noise("broad")).clamp_(0.4, 1.6)
    wall = _Wall(_outline_distance_mm(scene, config), muscle_mm, muscle_mm + _fat_thickness_mm(scene, config))
    scene.inside = wall.distance_mm < wall.outer_mm
    scene.image_hu = torch.full(scene.shape, config.air_hu)
    _paint_subcutaneous(scene, values, config, wall)
    return _paint_wall(scene, values, config, wall)


def _outline_distance_mm(scene: Scene, config: BodyConfig) -> torch.Tensor:
    """Distance to the inner side of the body wall, negative inside; arms and head count as bodies of their own."""
    distance = scene.hull_mm + config.outline_offset_mm.draw(scene.randomness)
    limb_radius_mm = config.limb_radius_mm.draw(scene.randomness)
    if not scene.where(*structures.OUTSIDE_TRUNK).any():
        return distance
    # The nearest bone is clearly nearer than the trunk, so it is a bone of a limb.
    limb = scene.hull_mm > scene.bone_mm + 10
    return torch.where(limb, torch.minimum(distance, scene.bone_mm - limb_radius_mm), distance)


def _fat_thickness_mm(scene: Scene, config: BodyConfig) -> torch.Tensor:
    randomness = scene.randomness
    mean_mm = min(config.fat_minimum_mm + randomness.gamma(*config.fat_gamma), config.fat_maximum_mm)
    to_front = torch.linspace(-1, 1, scene.shape[1]).view(1, -1, 1) * config.fat_front_back_share.draw(randomness)
    return mean_mm * (1 + 0.25 * scene.fresh_noise(config.fat_variation_mm) + to_front).clamp_(0.25, 2.2)


def _paint_subcutaneous(scene: Scene, values: TissueValues, config: BodyConfig, wall: _Wall) -> None:
    randomness = scene.randomness
    fat_hu = values.hu["fat"]
    scene.paint(scene.inside, fat_hu, config.fat_texture_hu.draw(randomness))
    strands = scene.noise("coarse").abs() < config.strand_half_width.draw(randomness)
    strands &= scene.inside & (wall.distance_mm > wall.muscle_mm)
    scene.paint(strands, fat_hu + config.strand_above_fat_hu.draw(randomness))
    skin = scene.inside & (wall.distance_mm > wall.outer_mm - config.skin_mm.draw(randomness))
    scene.paint(skin, config.skin_hu.draw(randomness))


def _paint_wall(scene: Scene, values: TissueValues, config: BodyConfig, wall: _Wall) -> torch.Tensor:
    """Paint visceral fat, the muscle wall with thin planes of fat, and muscle along bones."""
    randomness = scene.randomness
    wall_hu = values.hu["muscle"] - config.wall_below_muscle_hu.draw(randomness)
    trunk = wall.distance_mm <= wall.muscle_mm
    shell = trunk & (wall.distance_mm > -config.wall_inner_mm.draw(randomness))
    scene.paint(trunk & ~shell, values.hu["visceral_fat"], config.fat_texture_hu.draw(randomness))
    near_bone = (scene.bone_mm < config.near_bone_muscle_mm.draw(randomness)) & trunk
    near_bone &= scene.noise("coarse") > config.near_bone_level.draw(randomness)
    scene.paint(shell | near_bone, wall_hu, config.wall_texture_hu.draw(randomness))
    plane_mm = wall.muscle_mm * config.fat_plane_place.draw(randomness)
    planes = (wall.distance_mm - plane_mm).abs() < config.fat_plane_half_mm.draw(randomness)
    planes &= shell & (scene.noise("coarse") > -0.3)
    scene.paint(planes, values.hu["fat"] + config.fat_plane_above_fat_hu.draw(randomness))
    return trunk & ~shell & ~near_bone & (scene.labels == 0)
