"""A synthetic CT and its target from one label map: the stages in order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from .acquisition import acquire
from .body import paint_body
from .clutter import paint_clutter
from .coeliac import paint_coeliac_branches, paint_gastric_varices
from .config import SyntheticCTConfig
from .contrast import TissueValues, draw_tissue_values
from .deformation import draw_centre_mm, source_coordinates_mm
from .field_of_view import Slab, draw_circle, draw_slab, valid_slab
from .free_fluid import make_room_for_fluid, paint_effusion, paint_free_fluid
from .hollow_organs import paint_hollow_organs
from .kidneys import paint_kidneys, paint_vena_cava
from .left_lobe import extend_left_lobe
from .masses import displace_by_masses, draw_masses
from .mesentery import close_fat_gaps, paint_jejunum, paint_mesenteric_trunks
from .other_regions import paint_other_region
from .painting import (
    erode_pancreas,
    paint_bones,
    paint_liver,
    paint_lungs,
    paint_masses,
    paint_pancreas,
    paint_spleen,
    paint_structures,
)
from .preparation import PreparedAnatomy
from .randomness import Randomness
from .scene import Scene, build_scene, empty_scene
from .structures import target_table
from .surroundings import paint_arms, paint_table


@dataclass(frozen=True)
class SyntheticSample:
    """One synthetic CT on an isotropic RAS+ grid; arrays are (K, J, I) = (z, y, x).

    Attributes:
        image_hu: float32, within -1024 to 3071 HU.
        target: uint8, 0 background, 1 pancreas, 2 spleen, 3 kidney.
        labels: uint8, numbers of `structures.STRUCTURES`.
        slab: The slices that the scan covers; the others repeat them.
        phase: Contrast phase.
        seed: Seed that reproduces the sample.
        spacing_mm: Edge of a voxel.
        subject: Name of the anatomy.
    """

    image_hu: np.ndarray
    target: np.ndarray
    labels: np.ndarray
    slab: Slab
    phase: str
    seed: int
    spacing_mm: float
    subject: str


def generate(
    anatomy: PreparedAnatomy,
    config: SyntheticCTConfig,
    seed: int,
    shape_kji: tuple[int, int, int],
    spacing_mm: float = 2.0,
    centre_mm: tuple[float, float, float] | None = None,
) -> SyntheticSample:
    """Make one training crop; the same arguments give the same bits (for a given number of torch threads).

    With the probability of `OtherRegionConfig` it is a head or thighs instead, whatever the anatomy.

    Args:
        anatomy: The prepared label map.
        config: All numbers.
        seed: Non-negative integer.
        shape_kji: Shape of the sample.
        spacing_mm: Voxel size of the sample.
        centre_mm: Point (z, y, x) of the anatomy in the middle of the sample; drawn when None.

    Raises:
        ValueError: If the shape or the spacing is not positive.
    """
    _check_grid(shape_kji, spacing_mm)
    randomness = Randomness(seed)
    if centre_mm is None:
        centre_mm = draw_centre_mm(anatomy, config.crop, randomness, shape_kji[0] * spacing_mm)
    elsewhere = randomness.branch("other region")
    if elsewhere.chance(config.other_regions.probability):
        scene, values, slab = _paint_elsewhere(config, elsewhere, shape_kji, spacing_mm)
    else:
        scene, values, slab = _paint(anatomy, config, randomness, shape_kji, spacing_mm, centre_mm)
    image_hu = acquire(scene, config.acquisition)
    slab = draw_slab(slab, spacing_mm, config.field_of_view, randomness)
    circle = draw_circle(shape_kji, config.field_of_view, randomness)
    if circle is not None:
        padding_hu = float(randomness.pick(config.field_of_view.padding_hu))
        image_hu.masked_fill_(circle, padding_hu)
        scene.labels.masked_fill_(circle, 0)
    return _sample(anatomy, scene, values, slab.replicate(image_hu), slab.replicate(scene.labels), slab, seed)


def generate_full(
    anatomy: PreparedAnatomy,
    config: SyntheticCTConfig,
    seed: int,
    spacing_mm: float = 2.0,
    z_range_mm: tuple[float, float] | None = None,
) -> SyntheticSample:
    """Make a whole-field sample: the full width of the body with air around it, without cuts in plane or replication.

    Args:
        anatomy: The prepared label map.
        config: All numbers; the field of view is ignored.
        seed: Non-negative integer.
        spacing_mm: Voxel size of the sample.
        z_range_mm: Part of the anatomy along z, in mm from its lowest slice; all of it when None.

    Raises:
        ValueError: If the spacing is not positive or the range is empty.
    """
    length_mm = [(size - 1) * anatomy.spacing_mm for size in anatomy.labels.shape]
    low_mm, high_mm = z_range_mm or (0.0, length_mm[0])
    low_mm, high_mm = max(low_mm, 0.0), min(high_mm, length_mm[0])
    if not low_mm < high_mm:
        raise ValueError(f"z_range_mm must overlap the anatomy, 0 to {length_mm[0]} mm, got {z_range_mm}.")
    widest = math.exp(config.deformation.log_scale + config.deformation.log_axis_scale)
    margin_mm = 2 * (config.body.muscle_mm.high + 40)
    in_plane = [math.ceil((extent * widest + margin_mm) / spacing_mm) for extent in length_mm[1:]]
    shape_kji = (math.ceil((high_mm - low_mm) * widest / spacing_mm), *in_plane)
    _check_grid(shape_kji, spacing_mm)
    randomness = Randomness(seed)
    centre_mm = ((low_mm + high_mm) / 2, length_mm[1] / 2, length_mm[2] / 2)
    scene, values, _ = _paint(anatomy, config, randomness, shape_kji, spacing_mm, centre_mm)
    image_hu = acquire(scene, config.acquisition)
    slab = valid_slab(scene.source_mm[0] - low_mm, high_mm - low_mm, config.field_of_view.smallest_valid_share)
    kept = (slice(slab.first, slab.last + 1), *_in_plane_box(scene.inside, 30 / spacing_mm))
    image_hu, labels = image_hu[kept], scene.labels[kept]
    return _sample(anatomy, scene, values, image_hu, labels, Slab(0, len(labels) - 1), seed)


def _paint(
    anatomy: PreparedAnatomy,
    config: SyntheticCTConfig,
    randomness: Randomness,
    shape_kji: tuple[int, int, int],
    spacing_mm: float,
    centre_mm: tuple[float, ...],
) -> tuple[Scene, TissueValues, Slab]:
    """Deform the anatomy and paint it; also return the slices that the anatomy covers."""
    source_mm = source_coordinates_mm(anatomy, config.deformation, randomness, shape_kji, spacing_mm, centre_mm)
    length_mm = (anatomy.labels.shape[0] - 1) * anatomy.spacing_mm
    slab = valid_slab(source_mm[0], length_mm, config.field_of_view.smallest_valid_share)
    masses = draw_masses(anatomy, config.masses, randomness)
    roughness = randomness.smooth_noise(shape_kji, 24 / spacing_mm) if masses else torch.zeros(1)
    source_mm, mass_index = displace_by_masses(source_mm, masses, config.masses, roughness)
    scene = build_scene(
        anatomy, source_mm, mass_index, masses, spacing_mm, randomness, config.deformation.label_jitter_mm
    )
    values = draw_tissue_values(config.contrast, config.tissue, randomness)
    erode_pancreas(scene, config.solid_organs)
    close_fat_gaps(scene, config.mesentery)
    extend_left_lobe(scene, config.solid_organs)
    fluid_reach_mm = make_room_for_fluid(scene, config.free_fluid)
    cavity = paint_body(scene, values, config.body)
    paint_clutter(scene, values, config.clutter, cavity)
    paint_jejunum(scene, values, config.mesentery, cavity)
    paint_free_fluid(scene, fluid_reach_mm, config.free_fluid, cavity)
    paint_structures(scene, values)
    paint_bones(scene, values, config.tissue)
    paint_lungs(scene, config.tissue)
    paint_effusion(scene, config.free_fluid)
    paint_liver(scene, values, config.solid_organs)
    paint_spleen(scene, values, config.solid_organs)
    paint_pancreas(scene, values, config.solid_organs)
    paint_hollow_organs(scene, values, config.hollow_organs)
    paint_kidneys(scene, values, config.solid_organs)
    paint_vena_cava(scene, values, config.solid_organs)
    paint_mesenteric_trunks(scene, values, config)
    paint_coeliac_branches(scene, values, config.coeliac)
    paint_gastric_varices(scene, values, config.coeliac)
    paint_masses(scene, values, config.masses)
    paint_table(scene, config.surroundings)
    paint_arms(scene, values, config.surroundings)
    return scene, values, slab


def _paint_elsewhere(
    config: SyntheticCTConfig, randomness: Randomness, shape_kji: tuple[int, int, int], spacing_mm: float
) -> tuple[Scene, TissueValues, Slab]:
    """Paint a part of the body that has none of the organs, and needs no anatomy."""
    scene = empty_scene(shape_kji, spacing_mm, randomness)
    values = draw_tissue_values(config.contrast, config.tissue, randomness)
    paint_other_region(scene, values, config.other_regions)
    paint_table(scene, config.surroundings)
    return scene, values, Slab(0, shape_kji[0] - 1)


def _in_plane_box(mask: torch.Tensor, margin_vox: float) -> tuple[slice, slice]:
    """Return the rows and columns that hold the mask (K, J, I), with a margin."""
    box = []
    for filled in (mask.any(2).any(0), mask.any(1).any(0)):
        indices = filled.nonzero().flatten()
        box.append(slice(max(0, int(indices[0] - margin_vox)), int(indices[-1] + margin_vox) + 1))
    rows, columns = box
    return rows, columns


def _sample(
    anatomy: PreparedAnatomy,
    scene: Scene,
    values: TissueValues,
    image_hu: torch.Tensor,
    labels: torch.Tensor,
    slab: Slab,
    seed: int,
) -> SyntheticSample:
    return SyntheticSample(
        image_hu=image_hu.contiguous().numpy(),
        target=target_table()[labels].numpy(),
        labels=labels.to(torch.uint8).numpy(),
        slab=slab,
        phase=values.phase,
        seed=seed,
        spacing_mm=scene.spacing_mm,
        subject=anatomy.name,
    )


def _check_grid(shape_kji: tuple[int, ...], spacing_mm: float) -> None:
    if len(shape_kji) != 3 or min(shape_kji) < 1:
        raise ValueError(f"A sample needs three positive sizes, got {shape_kji}.")
    if spacing_mm <= 0:
        raise ValueError(f"A spacing must be positive, got {spacing_mm} mm.")
