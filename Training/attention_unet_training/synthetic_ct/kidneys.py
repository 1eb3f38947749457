"""Kidneys: cortex, pyramids, sinus with fat, urine or excreted contrast, pelvis, ureter, stones, vessels; vena cava.

The label is the parenchyma: cortex and medulla. Sinus and collecting system lie outside it, as in the label maps of
TotalSegmentator v2, which leave the sinus out as an open notch (measured on the maps; its paper does not say).
"""

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
        mean_mm = config.kidney_cortex_thickness_mm.draw(randomness)
        cortex_mm = mean_mm * (1 + 0.2 * scene.noise("medium")).clamp_(0.5, 1.5)
        pyramids = scene.noise("medium") > gaussian_quantile(config.pyramid_share.draw(randomness))
        texture_hu = float(values.texture_hu[structures.number_of(name)])
        scene.paint(kidney & (scene.depth_mm > cortex_mm) & pyramids, values.hu["kidney_medulla"], texture_hu)
        _paint_sinus(scene, values, config, kidney)
        _paint_renal_vessels(scene, values, config, kidney)
        _paint_ureter(scene, values, config, name, kidney)
        pelvis = _paint_wide_pelvis(scene, values, config, name)
        _paint_stones(scene, config, name, kidney | pelvis)


def paint_vena_cava(scene: Scene, values: TissueValues, config: SolidOrganConfig) -> None:
    """Below the renal veins, sometimes make the vena cava less enhanced: contrast is not back from the legs yet."""
    randomness = scene.randomness.branch("blood from the legs")
    cava, kidneys = scene.where("inferior_vena_cava"), scene.where(*structures.KIDNEYS)
    if not kidneys.any() or not randomness.chance(config.late_leg_blood_probability):
        return
    above_hu, unenhanced_hu = values.hu["vena_cava"], config.unenhanced_blood_hu.draw(randomness)
    share_above = config.late_leg_blood_share.draw(randomness)
    below_mm = (kidneys.nonzero()[:, 0].float().mean() - torch.arange(scene.shape[0])) * scene.spacing_mm
    streams = below_mm.view(-1, 1, 1) / config.leg_blood_streaming_mm.draw(randomness) + scene.noise("medium")
    drop_hu = (1 - share_above) * max(above_hu - unenhanced_hu, 0.0)
    scene.paint(cava, scene.image_hu - drop_hu * torch.sigmoid(streams))


def _paint_sinus(scene: Scene, values: TissueValues, config: SolidOrganConfig, kidney: torch.Tensor) -> None:
    """Paint the middle of the kidney: fat, wide calyces full of urine, or excreted contrast; these lose the label."""
    randomness = scene.randomness
    sinus = kidney & (scene.depth_mm > config.sinus_depth_mm.draw(randomness) + 2 * scene.noise("fine"))
    taken = torch.zeros_like(kidney)
    if randomness.chance(config.hydronephrosis_probability):
        taken = kidney & (scene.depth_mm > config.hydronephrosis_depth_mm.draw(randomness) + 2 * scene.noise("fine"))
        scene.paint(taken, values.hu["cyst"], 3)
    elif randomness.chance(config.sinus_fat_probability):
        taken = sinus & (scene.noise("fine") > -0.6)
        scene.paint(taken, values.hu["visceral_fat"] + config.sinus_above_fat_hu.draw(randomness), 5)
    if values.excretion:
        excreted = sinus & (scene.noise("medium") > 0)
        scene.paint(excreted, config.excreted_contrast_hu.draw(randomness), 10)
        taken = taken | excreted
    scene.labels[taken] = 0


