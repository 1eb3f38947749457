"""Numbers of the tissues: Hounsfield units by contrast phase, and texture.

Ranges without a source are judgement: wide enough to cover what scanners and patients do, so that a network trained
on them meets no surprise (domain randomisation, as in Billot et al., SynthSeg, Medical Image Analysis 2023).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .ranges import Range

PROKOP = "Prokop and Galanski, Spiral and Multislice CT of the Body, 2003"
PICKHARDT = "widened from Pickhardt et al., Ann Intern Med 2013;158:588 (L1 trabecular, thresholds 110 to 160 HU)"
MITSIOPOULOS = "inside Mitsiopoulos et al., J Appl Physiol 1998;85:115 (-190 to -30 HU)"
BOSNIAK = "Silverman et al., Bosniak classification v2019, Radiology 2019;292:475 (simple fluid -9 to 20 HU)"


@dataclass(frozen=True)
class PhaseRanges:
    """Mean Hounsfield units of the tissues whose value depends on the contrast phase."""

    weight: float
    liver_hu: Range
    spleen_hu: Range
    kidney_cortex_hu: Range
    kidney_medulla_hu: Range
    pancreas_hu: Range
    aorta_hu: Range
    portal_vein_hu: Range
    vena_cava_hu: Range
    heart_hu: Range
    bowel_wall_hu: Range
    muscle_gain_hu: Range
    excretion_probability: float = 0.0

    @classmethod
    def uniform(cls, weight: float, values_hu: Range) -> PhaseRanges:
        """Return a phase that draws every tissue from the same range."""
        names = [entry.name for entry in dataclasses.fields(cls) if entry.name.endswith("_hu")]
        ranges: dict[str, Any] = dict.fromkeys(names, values_hu) | {"muscle_gain_hu": Range(0, 15)}
        return cls(weight, **ranges)


def _phases() -> Mapping[str, PhaseRanges]:
    return {
        "none": PhaseRanges(
            0.25,
            liver_hu=Range(45, 65, PROKOP),
            spleen_hu=Range(35, 55, PROKOP),
            kidney_cortex_hu=Range(20, 40, PROKOP),
            kidney_medulla_hu=Range(20, 40, PROKOP),
            pancreas_hu=Range(26, 48),
            aorta_hu=Range(34, 52),
            portal_vein_hu=Range(34, 50),
            vena_cava_hu=Range(32, 50),
            heart_hu=Range(34, 50),
            bowel_wall_hu=Range(26, 50),
            muscle_gain_hu=Range(0, 0),
        ),
        "arterial": PhaseRanges(
            0.12,
            liver_hu=Range(55, 85),
            spleen_hu=Range(75, 170),
            kidney_cortex_hu=Range(110, 240),
            kidney_medulla_hu=Range(30, 150),
            pancreas_hu=Range(62, 145),
            aorta_hu=Range(170, 450),
            portal_vein_hu=Range(50, 190),
            vena_cava_hu=Range(45, 170),
            heart_hu=Range(120, 310),
            bowel_wall_hu=Range(50, 125),
            muscle_gain_hu=Range(2, 10),
        ),
        "late_arterial": PhaseRanges(
            0.10,
            liver_hu=Range(65, 110),
            spleen_hu=Range(100, 175),
            kidney_cortex_hu=Range(150, 260),
            kidney_medulla_hu=Range(45, 160),
            pancreas_hu=Range(90, 165),
            aorta_hu=Range(180, 380),
            portal_vein_hu=Range(90, 200),
            vena_cava_hu=Range(60, 170),
            heart_hu=Range(140, 280),
            bowel_wall_hu=Range(80, 150),
            muscle_gain_hu=Range(2, 12),
        ),
        "portal_venous": PhaseRanges(
            0.35,
            liver_hu=Range(80, 145),
            spleen_hu=Range(88, 158),
            kidney_cortex_hu=Range(125, 245),
            kidney_medulla_hu=Range(60, 240),
            pancreas_hu=Range(68, 135),
            aorta_hu=Range(105, 210),
            portal_vein_hu=Range(112, 225),
            vena_cava_hu=Range(85, 195),
            heart_hu=Range(100, 210),
            bowel_wall_hu=Range(58, 130),
            muscle_gain_hu=Range(4, 16),
        ),
        "delayed": PhaseRanges(
            0.08,
            liver_hu=Range(68, 108),
            spleen_hu=Range(68, 108),
            kidney_cortex_hu=Range(90, 190),
            kidney_medulla_hu=Range(90, 230),
            pancreas_hu=Range(52, 92),
            aorta_hu=Range(80, 130),
            portal_vein_hu=Range(80, 130),
            vena_cava_hu=Range(80, 130),
            heart_hu=Range(80, 130),
            bowel_wall_hu=Range(48, 92),
            muscle_gain_hu=Range(4, 12),
            excretion_probability=0.6,
        ),
        "random": PhaseRanges.uniform(0.10, Range(20, 190)),
    }


@dataclass(frozen=True)
class ContrastConfig:
    """Contrast phases and how strongly the tissues of one patient vary together."""

    phases: Mapping[str, PhaseRanges] = field(default_factory=_phases)
    # Share of a value's place in its range that all tissues of a patient have in common (injected dose, timing).
    shared_enhancement: float = 0.5
    soft_tissue_offset_sd_hu: float = 4.0
    steatosis_probability: float = 0.15
    steatosis_drop_hu: Range = Range(15, 60)
    liver_like_spleen_probability: float = 0.2
    liver_like_spleen_sd_hu: float = 7.0
    fatty_pancreas_probability: float = 0.2
    fatty_pancreas_drop_hu: Range = Range(5, 30)
    vein_like_pancreas_probability: Mapping[str, float] = field(
        default_factory=lambda: ({"vena_cava": 0.3, "portal_vein": 0.3})
    )
    vein_like_pancreas_sd_hu: float = 12.0
    # Stomach, bowel and mesentery that have the pancreas' own value are what it is confused with.
    bowel_like_pancreas_probability: float = 0.5
    bowel_like_pancreas_sd_hu: float = 8.0


@dataclass(frozen=True)
class TissueConfig:
    """Hounsfield units that do not depend on the phase, and texture strengths."""

    fat_hu: Range = Range(-118, -88, MITSIOPOULOS)
    visceral_fat_offset_hu: Range = Range(-5, 14)
    muscle_hu: Range = Range(35, 62)
    gallbladder_hu: Range = Range(-5, 25)
    dense_gallbladder_hu: Range = Range(25, 90)
    dense_gallbladder_probability: float = 0.15
    urine_hu: Range = Range(-5, 20)
    dense_urine_hu: Range = Range(20, 250)
    dense_urine_probability: float = 0.2
    cyst_hu: Range = Range(-9, 20, BOSNIAK)
    esophagus_hu: Range = Range(25, 60)
    spinal_canal_hu: Range = Range(15, 50)
    prostate_hu: Range = Range(35, 90)
    thyroid_hu: Range = Range(80, 180)
    brain_hu: Range = Range(30, 40)
    lung_hu: Range = Range(-900, -760)
    trachea_hu: Range = Range(-1000, -960)
    cartilage_hu: Range = Range(70, 180)
    marrow_hu: Range = Range(60, 280, PICKHARDT)
    rib_marrow_hu: Range = Range(80, 350)
    cortex_hu: Range = Range(250, 900)
    cortex_thickness_mm: Range = Range(1.6, 3.0)
    adrenal_offset_hu: Range = Range(-15, 10)
    organ_texture_hu: Range = Range(1.5, 8)
    pancreas_texture_hu: Range = Range(2, 10)
    muscle_texture_hu: Range = Range(4, 11)
    vessel_texture_hu: Range = Range(2, 10)
    heart_texture_hu: Range = Range(5, 22)
    bone_texture_hu: Range = Range(20, 60)
    lung_texture_hu: Range = Range(12, 40)
    lung_opacity_probability: float = 0.3
    lung_opacity_level: Range = Range(0.9, 2.2)
    lung_opacity_hu: Range = Range(-650, 40)
    lung_opacity_texture_hu: Range = Range(5, 60)
    lung_vessel_hu: Range = Range(-300, 80)
