"""Vessels of the upper abdomen that the label maps lack: branches of the coeliac trunk, and veins of the stomach."""

from __future__ import annotations

import torch

from .config_body import CoeliacConfig
from .contrast import TissueValues
from .randomness import Randomness
from .scene import Scene
from .tubes import paint_tube

_LEAST_VOXELS = 30  # of an organ that vessels follow
_MOST_POINTS = 2000  # of a surface; more tell nothing new


def paint_coeliac_branches(scene: Scene, values: TissueValues, config: CoeliacConfig) -> None:
    """Paint splenic, hepatic and left gastric artery and the left gastric vein, through unlabelled tissue.

    The splenic artery winds along the upper back border of body and tail of the pancreas. The left gastric vessels
    climb along the lesser curvature of the stomach.
    """
    randomness = scene.randomness.branch("coeliac branches")
    pancreas = _points(scene.where("pancreas"))
    if len(pancreas) < _LEAST_VOXELS or not randomness.chance(config.branches_probability):
        return
    origin = _origin(scene, pancreas)
    if origin is None:
        return
    artery_hu = values.hu["aorta"] * config.artery_of_aorta.draw(randomness)
    calcified = randomness.chance(config.calcified_probability)
    radius_mm = config.artery_radius_mm.draw(randomness)
    to_spleen = _along_pancreas(scene, config, randomness, origin, pancreas, radius_mm)
    paint_tube(scene, to_spleen, radius_mm, artery_hu)
    for piece in zip(to_spleen[:-1], to_spleen[1:], strict=True):
        if calcified and randomness.chance(0.5):
            paint_tube(scene, list(piece), radius_mm / 2, config.calcified_hu.draw(randomness))
    to_liver = [origin]
    for _ in range(3):
        step_mm = [randomness.normal(4), randomness.uniform(0, 8), randomness.uniform(8, 20)]
        to_liver.append(to_liver[-1] + torch.tensor(step_mm) / scene.spacing_mm)
    paint_tube(scene, to_liver, config.artery_radius_mm.draw(randomness), artery_hu)
    vessels = [(radius_mm / 2, artery_hu)]
    if randomness.chance(config.gastric_vein_probability):
        vessels.append((config.gastric_vein_radius_mm.draw(randomness), values.hu["portal_vein"]))
    for radius_mm, vessel_hu in vessels:
        path = _along_stomach(scene, config, randomness, origin, radius_mm)
        paint_tube(scene, path, radius_mm, vessel_hu)


def paint_gastric_varices(scene: Scene, values: TissueValues, config: CoeliacConfig) -> None:
    """Paint veins that wind over the stomach, and some under its mucosa, as in portal hypertension."""
    randomness = scene.randomness.branch("gastric varices")
    surface = _points(scene.where("stomach") & (scene.depth_mm <= scene.spacing_mm))
    if len(surface) < _LEAST_VOXELS or not randomness.chance(config.varices_probability):
        return
    middle = surface.mean(0)
    surface = surface[:: -(-len(surface) // _MOST_POINTS)]
    for _ in range(randomness.integer(1, config.varices_max_count)):
        inside = randomness.chance(config.submucosal_probability)
        radius_mm = config.varix_radius_mm.draw(randomness)
        lift_vox = radius_mm / scene.spacing_mm * (-1 if inside else 1)
        point = surface[randomness.integer(0, len(surface) - 1)]
        heading = _direction(randomness)
        path = []
        for _ in range(randomness.integer(3, 7)):
            outwards = (point - middle) / (point - middle).norm().clamp(min=1e-3)
            path.append(point + outwards * lift_vox)
            heading = heading + 0.7 * _direction(randomness)
            heading = heading / heading.norm().clamp(min=1e-3)
            wanted = point + heading * config.varix_step_mm.draw(randomness) / scene.spacing_mm
            point = surface[(surface - wanted).square().sum(1).argmin()]
        paint_tube(scene, path, radius_mm, values.hu["portal_vein"], through="stomach" if inside else None)


def _points(mask: torch.Tensor) -> torch.Tensor:
    """(N, 3) float32 positions (k, j, i) of the voxels of a mask."""
    return mask.nonzero().float()


def _direction(randomness: Randomness) -> torch.Tensor:
    vector = torch.tensor([randomness.normal(1) for _ in range(3)])
    return vector / vector.norm().clamp(min=1e-3)


def _origin(scene: Scene, pancreas: torch.Tensor) -> torch.Tensor | None:
    """Front of the aorta at the height of the upper border of the pancreas; None where the field has no aorta there."""
    height = pancreas[:, 0].quantile(0.9)
    aorta = _points(scene.where("aorta"))
    aorta = aorta[(aorta[:, 0] - height).abs() <= 3]
    if not len(aorta):
        return None
    front = aorta[aorta[:, 1] >= aorta[:, 1].max() - 1]
    return front.mean(0)


def _along_pancreas(
    scene: Scene,
    config: CoeliacConfig,
    randomness: Randomness,
    origin: torch.Tensor,
    pancreas: torch.Tensor,
    radius_mm: float,
) -> list[torch.Tensor]:
    """Corner points from the aorta over body and tail of the pancreas to the nearest point of the spleen."""
    path = [origin]
    count = randomness.integer(4, 8)
    borders = torch.linspace(float(origin[2]), float(pancreas[:, 2].min()), count + 1)
    for right, left in zip(borders[:-1], borders[1:], strict=True):
        part = pancreas[(pancreas[:, 2] < right) & (pancreas[:, 2] >= left)]
        if len(part):
            border = torch.stack([part[:, 0].quantile(0.9), part[:, 1].quantile(0.15), part[:, 2].mean()])
            beside_mm = _jitter(config, randomness) + torch.tensor([radius_mm, -radius_mm, 0.0])
            path.append(border + beside_mm / scene.spacing_mm)
    spleen = _points(scene.where("spleen"))
    if len(spleen):
        path.append(spleen[(spleen - path[-1]).square().sum(1).argmin()])
    return path


def _along_stomach(
    scene: Scene, config: CoeliacConfig, randomness: Randomness, origin: torch.Tensor, radius_mm: float
) -> list[torch.Tensor]:
    """Corner points from the aorta upwards along the right border of the stomach."""
    path = [origin]
    stomach = _points(scene.where("stomach"))
    stomach = stomach[stomach[:, 0] >= origin[0]]
    if not len(stomach):
        return path
    heights = torch.linspace(float(origin[0]), float(stomach[:, 0].max()), randomness.integer(3, 6) + 1)
    for low, high in zip(heights[:-1], heights[1:], strict=True):
        part = stomach[(stomach[:, 0] >= low) & (stomach[:, 0] <= high)]
        if len(part):
            border = part[part[:, 2] >= part[:, 2].quantile(0.97)].mean(0)
            beside_mm = _jitter(config, randomness) + torch.tensor([0.0, 0.0, radius_mm])
            path.append(border + beside_mm / scene.spacing_mm)
    return path


def _jitter(config: CoeliacConfig, randomness: Randomness) -> torch.Tensor:
    """Deviation in mm from the course along an organ."""
    return torch.tensor([randomness.normal(config.winding_sd_mm) for _ in range(3)])
