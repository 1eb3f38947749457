"""Whole synthetic CTs that each differ from an easy one in one thing: what a model is tried on.

The easy CT: portal venous phase, thin slices, little noise, the whole abdomen. Every condition uses the same seeds, so
the anatomies are the same (but for the pancreas's random erosion, and what masses and a wide pelvis change).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.volume import Grid, Volume

from .config import AcquisitionConfig, SyntheticCTConfig
from .generator import generate_full
from .preparation import PreparedAnatomy
from .ranges import Range
from .structures import TARGET_ORGANS, number_of

ORGANS = tuple(TARGET_ORGANS)  # the generator's targets 1, 2, 3
GENERATED_SPACING_MM = 2.0
BASE = "portal venous, thin slices, whole abdomen"


@dataclass(frozen=True)
class Condition:
    """What is different about a CT.

    Attributes:
        name: For the table.
        phase: Contrast phase.
        noise_hu: Noise level.
        slice_mm: Thickness and distance of the slices.
        height_mm: Height of the field around the organs' middle; None for all of it.
        masses: Whether every CT has large masses in or beside its organs.
        diseased_kidneys: Whether both kidneys have stones, wide calyces and a pelvis that bulges out of the hilum.
        removed: Structure that is not there; fat and small soft tissue lie in its place.
        chest: Whether the field holds the chest only, from the highest of the organs upwards.
    """

    name: str
    phase: str = "portal_venous"
    noise_hu: float = 8.0
    slice_mm: float = 2.0
    height_mm: float | None = None
    masses: bool = False
    diseased_kidneys: bool = False
    removed: str = ""
    chest: bool = False

    def config(self) -> SyntheticCTConfig:
        """The generator's configuration."""
        config = SyntheticCTConfig()
        if self.phase not in config.contrast.phases:
            raise ValueError(f"phase must be one of {', '.join(config.contrast.phases)}, got {self.phase!r}")
        phases = {self.phase: config.contrast.phases[self.phase]}
        acquisition = AcquisitionConfig(
            thick_slice_probability=0.0,
            strong_blur_probability=0.0,
            noise_minimum_hu=self.noise_hu,
            noise_maximum_hu=self.noise_hu,
            strong_noise_probability=0.0,
            streak_probability=0.0,
            metal_probability=0.0,
        )
        masses = dataclasses.replace(config.masses, probability=float(self.masses))
        if self.masses:
            masses = dataclasses.replace(masses, radius_mm=Range(20, 40), radius_share=Range(1, 1))
        contrast = dataclasses.replace(config.contrast, phases=phases)
        organs = dataclasses.replace(
            config.solid_organs,
            hydronephrosis_probability=float(self.diseased_kidneys),
            wide_pelvis_probability=float(self.diseased_kidneys),
            kidney_stone_probability=float(self.diseased_kidneys),
        )
        return dataclasses.replace(
            config, contrast=contrast, acquisition=acquisition, masses=masses, solid_organs=organs
        )


CONDITIONS = (
    Condition(BASE),
    Condition("no contrast", phase="none"),
    Condition("arterial phase", phase="arterial"),
    Condition("delayed phase", phase="delayed"),
    Condition("slices of 5 mm", slice_mm=5.0),
    Condition("slices of 8 mm", slice_mm=8.0),
    Condition("noise of 30 HU", noise_hu=30.0),
    Condition("field of 120 mm", height_mm=120.0),
    Condition("field of 60 mm", height_mm=60.0),
    Condition("large masses", masses=True),
    Condition("kidneys with stones and wide pelvis", diseased_kidneys=True),
    Condition("left kidney removed", removed="kidney_left"),
    Condition("spleen removed", removed="spleen"),
    Condition("chest only", chest=True),
)


def make_ct(anatomy: PreparedAnatomy, condition: Condition, seed: int) -> tuple[Volume, np.ndarray]:
    """A whole CT of the label map under a condition, and its target (K, J, I) of 0 background, 1, 2, 3."""
    if condition.removed:
        anatomy = _without(anatomy, condition.removed)
    sample = generate_full(anatomy, condition.config(), seed, GENERATED_SPACING_MM)
    hu, target = sample.image_hu, sample.target
    first, last = _slices_of_field(target, condition)
    hu, target = hu[first:last], target[first:last]
    matrix = np.diag([GENERATED_SPACING_MM] * 3 + [1.0])
    grid = Grid(hu.shape, matrix)
    if condition.slice_mm != GENERATED_SPACING_MM:
        grid, hu, target = _thick_slices(grid, hu, target, condition.slice_mm)
    name = f"{condition.name}, seed {seed} (synthetic)"
    return Volume(np.round(hu).astype(np.int16), grid.ijk_to_ras, name=name), target


def _without(anatomy: PreparedAnatomy, structure: str) -> PreparedAnatomy:
    """The anatomy without a structure; all else keeps its place, so that the random deformation stays the same."""
    number = number_of(structure)
    if not (anatomy.labels == number).any():
        raise ValueError(f"{anatomy.name} has no {structure} that could be removed")
    return dataclasses.replace(anatomy, labels=np.where(anatomy.labels == number, np.uint8(0), anatomy.labels))


def _slices_of_field(target: np.ndarray, condition: Condition) -> tuple[int, int]:
    rows = np.flatnonzero((target > 0).any(axis=(1, 2)))
    if not len(rows):
        raise ValueError("the label map shows none of the organs")
    if condition.chest:
        first = int(rows[-1]) + 5
        if len(target) - first < 30:
            raise ValueError("the label map shows too little of the chest")
        return first, len(target)
    if condition.height_mm is None:
        return 0, len(target)
    half = condition.height_mm / 2 / GENERATED_SPACING_MM
    middle = (rows[0] + rows[-1]) / 2
    return max(0, round(middle - half)), min(len(target), round(middle + half))


def _thick_slices(
    grid: Grid, hu: np.ndarray, target: np.ndarray, slice_mm: float
) -> tuple[Grid, np.ndarray, np.ndarray]:
    matrix = grid.ijk_to_ras.copy()
    matrix[2, 2] = slice_mm
    matrix[2, 3] += (slice_mm - GENERATED_SPACING_MM) / 2
    size = int(len(hu) * GENERATED_SPACING_MM / slice_mm)
    thick = Grid((size, *grid.shape_kji[1:]), matrix)
    shares = [resample(target == value, grid, thick) for value in range(len(ORGANS) + 1)]
    return thick, resample(hu, grid, thick), np.argmax(shares, axis=0).astype(np.uint8)
