"""Numbers of what lies inside organs: cortex and sinus, lesions, masses, walls and contents of hollow organs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .ranges import Range

MACARI = "widened from Macari and Balthazar, AJR 2001;176:1105 (distended small bowel 1 to 2 mm)"


@dataclass(frozen=True)
class SolidOrganConfig:
    """Inner structure of liver, spleen, pancreas and kidneys.

    Kidneys: the label is the parenchyma, cortex and medulla; sinus fat, calyces and pelvis lie outside it. In seven
    maps of TotalSegmentator v2 and one of BTCV the sinus is an open notch (9 to 20 % of the convex outline of each
    slice), closed holes are at most 0.14 % of the label, and no labelled voxel lies deeper than 15 mm. So what is
    labelled is painted as parenchyma; the middle is hollowed out only where fat, urine or contrast is painted, which
    is rare.

    Pancreas: erosion takes up to half of it. Together with the deformation, a tenth of the samples have less than 0.4
    of their map's volume, 37 % at most 50 ml and 12 % at most 30 ml. That covers old age: 72 +- 26 ml from 20 to 60
    years, less thereafter (Saisho et al., Clin Anat 2007;20:933).
    """

    mottled_spleen_probability: float = 0.7
    mottled_spleen_hu: Range = Range(8, 35)
    mottled_spleen_waves: Range = Range(1.5, 4)
    focal_lesion_probability: float = 0.25
    focal_lesion_hu: Range = Range(-70, 30)
    focal_lesion_level: Range = Range(1.6, 2.6)
    unenhanced_liver_vessel_drop_hu: Range = Range(0, 8)
    left_lobe_probability: float = 0.12  # that reaches the spleen
    left_lobe_thickness_mm: Range = Range(6, 22)
    left_lobe_start_mm: Range = Range(-15, 15)  # in front of and above the middle of the spleen
    left_lobe_wall_mm: float = 4.0
    pancreas_erosion_probability: float = 0.45
    pancreas_erosion_mm: Range = Range(0.5, 3.0)
    even_pancreas_probability: float = 0.35  # no fat between lobules, no duct and one density, as in the young
    pancreas_fat_share: Range = Range(0.0, 0.18)
    pancreas_fat_depth_mm: Range = Range(3, 8)
    pancreas_fat_above_fat_hu: Range = Range(20, 90)
    lobulated_pancreas_probability: float = 0.15  # fat between lobules throughout the organ
    lobulated_pancreas_fat_share: Range = Range(0.15, 0.5)
    pancreas_gradient_hu: Range = Range(0, 12)  # how much head, body and tail differ, standard deviation
    dilated_duct_probability: float = 0.1
    dilated_duct_half_mm: Range = Range(1.5, 3.5)
    pancreas_duct_probability: float = 0.25
    pancreas_duct_mm: Range = Range(1.0, 3.0)
    pancreas_duct_hu: Range = Range(-5, 25)
    kidney_cortex_thickness_mm: Range = Range(5, 9)
    pyramid_share: Range = Range(0.45, 0.9)
    sinus_depth_mm: Range = Range(11, 18)
    sinus_fat_probability: float = 0.1
    sinus_above_fat_hu: Range = Range(10, 60)
    hydronephrosis_probability: float = 0.08
    hydronephrosis_depth_mm: Range = Range(7, 12)
    excreted_contrast_hu: Range = Range(150, 450)
    # A pelvis that bulges out of the hilum: no part of the organ, as in TotalSegmentator's kidneys.
    wide_pelvis_probability: float = 0.2
    pelvis_radius_mm: Range = Range(5, 20)
    pelvis_lengthening: Range = Range(1.0, 1.8)  # from head to foot
    pelvis_medial_mm: Range = Range(12, 26)  # of the kidney's centroid
    pelvis_forward_mm: Range = Range(-2, 8)
    pelvis_tube_radius_mm: Range = Range(2, 5)  # an ordinary pelvis
    ureter_radius_mm: Range = Range(1, 2.5)
    ureter_medial_mm: float = 26.0
    ureter_length_mm: Range = Range(30, 90)  # as far as it runs straight down
    kidney_stone_probability: float = 0.15  # twice the 8 % of adults of Boyce et al., J Urol 2010;183:1017
    kidney_stone_max_count: int = 5
    kidney_stone_radius_mm: Range = Range(1, 10)
    kidney_stone_radius_share: Range = Range(0.2, 1.0)  # a second factor: small ones are more frequent
    kidney_stone_depth_mm: float = 6.0
    kidney_stone_hu: Range = Range(200, 1500)
    renal_vessel_radius_mm: Range = Range(2.5, 5.0)
    renal_vessel_share: Range = Range(0.85, 1.0)  # of the value in aorta or vena cava
    # Below the renal veins the vena cava carries blood from the legs, which contrast reaches minutes later.
    late_leg_blood_probability: float = 0.6
    late_leg_blood_share: Range = Range(0.1, 1.0)  # of the enhancement above
    unenhanced_blood_hu: Range = Range(35, 50)
    leg_blood_streaming_mm: Range = Range(5, 30)  # over which both kinds of blood mix


@dataclass(frozen=True)
class MassConfig:
    """Round masses of several centimetres in and beside organs, which push their neighbours aside."""

    probability: float = 0.3
    max_count: int = 3
    # In the organ, bulging out of it, or beside it, touching it, without belonging to it.
    place_weights: Mapping[str, float] = field(
        default_factory=lambda: ({"inside": 0.45, "exophytic": 0.3, "beside": 0.25})
    )
    organ_weights: Mapping[str, float] = field(
        default_factory=lambda: (
            {"kidney_left": 1.0, "kidney_right": 1.0, "spleen": 1.0, "liver": 0.7, "pancreas": 0.7}
        )
    )
    radius_mm: Range = Range(6, 40)
    radius_share: Range = Range(0.4, 1.0)  # a second factor: small ones are more frequent
    exophytic_cyst_probability: float = 0.6
    cyst_sd_hu: float = 4.0
    kind_weights: Mapping[str, float] = field(
        default_factory=lambda: ({"cyst": 0.4, "hypodense": 0.3, "heterogeneous": 0.3})
    )
    hypodense_drop_hu: Range = Range(8, 60)
    heterogeneous_texture_hu: Range = Range(12, 35)
    necrosis_level: Range = Range(0, 1.2)
    necrosis_hu: Range = Range(5, 35)
    surface_roughness: float = 0.15
    beside_gap_radii: Range = Range(0.8, 1.2)  # from the organ's surface to the centre of a mass beside it
    reach_radii: float = 2.5


@dataclass(frozen=True)
class HollowOrganConfig:
    """Stomach, duodenum, small bowel and colon: walls, folds and contents."""

    wall_mm: Range = Range(1.2, 4.0, MACARI)
    collapsed_wall_mm: Range = Range(5, 18)
    collapsed_level: Range = Range(-1.5, 0.8)
    collapsed_probability: Mapping[str, float] = field(
        default_factory=lambda: ({"stomach": 0.4, "duodenum": 0.55, "small_bowel": 0.4, "colon": 0.25})
    )
    fold_probability: Mapping[str, float] = field(
        default_factory=lambda: ({"stomach": 0.6, "duodenum": 0.4, "small_bowel": 0.7, "colon": 0.45})
    )
    fold_half_width: Range = Range(0.12, 0.5)
    fold_spacing_mm: Range = Range(14, 34)
    content_weights: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: (
            {
                "stomach": {"gas": 0.3, "fluid": 0.3, "oral_contrast": 0.12, "food": 0.28},
                "duodenum": {"gas": 0.1, "fluid": 0.3, "oral_contrast": 0.1, "food": 0.5},
                "small_bowel": {"gas": 0.08, "fluid": 0.3, "oral_contrast": 0.12, "food": 0.5},
                "colon": {"gas": 0.35, "fluid": 0.1, "oral_contrast": 0.08, "stool": 0.47},
            }
        )
    )
    wall_offset_hu: Range = Range(-15, 15)
    wall_texture_hu: Range = Range(3, 10)
    # With contrast the mucosa is denser than the rest of the wall. Where the stomach is collapsed it fills the middle.
    bright_mucosa_probability: float = 0.5
    mucosa_depth_mm: Range = Range(1.5, 10)  # below the organ's surface
    mucosa_above_wall_hu: Range = Range(10, 60)
    gas_hu: Range = Range(-1000, -880)
    gas_level_share: Range = Range(0.25, 0.9)  # of the height of the organ
    tilted_gas_probability: float = 0.25
    partition_level: Range = Range(-1.2, 1.2)
    fluid_hu: Range = Range(-5, 35)
    fluid_texture_hu: Range = Range(2, 8)
    oral_contrast_hu: Range = Range(80, 500)
    oral_contrast_texture_hu: Range = Range(4, 35)
    food_below_wall_hu: Range = Range(-15, 45)
    food_texture_hu: Range = Range(5, 22)
    stool_hu: Range = Range(-120, 60)
    stool_texture_hu: Range = Range(40, 190)
    # Spleen beside a stomach or colon of the same value.
    like_spleen_probability: float = 0.12
    like_spleen_sd_hu: float = 6.0
