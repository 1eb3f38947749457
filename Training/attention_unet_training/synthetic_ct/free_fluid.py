"""Free fluid: ascites in the peritoneal recesses, from a rim to litres, and pleural effusion; never with a label."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional

from . import structures
from .config_body import FreeFluidConfig
from .scene import Scene

_VARIES_OVER_MM = 60.0


def make_room_for_fluid(scene: Scene, config: FreeFluidConfig) -> torch.Tensor | None:
    """Draw how much fluid there is, part liver and spleen from the wall, and widen the trunk where no bone holds it.

    What liver and spleen lose becomes unlabelled. Call it before the body is painted.

    Returns:
        (K, J, I), how far the fluid reaches from liver, spleen and wall, in mm; None without fluid.
    """
    randomness = scene.randomness.branch("free fluid")
    if not randomness.chance(config.probability):
        return None
    logarithm = randomness.uniform(math.log(config.reach_mm.low), math.log(config.reach_mm.high))
    reach_mm = math.exp(logarithm)
    cut_mm = reach_mm * config.organ_cut_share.draw(randomness)
    unevenness = randomness.smooth_noise(scene.shape, _VARIES_OVER_MM / scene.spacing_mm)
    for organ, largest_mm in config.largest_cut_mm.items():
        inside = scene.where(organ)
        if inside.any():
            uneven_mm = min(cut_mm, largest_mm) * (1 + 0.3 * unevenness)
            outline_mm = scene.hull_mm[inside]
            deepest_mm = outline_mm.quantile(1 - config.largest_cut_share)  # an organ keeps most of itself
            scene.labels[inside & (scene.hull_mm > (outline_mm.max() - uneven_mm).clamp(min=deepest_mm))] = 0
    held = ((scene.bone_mm - 15) / 25).clamp(0, 1)
    scene.hull_mm = scene.hull_mm - reach_mm * config.distension_share.draw(randomness) * held
    return reach_mm * (1 + config.reach_variation * unevenness).clamp_(min=0)


def paint_free_fluid(
    scene: Scene, reach_mm: torch.Tensor | None, config: FreeFluidConfig, cavity: torch.Tensor
) -> None:
    """Paint fluid into the visceral fat around liver and spleen and along the wall, but not behind the peritoneum.

    Args:
        scene: The scene.
        reach_mm: What `make_room_for_fluid` returned.
        config: Numbers.
        cavity: (K, J, I) bool mask of the visceral fat.
    """
    if reach_mm is None:
        return
    randomness = scene.randomness.branch("colour of free fluid")
    organs_mm = _rough_distance_mm(scene.where("liver", "spleen"), float(reach_mm.max()), scene.spacing_mm)
    nearest_mm = torch.minimum(organs_mm, -scene.hull_mm - config.wall_depth_mm)
    peritoneal = cavity & (scene.organ_mm["kidney"] > config.retroperitoneal_mm) & ~_beside_spine(scene, config)
    scene.paint(peritoneal & (nearest_mm < reach_mm), config.fluid_hu.draw(randomness), config.texture_hu)


def paint_effusion(scene: Scene, config: FreeFluidConfig) -> None:
    """Sometimes paint fluid behind the lungs up to a level; the lungs keep their label, which is no organ's."""
    randomness = scene.randomness.branch("effusion")
    lungs = scene.where(*structures.LUNGS)
    if not randomness.chance(config.effusion_probability) or not lungs.any():
        return
    rows = lungs.any(2).any(0).nonzero().flatten()
    level = rows[0] + (rows[-1] - rows[0]) * config.effusion_share.draw(randomness)
    behind = torch.arange(scene.shape[1]).view(1, -1, 1) < level
    scene.paint(lungs & behind, config.fluid_hu.draw(randomness), config.texture_hu)


def _rough_distance_mm(mask: torch.Tensor, limit_mm: float, spacing_mm: float) -> torch.Tensor:
    """Distance (K, J, I) to a mask in steps of two voxels, measured as on a chessboard, at most about the limit."""
    step_mm = 2 * spacing_mm
    steps = math.ceil(limit_mm / step_mm)
    reached = functional.max_pool3d(mask[None, None].float(), 2, ceil_mode=True)
    count = torch.full_like(reached, float(steps))
    for step in range(steps):
        count = torch.where((reached > 0) & (count > step), float(step), count)
        reached = functional.max_pool3d(reached, 3, stride=1, padding=1)
    distance = functional.interpolate(count, scale_factor=2, mode="trilinear", align_corners=False)[0, 0]
    k, j, i = mask.shape
    return distance[:k, :j, :i] * step_mm


def _beside_spine(scene: Scene, config: FreeFluidConfig) -> torch.Tensor:
    """Mask (K, J, I) of what lies beside and behind the middle of the vertebrae: psoas, kidneys, paraspinal fat."""
    vertebrae = scene.where(*structures.VERTEBRAE).nonzero().float()
    beside = torch.zeros(scene.shape, dtype=torch.bool)
    if len(vertebrae):
        _, j, i = vertebrae.mean(0).tolist()
        half = config.spine_half_width_mm / scene.spacing_mm
        beside[:, : max(0, round(j + 15 / scene.spacing_mm)), max(0, round(i - half)) : max(0, round(i + half))] = True
    return beside
