"""The options of synthetic training data in groups; configuration files have the same groups."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from AttentionUNetSegmentationLib.models.description import IntensitySpec

from ..synthetic_ct.atlas import MEMORY_GB
from ..synthetic_ct.config import SyntheticCTConfig


@dataclass(frozen=True)
class AnatomyOptions:
    """Which label maps are used, and where they are kept.

    Attributes:
        held_out: Label maps used for validation only.
        exclude: Label maps that are not used at all.
        weights: How often each label map of training is drawn, against 1 for one that is not named.
        cache: Folder for prepared maps.
        memory_gb: How much prepared maps may take in memory; of more, each is read from the cache when it is drawn.
    """

    held_out: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    cache: Path = Path("runs/atlas_cache")
    memory_gb: float = MEMORY_GB

    def __post_init__(self) -> None:
        if both := sorted(set(self.held_out) & set(self.exclude)):
            raise ValueError(f"a label map is either held out or excluded, both are {', '.join(both)}.")
        if unused := sorted(self.weights.keys() & {*self.held_out, *self.exclude}):
            raise ValueError(f"weights are for label maps of training; held out or excluded are {', '.join(unused)}.")
        for name, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ValueError(f"weights must be positive, {name} has {weight}; exclude leaves a label map out.")


@dataclass(frozen=True)
class PatchOptions:
    """What patches look like, and how many make an epoch.

    Attributes:
        shape_kji: Patch size in voxels.
        spacing_mm: Voxel spacing.
        batch_size: Patches per step and process.
        steps_per_epoch: Steps between validations.
        validation_patches: Number of fixed validation patches.
        first_seed: Seed of the first patch; change it to go on with patches that were never seen.
        replicate_edges: Whether patches of which the scan covers a part along z are filled with copies of its first
            and last slice. Without them such patches are lower, as a CT of that height is at inference, and neither
            loss nor validation counts copies; ``batch_size`` must then be 1.
    """

    shape_kji: tuple[int, int, int] = (80, 96, 96)
    spacing_mm: float = 2.0
    batch_size: int = 1
    steps_per_epoch: int = 250
    validation_patches: int = 16
    first_seed: int = 0
    replicate_edges: bool = False

    def __post_init__(self) -> None:
        if self.batch_size > 1 and not self.replicate_edges:
            raise ValueError(f"batch_size must be 1 without replicated edges: heights differ; got {self.batch_size}.")


@dataclass(frozen=True)
class VariationOptions:
    """What training patches vary in otherwise than the generator's numbers say; validation patches keep those.

    Stages can be compared by their validation patches, whatever they were trained with.

    Attributes:
        phase_weights: How often each contrast phase is drawn, as relative weights; a phase that is not named keeps the
            generator's weight.
        mass_probability: Share of the patches with masses; None for the generator's.
        elastic_strength: Factor of the elastic deformation, at every scale: above 1 the few label maps there are vary
            more than the generator's own numbers let them.
        other_region_probability: Share of the patches that show a head or thighs instead, and none of the organs.
        near_pancreas_probability: Share of the patches near the organs that are placed around the pancreas;
            None for the generator's.
    """

    phase_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    mass_probability: float | None = None
    elastic_strength: float = 1.0
    other_region_probability: float = 0.0
    near_pancreas_probability: float | None = None

    def generator_config(self) -> SyntheticCTConfig:
        """The generator's numbers for training patches.

        Raises:
            ValueError: If a contrast phase is unknown, no phase has a positive weight, or a number is out of range.
        """
        config = SyntheticCTConfig()
        masses = config.masses
        if self.mass_probability is not None:
            masses = dataclasses.replace(masses, probability=self.mass_probability)
        contrast = dataclasses.replace(config.contrast, phases=_weighted(config, self.phase_weights))
        if not 0 <= self.elastic_strength < math.inf:
            raise ValueError(f"elastic_strength must not be negative, got {self.elastic_strength}.")
        elastic = tuple(strength.scaled(self.elastic_strength) for strength in config.deformation.elastic_sd_mm)
        deformation = dataclasses.replace(config.deformation, elastic_sd_mm=elastic)
        crop = config.crop
        if self.near_pancreas_probability is not None:
            crop = dataclasses.replace(crop, near_pancreas_probability=self.near_pancreas_probability)
        elsewhere = dataclasses.replace(config.other_regions, probability=self.other_region_probability)
        return dataclasses.replace(
            config, crop=crop, contrast=contrast, masses=masses, deformation=deformation, other_regions=elsewhere
        )


@dataclass(frozen=True)
class IntensityOptions:
    """The intensity rule: HU are clipped, then become (HU - mean_hu) / std_hu.

    Attributes:
        clip_hu: Clipping range.
        mean_hu: What becomes 0.
        std_hu: How much above it becomes 1.
    """

    clip_hu: tuple[float, float] = (-200.0, 300.0)
    mean_hu: float = 0.0
    std_hu: float = 120.0

    def rule(self) -> IntensitySpec:
        """The same as the engine knows it.

        Raises:
            ValueError: If a number is out of range.
        """
        return IntensitySpec(self.clip_hu, self.mean_hu, self.std_hu)


def _weighted(config: SyntheticCTConfig, weights: Mapping[str, float]) -> dict:
    phases = dict(config.contrast.phases)
    unknown = sorted(set(weights) - set(phases))
    if unknown:
        raise ValueError(f"phase_weights: unknown phase {', '.join(unknown)}; known are {', '.join(phases)}.")
    for name, weight in weights.items():
        phases[name] = dataclasses.replace(phases[name], weight=weight)
    found = [phase.weight for phase in phases.values()]
    if not all(0 <= weight < math.inf for weight in found) or not any(found):
        raise ValueError(f"phase_weights must not be negative, nor all zero, got {dict(weights)}.")
    return phases
