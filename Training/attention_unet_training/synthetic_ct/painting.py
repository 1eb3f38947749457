"""Labelled structures: their mean and texture first, then what lies inside liver, spleen, pancreas, bones, lungs."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from . import structures
from .config import MassConfig, SolidOrganConfig, TissueConfig
from .contrast import TissueValues
from .scene import Scene, gaussian_quantile


def erode_pancreas(scene: Scene, config: SolidOrganConfig) -> None:
    """Shave the pancreas unevenly (atrophy, lobules): shaved voxels lose their label and become fat."""
    if not scene.randomness.chance(config.pancreas_erosion_probability):
        return
    limit_mm = config.pancreas_erosion_mm.draw(scene.randomness) + 1.2 * scene.noise("medium")
    scene.labels[scene.where("pancreas") & (scene.depth_mm < limit_mm) & (scene.mass_index == 0)] = 0


def paint_structures(scene: Scene, values: TissueValues) -> None:
    """Paint every labelled voxel with its structure's mean and texture."""
    value_hu = values.mean_hu[scene.labels] + values.texture_hu[scene.labels] * scene.noise("texture")
    scene.paint(scene.labels > 0, value_hu)
    scene.inside |= scene.labels > 0


def paint_bones(scene: Scene, values: TissueValues, config: TissueConfig) -> None:
    """Paint the dense cortex around the marrow."""
    randomness = scene.randomness
    cortex = scene.where(*structures.BONES) & (scene.depth_mm < config.cortex_thickness_mm.draw(randomness))
    scene.paint(cortex, values.hu["bone_cortex"] + 80 * scene.noise("fine"))


def paint_lungs(scene: Scene, config: TissueConfig) -> None:
    """Paint vessels in the lungs, and sometimes opacities or fluid."""
    randomness = scene.randomness
    lungs = scene.where(*structures.LUNGS)
    if not lungs.any():
        return
    vessels = lungs & (scene.noise("fine").abs() < 0.25) & (scene.noise("medium").abs() < 0.3)
    scene.paint(vessels, config.lung_vessel_hu.draw(randomness))
    if randomness.chance(config.lung_opacity_probability):
        opacity = lungs & (scene.noise("coarse") > config.lung_opacity_level.draw(randomness))
        opacity_hu = config.lung_opacity_hu.draw(randomness)
        scene.paint(opacity, opacity_hu, config.lung_opacity_texture_hu.draw(randomness))


def paint_liver(scene: Scene, values: TissueValues, config: SolidOrganConfig) -> None:
    """Paint the vessels of the liver, and sometimes focal lesions."""
    randomness = scene.randomness
    liver = scene.where("liver")
    if not liver.any():
        return
    medium, coarse, broad = scene.noise("medium"), scene.noise("coarse"), scene.noise("broad")
    # two smooth fields are both near a level along curves: these are the vessels
    vessels = (medium.abs() < 0.2) & (coarse.abs() < 0.3)
    vessels |= ((coarse - 0.9).abs() < 0.07) & (broad.abs() < 0.3)
    vessel_hu = 0.5 * (values.hu["portal_vein"] + values.hu["vena_cava"])
    if values.phase == "none":
        vessel_hu = values.hu["portal_vein"] - config.unenhanced_liver_vessel_drop_hu.draw(randomness)
    scene.paint(liver & vessels, vessel_hu, 4)
    if randomness.chance(config.focal_lesion_probability):
        lesions = liver & (coarse > config.focal_lesion_level.draw(randomness))
        scene.paint(lesions, values.hu["liver"] + config.focal_lesion_hu.draw(randomness), 5)


def paint_spleen(scene: Scene, values: TissueValues, config: SolidOrganConfig) -> None:
    """Paint the mottled spleen of the arterial phase, and sometimes focal lesions."""
    randomness = scene.randomness
    spleen = scene.where("spleen")
    if not spleen.any():
        return
    if values.phase in ("arterial", "random") and randomness.chance(config.mottled_spleen_probability):
        waves = torch.sin(scene.noise("coarse") * config.mottled_spleen_waves.draw(randomness))
        scene.paint(spleen, scene.image_hu + config.mottled_spleen_hu.draw(randomness) * waves)
    if randomness.chance(config.focal_lesion_probability):
        lesions = spleen & (scene.noise("coarse") > config.focal_lesion_level.draw(randomness))
        scene.paint(lesions, values.hu["spleen"] + config.focal_lesion_hu.draw(randomness), 5)


