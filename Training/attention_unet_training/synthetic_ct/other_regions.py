"""Heads and thighs: parts of the body that show none of the organs, made of ellipsoids and tubes without a label map.

They are crude. What counts is that brain, muscle, marrow and vessels of an organ's density carry no organ's label.
"""

from __future__ import annotations

import torch

from .config_body import OtherRegionConfig
from .contrast import TissueValues
from .scene import Scene


def paint_other_region(scene: Scene, values: TissueValues, config: OtherRegionConfig) -> None:
    """Paint a head with its neck, or two thighs, into an empty scene, and set `scene.inside`."""
    scene.image_hu = torch.full(scene.shape, -1000.0)
    shift_mm = torch.tensor([scene.randomness.uniform(-reach, reach) for reach in config.off_centre_mm])
    centred = [
        (torch.arange(size) - (size - 1) / 2) * scene.spacing_mm - shift
        for size, shift in zip(scene.shape, shift_mm, strict=True)
    ]
    place_mm = torch.stack(torch.meshgrid(*centred, indexing="ij"))
    wobble_mm = torch.stack([scene.fresh_noise(config.wobble_over_mm) for _ in range(3)])
    place_mm += config.wobble_mm.draw(scene.randomness) * wobble_mm
    if scene.randomness.chance(config.head_probability):
        _paint_head(scene, values, config, place_mm)
    else:
        _paint_thighs(scene, values, config, place_mm)


def _paint_head(scene: Scene, values: TissueValues, config: OtherRegionConfig, place_mm: torch.Tensor) -> None:
    """Place: (3, K, J, I) mm from the middle of the brain, order z (up), y (to the face), x."""
    randomness = scene.randomness
    half_mm = [half.draw(randomness) for half in config.brain_half_mm]
    height, depth, width = half_mm
    skull_mm, scalp_mm = config.skull_mm.draw(randomness), config.scalp_mm.draw(randomness)
    brain = _outside_ellipsoid_mm(place_mm, (0, 0, 0), half_mm)
    face = _outside_ellipsoid_mm(place_mm, (-0.75 * height, 0.4 * depth, 0), (0.8 * height, 0.75 * depth, 0.85 * width))
    neck_mm = config.neck_radius_mm.draw(randomness)
    neck = torch.hypot(place_mm[1] + 0.1 * depth, place_mm[2]) - neck_mm + 1000 * (place_mm[0] > -0.4 * height)
    below = torch.minimum(face, neck)
    scene.inside = torch.minimum(brain - skull_mm - scalp_mm, below) < 0
    scene.paint(scene.inside, values.hu["fat"], 8)
    scene.paint((below < -scalp_mm) & (scene.noise("coarse") > -0.4), values.hu["muscle"], 8)
    bone = (face < -scalp_mm) & (scene.fresh_noise(config.face_detail_mm).abs() < 0.25)
    scene.paint(bone, config.bone_hu.draw(randomness), 60)
    scene.paint((face < -15) & (scene.fresh_noise(2 * config.face_detail_mm) > 0.9), -950.0)
    spine_mm = torch.hypot(place_mm[1] + 0.25 * depth, place_mm[2])
    below_skull = place_mm[0] < -height
    scene.paint(below_skull & (spine_mm < config.vertebra_radius_mm), values.hu["bone_cortex"] / 2, 60)
    scene.paint(below_skull & (spine_mm < 8), 30.0, 6)
    scene.paint(below_skull & (torch.hypot(place_mm[1] - 0.2 * depth, place_mm[2]) < 9), -980.0)
    for side in (-1, 1):
        vessel = torch.hypot(place_mm[1] - randomness.uniform(-10, 15), place_mm[2] - side * 0.55 * neck_mm)
        scene.paint(below_skull & (vessel < config.vessel_radius_mm.draw(randomness)), values.hu["aorta"])
    scene.paint(brain < skull_mm, config.bone_hu.draw(randomness), 60)
    scene.paint((brain < 0.7 * skull_mm) & (brain > 0.3 * skull_mm), config.marrow_hu.draw(randomness), 40)
    scene.paint(brain < 0, config.brain_hu.draw(randomness), 5)
    liquor_hu = config.liquor_hu.draw(randomness)
    sulci = (brain < 0) & (brain > -18) & (scene.noise("medium").abs() < config.sulcus_half_width.draw(randomness))
    scene.paint(sulci, liquor_hu, 3)
    for side in (-1, 1):
        ventricle = _outside_ellipsoid_mm(place_mm, (0.1 * height, 0, side * 13), (0.17 * height, 0.42 * depth, 8))
        scene.paint(ventricle < 0, liquor_hu, 3)


def _paint_thighs(scene: Scene, values: TissueValues, config: OtherRegionConfig, place_mm: torch.Tensor) -> None:
    """Place: (3, K, J, I) mm from the point between the thighs, order z, y, x."""
    randomness = scene.randomness
    radius_mm = config.thigh_radius_mm.draw(randomness)
    tapered_mm = radius_mm + config.thigh_taper.draw(randomness) * place_mm[0]
    muscle_share, cortex_mm = config.thigh_muscle_share.draw(randomness), config.femur_radius_mm.draw(randomness)
    marrow_hu = config.marrow_hu.draw(randomness)
    gap_mm = config.thigh_gap_mm.draw(randomness)
    scene.inside = torch.zeros(scene.shape, dtype=torch.bool)
    for side in (-1, 1):
        y, x = place_mm[1], place_mm[2] - side * (radius_mm + gap_mm / 2)
        axis_mm = torch.hypot(y, x)
        thigh = axis_mm < tapered_mm
        scene.inside |= thigh
        scene.paint(thigh, values.hu["fat"], 6)
        muscle = (axis_mm < muscle_share * tapered_mm) & (scene.noise("medium").abs() > 0.12)
        scene.paint(muscle, values.hu["muscle"], 7)
        for _ in range(2):
            beside = torch.hypot(y - randomness.uniform(-25, 25), x + side * randomness.uniform(10, 30))
            scene.paint(beside < config.vessel_radius_mm.draw(randomness), values.hu["aorta"])
        scene.paint(axis_mm < cortex_mm, values.hu["bone_cortex"], 40)
        scene.paint(axis_mm < 0.55 * cortex_mm, marrow_hu, 15)


def _outside_ellipsoid_mm(
    place_mm: torch.Tensor, middle_mm: tuple[float, ...], half_mm: tuple[float, ...] | list[float]
) -> torch.Tensor:
    """Roughly the distance (K, J, I) to an ellipsoid's surface, negative inside."""
    middle, half = (torch.tensor(values).float().view(3, 1, 1, 1) for values in (middle_mm, half_mm))
    return (((place_mm - middle) / half).norm(dim=0) - 1) * float(half.mean())
