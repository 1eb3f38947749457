"""Kidneys: cortex, medullary pyramids, sinus with fat, urine or excreted contrast, stones, and their vessels."""

from __future__ import annotations

import torch

from . import structures
from .config import SolidOrganConfig
from .contrast import TissueValues
from .scene import Scene, gaussian_quantile
from .tubes import paint_tube


def paint_kidneys(scene: Scene, values: TissueValues, config: SolidOrganConfig) -> None:
    """Paint the inner structure of both kidneys over their cortex."""
    randomness = scene.randomness
    for name in structures.KIDNEYS:
        kidney = scene.where(name) & (scene.mass_index == 0)
        if not kidney.any():
            continue
        cortex_mm = config.kidney_cortex_thickness_mm.draw(randomness)
        cortex_mm = cortex_mm * (1 + 0.2 * scene.noise("medium")).clamp_(0.5, 1.5)
        pyramids = scene.noise("medium") > gaussian_quantile(config.pyramid_share.draw(randomness))
        texture_hu = float(values.texture_hu[structures.number_of(name)])
        scene.paint(kidney & (scene.depth_mm > cortex_mm) & pyramids, values.hu["kidney_medulla"], texture_hu)
        _paint_sinus(scene, values, config, kidney)
        _paint_stone(scene, config, kidney)
        _paint_renal_vessels(scene, values, config, kidney)


def _paint_sinus(scene: Scene, values: TissueValues, config: SolidOrganConfig, kidney: torch.Tensor) -> None:
    """Paint the middle of the kidney: fat, a wide pelvis full of urine, or excreted contrast."""
    randomness = scene.randomness
    sinus = kidney & (scene.depth_mm > config.sinus_depth_mm.draw(randomness) + 2 * scene.noise("fine"))
    if randomness.chance(config.hydronephrosis_probability):
        wide = kidney & (scene.depth_mm > config.hydronephrosis_depth_mm.draw(randomness) + 2 * scene.noise("fine"))
        scene.paint(wide, values.hu["cyst"], 3)
    elif randomness.chance(config.sinus_fat_probability):
        scene.paint(
            sinus & (scene.noise("fine") > -0.6),
            values.hu["visceral_fat"] + config.sinus_above_fat_hu.draw(randomness),
            5,
        )
    if values.excretion:
        scene.paint(sinus & (scene.noise("medium") > 0), config.excreted_contrast_hu.draw(randomness), 10)


def _paint_stone(scene: Scene, config: SolidOrganConfig, kidney: torch.Tensor) -> None:
    if not scene.randomness.chance(config.kidney_stone_probability):
        return
    candidates = (kidney & (scene.depth_mm > 8)).nonzero()
    if len(candidates):
        k, j, i = candidates[scene.randomness.integer(0, len(candidates) - 1)].tolist()
        size = scene.randomness.integer(1, 3)
        scene.image_hu[k : k + size, j : j + size, i : i + size] = config.kidney_stone_hu.draw(scene.randomness)


def _paint_renal_vessels(scene: Scene, values: TissueValues, config: SolidOrganConfig, kidney: torch.Tensor) -> None:
    """Paint straight tubes from the kidney to aorta and vena cava through unlabelled tissue."""
    randomness = scene.randomness
    middle = kidney.nonzero().float().mean(0)
    half_height = max(1, round(10 / scene.spacing_mm))
    low = max(0, int(middle[0]) - half_height)
    for vessel, tissue in (("aorta", "aorta"), ("inferior_vena_cava", "vena_cava")):
        nearby = (scene.labels[low : low + 2 * half_height + 1] == structures.number_of(vessel)).nonzero().float()
        radius_mm = config.renal_vessel_radius_mm.draw(randomness) * (0.6 if vessel == "aorta" else 1.0)
        if len(nearby) < 10:
            continue
        end = nearby.mean(0) + torch.tensor([float(low), 0, 0])
        start = middle + torch.tensor([randomness.normal(2), randomness.normal(1.5), 0.0])
        paint_tube(scene, [start, end], radius_mm, values.hu[tissue] * config.renal_vessel_share.draw(randomness))