def paint_pancreas(scene: Scene, values: TissueValues, config: SolidOrganConfig) -> None:
    """Paint fat between the lobules near the surface, and sometimes the duct, unless the organ is even."""
    randomness = scene.randomness
    pancreas = scene.where("pancreas")
    if not pancreas.any() or randomness.branch("even pancreas").chance(config.even_pancreas_probability):
        return
    _vary_pancreas(scene, config, pancreas)
    share = config.pancreas_fat_share.draw(randomness)
    lobules = scene.noise("fine") > gaussian_quantile(share)
    fat = pancreas & lobules & (scene.depth_mm < config.pancreas_fat_depth_mm.draw(randomness))
    scene.paint(fat, values.hu["visceral_fat"] + config.pancreas_fat_above_fat_hu.draw(randomness))
    _paint_lobules_and_duct(scene, values, config, pancreas)
    if randomness.chance(config.pancreas_duct_probability):
        # The duct runs where the organ is deepest.
        half_mm = config.pancreas_duct_mm.draw(randomness)
        deepest = scene.depth_mm[pancreas].quantile(0.9) if int(pancreas.sum()) < 1_000_000 else 10.0
        scene.paint(
            pancreas & (scene.depth_mm > deepest - half_mm / 2) & (scene.noise("medium").abs() < 1),
            config.pancreas_duct_hu.draw(randomness),
        )


def _vary_pancreas(scene: Scene, config: SolidOrganConfig, pancreas: torch.Tensor) -> None:
    """Make head, body and tail of the pancreas differ in density."""
    randomness = scene.randomness.branch("gradient of the pancreas")
    variation = randomness.smooth_noise(scene.shape, 45 / scene.spacing_mm)
    scene.paint(pancreas, scene.image_hu + config.pancreas_gradient_hu.draw(randomness) * variation)


def _paint_lobules_and_duct(
    scene: Scene, values: TissueValues, config: SolidOrganConfig, pancreas: torch.Tensor
) -> None:
    """Sometimes paint fat between lobules throughout, and a wide duct along the organ's middle; both keep the label."""
    randomness = scene.randomness.branch("diseased pancreas")
    if randomness.chance(config.lobulated_pancreas_probability):
        clefts = scene.noise("fine") < gaussian_quantile(1 - config.lobulated_pancreas_fat_share.draw(randomness))
        fat_hu = values.hu["visceral_fat"] + config.pancreas_fat_above_fat_hu.draw(randomness)
        scene.paint(pancreas & clefts, fat_hu, 5)
    if randomness.chance(config.dilated_duct_probability):
        # the middle is where no voxel nearby lies much deeper
        box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in pancreas.nonzero().T)
        depth_mm = torch.where(pancreas[box], scene.depth_mm[box], 0.0)
        reach = 2 * round(6 / scene.spacing_mm) + 1
        deepest_mm = functional.max_pool3d(depth_mm[None, None], reach, stride=1, padding=reach // 2)[0, 0]
        half_mm = config.dilated_duct_half_mm.draw(randomness)
        duct = pancreas[box] & (depth_mm > deepest_mm - half_mm) & (depth_mm > 1.5 * half_mm)
        duct_hu = config.pancreas_duct_hu.draw(randomness)
        scene.image_hu[box] = torch.where(duct, duct_hu, scene.image_hu[box])


def paint_masses(scene: Scene, values: TissueValues, config: MassConfig) -> None:
    """Paint the masses: fluid, slightly hypodense, or heterogeneous with a necrotic centre."""
    randomness = scene.randomness
    for number, mass in enumerate(scene.masses, start=1):
        inside = scene.mass_index == number
        organ_hu = float(values.mean_hu[mass.neighbour])
        solid_hu = max(organ_hu - config.hypodense_drop_hu.draw(randomness), 5.0)
        texture_hu = config.heterogeneous_texture_hu.draw(randomness)
        necrosis = config.necrosis_level.draw(randomness)
        if not inside.any():
            continue
        if mass.kind == "cyst":
            scene.paint(inside, values.hu["cyst"] + randomness.normal(config.cyst_sd_hu), 2)
        elif mass.kind == "hypodense":
            scene.paint(inside, solid_hu, 5)
        else:
            scene.paint(inside, solid_hu + 10 + texture_hu * scene.noise("medium"), 8)
            scene.paint(inside & (scene.noise("coarse") > necrosis), config.necrosis_hu.draw(randomness), 4)