def _paint_wide_pelvis(scene: Scene, values: TissueValues, config: SolidOrganConfig, name: str) -> torch.Tensor:
    """Paint a pelvis full of urine that bulges out of the hilum; its voxels lose the kidney's label.

    Returns:
        (K, J, I) bool, what the pelvis took from the kidney and from unlabelled tissue; empty for most kidneys.
    """
    pelvis = torch.zeros(scene.shape, dtype=torch.bool)
    randomness = scene.randomness.branch(f"pelvis of {name}")
    if not randomness.chance(config.wide_pelvis_probability):
        return pelvis
    kidney = scene.where(name)
    offset_mm = torch.tensor(
        [
            randomness.normal(5),
            config.pelvis_forward_mm.draw(randomness),
            _medial(name) * config.pelvis_medial_mm.draw(randomness),
        ]
    )
    radius_mm = config.pelvis_radius_mm.draw(randomness)
    radii_mm = (radius_mm * config.pelvis_lengthening.draw(randomness), radius_mm, radius_mm)
    box, ball = _rough_ball(scene, kidney.nonzero().float().mean(0) + offset_mm / scene.spacing_mm, radii_mm)
    unlabelled = (scene.labels[box] == 0) & scene.inside[box]
    pelvis[box] = ball & (kidney[box] | unlabelled) & (scene.mass_index[box] == 0)
    scene.labels[pelvis & kidney] = 0
    filled = values.excretion and randomness.chance(0.5)
    scene.paint(pelvis, config.excreted_contrast_hu.draw(randomness) if filled else values.hu["cyst"], 3)
    return pelvis


def _medial(name: str) -> int:
    """Direction of the middle of the body along i, which grows to the patient's right."""
    return 1 if name == "kidney_left" else -1


def _paint_stones(scene: Scene, config: SolidOrganConfig, name: str, room: torch.Tensor) -> None:
    """Paint stones deep in the room they may take: the kidney and its pelvis; labels stay."""
    randomness = scene.randomness.branch(f"stones of {name}")
    if not randomness.chance(config.kidney_stone_probability):
        return
    candidates = (room & (scene.depth_mm > config.kidney_stone_depth_mm)).nonzero()
    if not len(candidates):
        return
    for _ in range(randomness.integer(1, config.kidney_stone_max_count)):
        centre = candidates[randomness.integer(0, len(candidates) - 1)].float()
        radius_mm = config.kidney_stone_radius_mm.draw(randomness) * config.kidney_stone_radius_share.draw(randomness)
        box, ball = _rough_ball(scene, centre, (radius_mm,) * 3)
        stone_hu = config.kidney_stone_hu.draw(randomness)
        scene.image_hu[box] = torch.where(ball & room[box], stone_hu, scene.image_hu[box])


def _rough_ball(
    scene: Scene, centre_vox: torch.Tensor, radii_mm: tuple[float, float, float]
) -> tuple[tuple[slice, ...], torch.Tensor]:
    """Return the box around an uneven ellipsoid, cut to the volume, and its mask in the box; the box may be empty."""
    radii_vox = torch.tensor(radii_mm) / scene.spacing_mm
    shape = torch.tensor(scene.shape)
    low = torch.minimum((centre_vox - 1.5 * radii_vox).floor().long().clamp(min=0), shape)
    high = torch.maximum(torch.minimum((centre_vox + 1.5 * radii_vox).ceil().long() + 1, shape), low)
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    squared = torch.zeros(())
    for axis, part in enumerate(box):
        size = [1, 1, 1]
        size[axis] = -1
        offset = (torch.arange(part.start, part.stop) - centre_vox[axis]) / radii_vox[axis]
        squared = squared + offset.square().view(size)
    return box, squared.sqrt() < (1 + 0.25 * scene.noise("fine")[box]).clamp(0.5, 1.5)


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


def _paint_ureter(
    scene: Scene, values: TissueValues, config: SolidOrganConfig, name: str, kidney: torch.Tensor
) -> None:
    """Paint an ordinary pelvis and the upper ureter: tubes from the hilum inwards and down, in unlabelled tissue."""
    randomness = scene.randomness.branch(f"ureter of {name}")
    middle = kidney.nonzero().float().mean(0)
    hilum_mm = torch.tensor(
        [-randomness.uniform(0, 10), config.pelvis_forward_mm.draw(randomness), _medial(name) * config.ureter_medial_mm]
    )
    below_mm = hilum_mm + torch.tensor([-config.ureter_length_mm.draw(randomness), randomness.normal(5), 0.0])
    hilum, below = (middle + offset_mm / scene.spacing_mm for offset_mm in (hilum_mm, below_mm))
    filled = values.excretion and randomness.chance(0.5)
    value_hu = config.excreted_contrast_hu.draw(randomness) if filled else values.hu["cyst"]
    paint_tube(scene, [middle, hilum], config.pelvis_tube_radius_mm.draw(randomness), value_hu)
    paint_tube(scene, [hilum, below], config.ureter_radius_mm.draw(randomness), value_hu)
