"""Stomach, duodenum, small bowel and colon: wall, folds, collapsed parts, and contents with air-fluid levels."""

from __future__ import annotations

import torch

from . import structures
from .config import HollowOrganConfig
from .contrast import TissueValues
from .scene import Scene


def paint_hollow_organs(scene: Scene, values: TissueValues, config: HollowOrganConfig) -> None:
    """Paint each hollow organ that is present."""
    for name in structures.HOLLOW_ORGANS:
        organ = scene.where(name)
        if organ.any():
            _paint_organ(scene, values, config, name, organ)


def _paint_organ(
    scene: Scene,
    values: TissueValues,
    config: HollowOrganConfig,
    name: str,
    organ: torch.Tensor,
) -> None:
    randomness = scene.randomness
    wall_hu = values.hu["bowel_wall"] + config.wall_offset_hu.draw(randomness)
    if name in ("stomach", "colon") and randomness.chance(config.like_spleen_probability):
        wall_hu = values.hu["spleen"] + randomness.normal(config.like_spleen_sd_hu)
    scene.paint(organ, wall_hu, config.wall_texture_hu.draw(randomness))
    lumen = _lumen(scene, config, name, organ)
    if values.phase != "none":
        _paint_mucosa(scene, config, name, wall_hu, organ & ~lumen)
    kinds = config.content_weights[name]
    first, second = randomness.pick(kinds), randomness.pick(kinds)
    if first == "gas" and second == "gas":
        second = randomness.pick({kind: weight for kind, weight in kinds.items() if kind != "gas"})
    in_first = _partition(scene, config, organ, "gas" in (first, second))
    if second == "gas":
        first, second = second, first
    _paint_content(scene, config, first, wall_hu, lumen & in_first)
    _paint_content(scene, config, second, wall_hu, lumen & ~in_first)


def _paint_mucosa(scene: Scene, config: HollowOrganConfig, name: str, wall_hu: float, wall: torch.Tensor) -> None:
    """Sometimes paint the inner part of the wall denser: mucosa and its folds."""
    randomness = scene.randomness.branch(f"mucosa of {name}")
    if randomness.chance(config.bright_mucosa_probability):
        depth_mm = config.mucosa_depth_mm.draw(randomness) + 1.5 * scene.noise("fine")
        mucosa_hu = wall_hu + config.mucosa_above_wall_hu.draw(randomness)
        scene.paint(wall & (scene.depth_mm > depth_mm), mucosa_hu, config.wall_texture_hu.draw(randomness))


def _lumen(scene: Scene, config: HollowOrganConfig, name: str, organ: torch.Tensor) -> torch.Tensor:
    """Return the space inside the wall, cut by folds; where the organ is collapsed the wall is thick."""
    randomness = scene.randomness
    wall_mm = config.wall_mm.draw(randomness) + 0.3 * scene.noise("fine")
    if randomness.chance(config.collapsed_probability[name]):
        thick_mm = config.collapsed_wall_mm.draw(randomness) + 1.5 * scene.noise("fine")
        collapsed = scene.noise("broad") > config.collapsed_level.draw(randomness)
        wall_mm = torch.where(collapsed, thick_mm, wall_mm)
    lumen = organ & (scene.depth_mm > wall_mm)
    if randomness.chance(config.fold_probability[name]):
        # Sheets around the zero level of a smooth field: rugae of the stomach, walls between bowel loops, haustra.
        sheets = scene.fresh_noise(config.fold_spacing_mm.draw(randomness)).abs()
        lumen &= sheets > config.fold_half_width.draw(randomness)
    return lumen


def _partition(scene: Scene, config: HollowOrganConfig, organ: torch.Tensor, with_gas: bool) -> torch.Tensor:
    """Split the lumen in two: gas in front of a horizontal level, or two contents side by side."""
    randomness = scene.randomness
    if not with_gas or randomness.chance(config.tilted_gas_probability):
        return scene.noise("broad") + 0.35 * scene.noise("coarse") > config.partition_level.draw(randomness)
    rows = organ.any(2).any(0).nonzero().flatten()
    level = rows[0] + (rows[-1] - rows[0]) * config.gas_level_share.draw(randomness)
    in_front = torch.arange(scene.shape[1]).view(1, -1, 1) > level
    return in_front.expand(scene.shape)


def _paint_content(scene: Scene, config: HollowOrganConfig, kind: str, wall_hu: float, mask: torch.Tensor) -> None:
    randomness = scene.randomness
    if kind == "gas":
        scene.paint(mask, config.gas_hu.draw(randomness), 5)
    elif kind == "fluid":
        scene.paint(mask, config.fluid_hu.draw(randomness), config.fluid_texture_hu.draw(randomness))
    elif kind == "oral_contrast":
        scene.paint(mask, config.oral_contrast_hu.draw(randomness), config.oral_contrast_texture_hu.draw(randomness))
    elif kind == "stool":
        scene.paint(mask, config.stool_hu.draw(randomness), 20)
        bubbles = config.stool_texture_hu.draw(randomness) * (scene.noise("fine") + 0.7 * scene.noise("grain"))
        scene.paint(mask & (bubbles < 0), scene.image_hu + 1.6 * bubbles)
    else:
        scene.paint(mask, wall_hu - config.food_below_wall_hu.draw(randomness), config.food_texture_hu.draw(randomness))
