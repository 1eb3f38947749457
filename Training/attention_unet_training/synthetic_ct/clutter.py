"""Tissue without a label in the visceral fat: soft tissue, lumps and vessels; fat around the organs."""

from __future__ import annotations

import torch

from .config_body import ClutterConfig
from .contrast import TissueValues
from .scene import Scene, gaussian_quantile


def paint_clutter(scene: Scene, values: TissueValues, config: ClutterConfig, cavity: torch.Tensor) -> None:
    """Paint unlabelled soft tissue, lumps as dense as the pancreas, and vessels.

    Around most organs lies fat, with vessels and strands in it but none of the rest.

    Args:
        scene: The scene.
        values: Drawn tissue values.
        config: Numbers.
        cavity: (K, J, I) bool mask of the visceral fat.
    """
    randomness = scene.randomness
    room = cavity.clone()
    for organ in scene.organ_mm:
        room &= ~_paint_organ_fat(scene, values, config, cavity, organ)
    _paint_soft_tissue(scene, values, config, room)
    scene.image_hu += config.haze_hu.draw(randomness) * (cavity & (scene.noise("broad") > 0.5))
    if randomness.chance(config.lump_probability):
        lumps = scene.fresh_noise(config.lump_size_mm.draw(randomness))
        lumps = lumps > gaussian_quantile(config.lump_share.draw(randomness))
        lump_hu = values.hu["pancreas"] + randomness.normal(config.lump_sd_hu)
        scene.paint(room & lumps, lump_hu, config.lump_texture_hu.draw(randomness))
    _paint_small_vessels(scene, values, config, cavity)


def _paint_organ_fat(
    scene: Scene, values: TissueValues, config: ClutterConfig, cavity: torch.Tensor, organ: str
) -> torch.Tensor:
    """Paint strands in the fat around an organ, of uneven thickness; return the mask of that fat, often empty."""
    randomness = scene.randomness.branch(f"fat around {organ}")
    if not randomness.chance(config.organ_fat_probability[organ]):
        return torch.zeros_like(cavity)
    unevenness = (1 + config.organ_fat_variation * scene.noise("broad")).clamp_(0.3, 2)
    fat = cavity & (scene.organ_mm[organ] < config.organ_fat_mm[organ].draw(randomness) * unevenness)
    if randomness.chance(config.organ_fat_strand_probability):
        strands = fat & (scene.noise("medium").abs() < config.organ_fat_strand_half_width.draw(randomness))
        scene.paint(strands, values.hu["visceral_fat"] + config.organ_fat_strand_above_fat_hu.draw(randomness))
    return fat


def _paint_soft_tissue(scene: Scene, values: TissueValues, config: ClutterConfig, cavity: torch.Tensor) -> None:
    randomness = scene.randomness
    share = randomness.beta(*config.share_beta) * config.largest_share
    tissue_hu = config.other_hu.draw(randomness)
    if randomness.chance(config.muscle_like_probability):
        tissue_hu = values.hu["muscle"] - config.below_muscle_hu.draw(randomness)
    clutter = scene.fresh_noise(config.size_mm.draw(randomness)) > gaussian_quantile(share)
    scene.paint(cavity & clutter, tissue_hu, config.texture_hu.draw(randomness))


def _paint_small_vessels(scene: Scene, values: TissueValues, config: ClutterConfig, cavity: torch.Tensor) -> None:
    """Paint tubes, the crossings of two noise sheets, enhanced like veins or arteries."""
    randomness = scene.randomness
    width = config.vessel_half_width.draw(randomness)
    vessels = cavity & (scene.noise("medium").abs() < width) & (scene.noise("coarse").abs() < 1.4 * width)
    vessel_hu = config.vessel_of_portal_vein.draw(randomness) * values.hu["portal_vein"]
    if randomness.chance(config.vessel_arterial_probability):
        vessel_hu = config.vessel_of_aorta.draw(randomness) * values.hu["aorta"]
    scene.paint(vessels, vessel_hu, 5)
