"""Hounsfield units of one patient in one contrast phase."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import structures
from .config_tissue import ContrastConfig, PhaseRanges, TissueConfig
from .randomness import Randomness


@dataclass(frozen=True)
class TissueValues:
    """Values drawn for one sample.

    Attributes:
        phase: Name of the contrast phase.
        hu: Mean by tissue: the fields of `PhaseRanges` without `_hu`, and "muscle", "fat",
            "visceral_fat", "bone_cortex", "cyst", "urine".
        mean_hu: (256,) mean by structure number.
        texture_hu: (256,) texture strength by structure number.
        excretion: Whether contrast has reached the renal pelvis.
    """

    phase: str
    hu: dict[str, float]
    mean_hu: torch.Tensor
    texture_hu: torch.Tensor
    excretion: bool


_PHASE_TISSUES = (
    "liver",
    "spleen",
    "kidney_cortex",
    "kidney_medulla",
    "pancreas",
    "aorta",
    "portal_vein",
    "vena_cava",
    "heart",
    "bowel_wall",
)


# Structures that depend on nothing else, with the field of `TissueConfig` they are drawn from.
_PLAIN_STRUCTURES = {
    "esophagus": "esophagus_hu",
    "spinal_cord": "spinal_canal_hu",
    "brain": "brain_hu",
    "prostate": "prostate_hu",
    "thyroid_gland": "thyroid_hu",
    "trachea": "trachea_hu",
    "costal_cartilages": "cartilage_hu",
}


def draw_tissue_values(contrast: ContrastConfig, tissue: TissueConfig, randomness: Randomness) -> TissueValues:
    """Draw a phase, the patient's values in it, and the tables by structure."""
    phase = randomness.pick({name: ranges.weight for name, ranges in contrast.phases.items()})
    ranges = contrast.phases[phase]
    hu = _phase_values(ranges, contrast, randomness, coupled=phase != "random")
    hu["muscle"] = tissue.muscle_hu.draw(randomness) + ranges.muscle_gain_hu.draw(randomness)
    hu["fat"] = tissue.fat_hu.draw(randomness)
    hu["visceral_fat"] = hu["fat"] + tissue.visceral_fat_offset_hu.draw(randomness)
    hu["bone_cortex"] = tissue.cortex_hu.draw(randomness)
    hu["cyst"] = tissue.cyst_hu.draw(randomness)
    dense = randomness.chance(tissue.dense_urine_probability)
    hu["urine"] = (tissue.dense_urine_hu if dense else tissue.urine_hu).draw(randomness)
    mean_hu, texture_hu = _tables(hu, tissue, randomness)
    return TissueValues(phase, hu, mean_hu, texture_hu, randomness.chance(ranges.excretion_probability))


def _phase_values(
    ranges: PhaseRanges,
    contrast: ContrastConfig,
    randomness: Randomness,
    coupled: bool,
) -> dict[str, float]:
    """Draw the means that depend on the phase; within a phase the tissues of a patient go up and down together."""
    shared = contrast.shared_enhancement if coupled else 0.0
    enhancement = randomness.uniform(0, 1)
    hu = {
        name: getattr(ranges, f"{name}_hu").at(shared * enhancement + (1 - shared) * randomness.uniform(0, 1))
        for name in _PHASE_TISSUES
    }
    offset = randomness.normal(contrast.soft_tissue_offset_sd_hu)
    hu = {name: value + offset for name, value in hu.items()}
    if coupled and randomness.chance(contrast.steatosis_probability):
        hu["liver"] -= contrast.steatosis_drop_hu.draw(randomness)
    like_spleen = randomness.branch("liver like spleen")
    if like_spleen.chance(contrast.liver_like_spleen_probability):
        hu["liver"] = hu["spleen"] + like_spleen.normal(contrast.liver_like_spleen_sd_hu)
    if randomness.chance(contrast.fatty_pancreas_probability):
        hu["pancreas"] -= contrast.fatty_pancreas_drop_hu.draw(randomness)
    for vein, probability in contrast.vein_like_pancreas_probability.items():
        like_pancreas = randomness.branch(f"{vein} like pancreas")
        if like_pancreas.chance(probability):
            hu[vein] = hu["pancreas"] + like_pancreas.normal(contrast.vein_like_pancreas_sd_hu)
    if randomness.chance(contrast.bowel_like_pancreas_probability):
        hu["bowel_wall"] = hu["pancreas"] + randomness.normal(contrast.bowel_like_pancreas_sd_hu)
    return hu


def _tables(
    hu: dict[str, float],
    tissue: TissueConfig,
    randomness: Randomness,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and texture by structure number."""
    mean_hu, texture_hu = torch.full((256,), 45.0), torch.full((256,), 6.0)

    def assign(names: tuple[str, ...], value: float, texture: float) -> None:
        for name in names:
            mean_hu[structures.number_of(name)], texture_hu[structures.number_of(name)] = value, texture

    def draw(name: str) -> float:
        return getattr(tissue, name).draw(randomness)

    for organ in ("liver", "spleen"):
        assign((organ,), hu[organ], draw("organ_texture_hu"))
    assign(structures.KIDNEYS, hu["kidney_cortex"], draw("organ_texture_hu"))
    assign(("pancreas",), hu["pancreas"], draw("pancreas_texture_hu"))
    assign(structures.ADRENALS, hu["pancreas"] + draw("adrenal_offset_hu"), 6)
    assign(structures.ARTERIES, hu["aorta"], draw("vessel_texture_hu"))
    assign(structures.VEINS, hu["vena_cava"], 2 * draw("vessel_texture_hu"))
    assign(("portal_vein_and_splenic_vein",), hu["portal_vein"], draw("vessel_texture_hu"))
    assign(structures.HEART, hu["heart"], draw("heart_texture_hu"))
    assign(structures.HOLLOW_ORGANS, hu["bowel_wall"], 6)
    assign(structures.MUSCLES, hu["muscle"], draw("muscle_texture_hu"))
    assign(structures.BONES, draw("marrow_hu"), draw("bone_texture_hu"))
    assign(structures.RIBS, draw("rib_marrow_hu"), draw("bone_texture_hu"))
    assign(structures.LUNGS, draw("lung_hu"), draw("lung_texture_hu"))
    dense_bile = randomness.chance(tissue.dense_gallbladder_probability)
    assign(("gallbladder",), draw("dense_gallbladder_hu" if dense_bile else "gallbladder_hu"), 3)
    assign(("urinary_bladder",), hu["urine"], 3)
    assign(structures.KIDNEY_CYSTS, hu["cyst"], 3)
    for name, source in _PLAIN_STRUCTURES.items():
        assign((name,), draw(source), 8)
    return mean_hu, texture_hu
