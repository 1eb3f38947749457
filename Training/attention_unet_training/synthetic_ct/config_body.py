"""Numbers of the body around the labelled structures: wall, fat, clutter, skin, arms and table; all judgement.

"Level" is a threshold on a noise field of mean 0 and standard deviation 1: the lower, the more voxels lie above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .ranges import Range

DAVIDIUK = "grades of Davidiuk et al., Eur Urol 2014;66:1165: below 10 mm, 10 to 19 mm, 20 mm and more"

ASCITES = "transudates are nearly as dense as water; exudates and blood are denser and not meant here"


@dataclass(frozen=True)
class BodyConfig:
    """Body wall, subcutaneous fat and skin."""

    air_hu: float = -1000.0
    outline_offset_mm: Range = Range(-4, 3)
    limb_radius_mm: Range = Range(16, 30)
    muscle_mm: Range = Range(5, 16)
    wall_below_muscle_hu: Range = Range(0, 25)
    wall_texture_hu: Range = Range(4, 9)
    wall_inner_mm: Range = Range(0.5, 4)
    near_bone_muscle_mm: Range = Range(5, 14)
    near_bone_level: Range = Range(-2.5, -0.3)
    fat_plane_place: Range = Range(0.3, 0.6)  # between the muscle layers, share of the wall's thickness
    fat_plane_half_mm: Range = Range(0.5, 1.4)
    fat_plane_above_fat_hu: Range = Range(20, 70)
    fat_minimum_mm: float = 3.0
    fat_gamma: tuple[float, float] = (1.6, 9.0)  # shape, scale in mm
    fat_maximum_mm: float = 70.0
    fat_variation_mm: float = 160.0  # distance over which the thickness changes
    fat_front_back_share: Range = Range(-0.3, 0.3)
    fat_texture_hu: Range = Range(3, 8)
    strand_half_width: Range = Range(0.01, 0.06)
    strand_above_fat_hu: Range = Range(10, 60)
    skin_mm: Range = Range(1.8, 3.5)
    skin_hu: Range = Range(-60, 40)


@dataclass(frozen=True)
class ClutterConfig:
    """Tissue without a label inside the trunk."""

    share_beta: tuple[float, float] = (1.2, 2.2)
    largest_share: float = 0.75  # of the visceral fat
    size_mm: Range = Range(18, 36)
    muscle_like_probability: float = 0.5
    below_muscle_hu: Range = Range(0, 25)
    other_hu: Range = Range(5, 60)
    texture_hu: Range = Range(4, 12)
    # Fat around the organs and in their hilum, which keeps tissue without a label away.
    organ_fat_probability: Mapping[str, float] = field(
        default_factory=lambda: {"pancreas": 0.6, "spleen": 0.85, "kidney": 0.85}
    )
    organ_fat_mm: Mapping[str, Range] = field(
        default_factory=lambda: {"pancreas": Range(2, 12), "spleen": Range(2, 20), "kidney": Range(3, 25, DAVIDIUK)}
    )
    organ_fat_variation: float = 0.35  # of the thickness, standard deviation
    organ_fat_strand_probability: float = 0.4
    organ_fat_strand_half_width: Range = Range(0.02, 0.12)
    organ_fat_strand_above_fat_hu: Range = Range(15, 90)
    haze_hu: Range = Range(0, 25)
    # Lumps with the pancreas' own value: mesentery, nodes, bowel that nobody labelled.
    lump_probability: float = 0.6
    lump_share: Range = Range(0.01, 0.10)
    lump_size_mm: Range = Range(12, 30)
    lump_sd_hu: float = 10.0
    lump_texture_hu: Range = Range(3, 12)
    vessel_half_width: Range = Range(0.12, 0.34)
    vessel_of_portal_vein: Range = Range(0.6, 1.0)
    vessel_arterial_probability: float = 0.3
    vessel_of_aorta: Range = Range(0.4, 0.8)
    trunk_probability: float = 0.8  # superior mesenteric vein and artery
    trunk_radius_mm: Range = Range(3, 6.5)
    trunk_step_mm: Range = Range(12, 25)
    trunk_wander_sd_mm: float = 4.0
    trunk_artery_left_mm: float = 17.0


@dataclass(frozen=True)
class MesenteryConfig:
    """Jejunal loops beside the pancreas and branches of the mesenteric vein, as dense as the pancreas or nearly so.

    Vena cava and pancreas seldom touch in the label maps: half of the 85 maps have at most 0.15 ml of pancreas within
    3 mm of that vein. In lean patients they do, so neighbours sometimes grow up to the pancreas.
    """

    closed_gap_probability: float = 0.35  # for each neighbour
    closed_gap_mm: Range = Range(3, 8)
    jejunum_probability: float = 0.5
    jejunum_max_loops: int = 6
    jejunum_radius_mm: Range = Range(6, 13)
    jejunum_step_mm: Range = Range(14, 26)
    jejunum_gap_radii: Range = Range(0.8, 2.0)  # from the surface of the pancreas to the first point of a loop
    jejunum_of_pancreas_sd_hu: float = 8.0
    jejunum_texture_hu: Range = Range(4, 14)
    jejunum_filled_probability: float = 0.4
    jejunum_content_hu: Range = Range(-5, 45)
    jejunum_wall_mm: Range = Range(2, 4)
    vein_branch_probability: float = 0.6
    vein_branch_max_count: int = 6
    vein_branch_radius_mm: Range = Range(1.2, 3.5)
    vein_branch_sideways_mm: Range = Range(20, 60)


@dataclass(frozen=True)
class CoeliacConfig:
    """Vessels of the upper abdomen that the label maps lack."""

    branches_probability: float = 0.7
    artery_radius_mm: Range = Range(1.5, 4)
    artery_of_aorta: Range = Range(0.75, 1.0)
    winding_sd_mm: float = 4.0
    calcified_probability: float = 0.12
    calcified_hu: Range = Range(250, 900)
    gastric_vein_probability: float = 0.5
    gastric_vein_radius_mm: Range = Range(1.5, 5)  # wide in portal hypertension
    varices_probability: float = 0.3
    varices_max_count: int = 8
    varix_radius_mm: Range = Range(1.5, 4.5)
    varix_step_mm: Range = Range(8, 18)
    submucosal_probability: float = 0.4


@dataclass(frozen=True)
class FreeFluidConfig:
    """Free fluid in the peritoneal recesses and the pleural space; no organ has its label."""

    probability: float = 0.12
    # How far fluid reaches from liver, spleen and wall; drawn on a logarithmic scale, from a rim to litres.
    reach_mm: Range = Range(3, 60)
    reach_variation: float = 0.4
    fluid_hu: Range = Range(0, 20, ASCITES)
    texture_hu: float = 2.0
    # Fluid lies between wall and organ: liver and spleen are cut so far away from the wall.
    organ_cut_share: Range = Range(0.0, 0.6)  # of the reach
    largest_cut_mm: Mapping[str, float] = field(default_factory=lambda: {"liver": 20.0, "spleen": 8.0})
    largest_cut_share: float = 0.3  # of the organ's volume
    wall_depth_mm: float = 6.0  # muscle and ribs, from the outline inwards
    distension_share: Range = Range(0.0, 0.8)  # of the reach, where no bone holds the wall
    retroperitoneal_mm: float = 8.0  # around the kidneys, where no free fluid is
    spine_half_width_mm: float = 45.0
    effusion_probability: float = 0.1
    effusion_share: Range = Range(0.05, 0.4)  # of the height of the lungs, from the back


@dataclass(frozen=True)
class SurroundingsConfig:
    """Table and arms."""

    table_probability: float = 0.75
    table_gap_mm: Range = Range(0, 30)
    table_thickness_mm: Range = Range(3, 9)
    table_hu: Range = Range(-250, 150)
    table_off_centre_mm: Range = Range(-20, 20)
    table_curvature_per_mm: Range = Range(0, 0.0012)
    table_shell_probability: float = 0.6
    table_depth_mm: Range = Range(15, 60)
    table_foam_probability: float = 0.5
    table_foam_hu: Range = Range(-980, -850)
    arms_probability: float = 0.12
    arm_radius_mm: Range = Range(27, 45)
    arm_gap_mm: Range = Range(0, 15)
    arm_height_share: Range = Range(0.3, 0.7)
    arm_flattening: Range = Range(0.85, 1.2)
    arm_marrow_hu: Range = Range(50, 200)


@dataclass(frozen=True)
class OtherRegionConfig:
    """Heads and thighs, which show none of the organs: rough sizes of adults, judgement."""

    probability: float = 0.0  # validation patches are to show organs
    head_probability: float = 0.5
    off_centre_mm: tuple[float, float, float] = (80.0, 20.0, 20.0)  # z, y, x, both ways
    wobble_mm: Range = Range(1, 5)
    wobble_over_mm: float = 60.0
    brain_half_mm: tuple[Range, Range, Range] = (Range(55, 70), Range(75, 92), Range(60, 73))  # z, y, x
    skull_mm: Range = Range(4, 9)
    scalp_mm: Range = Range(3, 8)
    bone_hu: Range = Range(500, 1400)
    marrow_hu: Range = Range(-80, 200)
    brain_hu: Range = Range(28, 45)
    liquor_hu: Range = Range(0, 14)
    sulcus_half_width: Range = Range(0.05, 0.3)
    face_detail_mm: float = 14.0
    neck_radius_mm: Range = Range(45, 70)
    vertebra_radius_mm: float = 19.0
    vessel_radius_mm: Range = Range(2.5, 7)
    thigh_radius_mm: Range = Range(60, 95)
    thigh_taper: Range = Range(-0.02, 0.12)  # mm of radius per mm upwards
    thigh_gap_mm: Range = Range(-8, 30)
    thigh_muscle_share: Range = Range(0.6, 0.95)
    femur_radius_mm: Range = Range(11, 17)
