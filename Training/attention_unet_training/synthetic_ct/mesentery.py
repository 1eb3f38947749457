"""Around the pancreas: neighbours that touch it, jejunal loops of its own density, mesenteric vessels and branches."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from .config import SyntheticCTConfig
from .config_body import MesenteryConfig
from .contrast import TissueValues
from .scene import Scene
from .structures import number_of
from .tubes import paint_tube, tube_mask

_NEIGHBOURS = ("inferior_vena_cava", "portal_vein_and_splenic_vein", "duodenum", "stomach", "small_bowel")


def close_fat_gaps(scene: Scene, config: MesenteryConfig) -> None:
    """Let neighbours grow into the unlabelled space between them and the pancreas, as in lean patients."""
    for name in _NEIGHBOURS:
        randomness = scene.randomness.branch(f"gap to {name}")
        neighbour = scene.where(name)
        if not randomness.chance(config.closed_gap_probability) or not neighbour.any():
            continue
        gap_mm = config.closed_gap_mm.draw(randomness)
        grown = neighbour[None].float()
        gap = torch.zeros_like(neighbour)
        for step in range(1, round(gap_mm / scene.spacing_mm) + 1):
            # as on a chessboard: oblique gaps look narrower
            grown = functional.max_pool3d(grown, 3, stride=1, padding=1)
            across_mm = scene.organ_mm["pancreas"] + (step - 1) * scene.spacing_mm
            gap |= (grown[0] > 0) & (across_mm <= gap_mm)
        gap &= scene.labels == 0
        scene.labels[gap] = number_of(name)
        scene.depth_mm[gap] = 0  # or bowel would have a second lumen outside its wall


def paint_jejunum(scene: Scene, values: TissueValues, config: MesenteryConfig, cavity: torch.Tensor) -> None:
    """Paint winding loops that start beside the pancreas, mostly left of its middle; they carry no label.

    Args:
        scene: The scene.
        values: Drawn tissue values.
        config: Numbers.
        cavity: (K, J, I) bool mask of the visceral fat, the only place where loops are painted.
    """
    randomness = scene.randomness.branch("jejunum")
    pancreas = scene.where("pancreas").nonzero().float()
    if not len(pancreas) or not randomness.chance(config.jejunum_probability):
        return
    wall, lumen = (torch.zeros(scene.shape, dtype=torch.bool) for _ in range(2))
    left = pancreas[pancreas[:, 2] <= pancreas[:, 2].median()]
    for _ in range(randomness.integer(1, config.jejunum_max_loops)):
        radius_mm = config.jejunum_radius_mm.draw(randomness)
        points = left if randomness.chance(0.7) else pancreas
        away = torch.tensor([randomness.uniform(-1, 0.4), randomness.uniform(-0.2, 1), randomness.uniform(-1, 0.4)])
        gap_mm = radius_mm * config.jejunum_gap_radii.draw(randomness) + 8  # a pancreas is about 16 mm thick
        path = [points[randomness.integer(0, len(points) - 1)] + away / away.norm() * gap_mm / scene.spacing_mm]
        for _ in range(randomness.integer(2, 5)):
            step = torch.tensor([randomness.normal(0.6), randomness.normal(0.7), randomness.normal(1.0)])
            length_vox = config.jejunum_step_mm.draw(randomness) / scene.spacing_mm
            path.append(path[-1] + step / step.norm().clamp(min=1e-3) * length_vox)
        wall |= tube_mask(scene.shape, path, radius_mm / scene.spacing_mm)
        if randomness.chance(config.jejunum_filled_probability):
            inner_mm = radius_mm - config.jejunum_wall_mm.draw(randomness)
            lumen |= tube_mask(scene.shape, path, inner_mm / scene.spacing_mm)
    wall_hu = values.hu["pancreas"] + randomness.normal(config.jejunum_of_pancreas_sd_hu)
    scene.paint(wall & cavity, wall_hu, config.jejunum_texture_hu.draw(randomness))
    lumen &= scene.noise("fine").abs() > 0.25  # feathery folds
    scene.paint(lumen & cavity, config.jejunum_content_hu.draw(randomness), 4)


def paint_mesenteric_trunks(scene: Scene, values: TissueValues, config: SyntheticCTConfig) -> None:
    """Paint the superior mesenteric vein and artery, which run down in front of aorta and vena cava.

    The label maps stop at the portal and splenic veins, yet these two are the landmarks beside the pancreatic head.
    """
    randomness = scene.randomness
    veins = (scene.labels == number_of("portal_vein_and_splenic_vein")).nonzero().float()
    if len(veins) < 30 or not randomness.chance(config.clutter.trunk_probability):
        return
    lowest = veins[veins[:, 0] <= veins[:, 0].min() + 3].mean(0)
    for tissue, to_left_mm in (("portal_vein", 0.0), ("aorta", config.clutter.trunk_artery_left_mm)):
        path = [lowest + torch.tensor([6.0, 0.0, -to_left_mm]) / scene.spacing_mm]
        for _ in range(randomness.integer(3, 6)):
            sideways_mm = [randomness.normal(config.clutter.trunk_wander_sd_mm) for _ in range(2)]
            step_mm = torch.tensor([-config.clutter.trunk_step_mm.draw(randomness), sideways_mm[0] + 2, sideways_mm[1]])
            path.append(path[-1] + step_mm / scene.spacing_mm)
        paint_tube(scene, path, config.clutter.trunk_radius_mm.draw(randomness), values.hu[tissue])
        if tissue == "portal_vein":
            _paint_vein_branches(scene, values.hu[tissue], config.mesentery, path)


def _paint_vein_branches(scene: Scene, vein_hu: float, config: MesenteryConfig, path: list[torch.Tensor]) -> None:
    """Paint jejunal and colic veins, which leave the trunk to both sides, downwards and forwards."""
    randomness = scene.randomness.branch("mesenteric veins")
    if not randomness.chance(config.vein_branch_probability):
        return
    for _ in range(randomness.integer(1, config.vein_branch_max_count)):
        branch = [path[randomness.integer(0, len(path) - 1)]]
        side = -1 if randomness.chance(0.65) else 1
        for _ in range(2):
            sideways_mm = side * config.vein_branch_sideways_mm.draw(randomness) / 2
            step_mm = torch.tensor([-randomness.uniform(0, 20), randomness.uniform(-3, 12), sideways_mm])
            branch.append(branch[-1] + step_mm / scene.spacing_mm)
        paint_tube(scene, branch, config.vein_branch_radius_mm.draw(randomness), vein_hu)
