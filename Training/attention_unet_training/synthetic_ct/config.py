"""The main numbers of the synthetic-CT generator, in one typed and validated configuration.

Each range carries its source (`Range.source`); single numbers are judgement. Lengths are in mm, values in Hounsfield
units, as the names say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .config_body import (
    BodyConfig,
    ClutterConfig,
    CoeliacConfig,
    FreeFluidConfig,
    MesenteryConfig,
    OtherRegionConfig,
    SurroundingsConfig,
)
from .config_organs import HollowOrganConfig, MassConfig, SolidOrganConfig
from .config_tissue import ContrastConfig, TissueConfig
from .ranges import Range

CAGLAR = "mean and about two standard deviations of Caglar et al., Folia Morphol 2014;73 (CT, 212 adults: 100 +- 21 mm)"


@dataclass(frozen=True)
class CropConfig:
    """Where the centre of a crop lies, in the coordinates of the prepared anatomy."""

    near_organs_probability: float = 0.8
    near_pancreas_probability: float = 0.5  # of the crops near the organs
    organ_jitter_mm: tuple[float, float, float] = (60.0, 35.0, 35.0)  # z, y, x
    pancreas_jitter_mm: tuple[float, float, float] = (35.0, 30.0, 35.0)
    anterior_shift_mm: float = 25.0  # the mean of the target organs lies behind the middle of the abdomen
    anywhere_share: tuple[float, float, float] = (0.45, 0.2, 0.2)  # of the body's size, to both sides of its middle
    smallest_inside_share: float = 0.3  # of the crop along z, on either side of its centre


@dataclass(frozen=True)
class DeformationConfig:
    """Random affine, multi-scale elastic and per-organ deformation."""

    rotation_deg: tuple[float, float, float] = (14.0, 10.0, 10.0)  # about the z, y and x axis, both ways
    log_scale: float = 0.2
    log_axis_scale: float = 0.1
    shear: float = 0.08
    elastic_step_mm: tuple[float, ...] = (120.0, 55.0, 24.0)
    elastic_sd_mm: tuple[Range, ...] = (Range(0, 10), Range(0, 4.5), Range(0, 1.8))
    organ_probability: float = 0.6
    organ_log_growth: Range = Range(-0.3, 0.3)
    spleen_log_growth: Range = Range(-0.3, 0.45)
    spleen_length_mm: Range = Range(60, 150, CAGLAR)  # along z, roughly
    spleen_log_lengthening_limit: float = 0.6
    spleen_lengthening_reach: float = 3.0  # as `organ_reach`; the tips have to move too
    organ_shift_sd_mm: tuple[float, float, float] = (5.0, 4.0, 4.0)
    organ_reach: float = 1.7  # width of an organ's own deformation, in standard deviations of its voxels
    lattice_mm: float = 8.0
    label_jitter_mm: float = 0.3


@dataclass(frozen=True)
class AcquisitionConfig:
    """What scanner and reconstruction do to the tissues."""

    partial_volume_sigma_vox: float = 0.35  # a box of one voxel has 0.29
    blur_in_plane_mm: Range = Range(0.4, 2.2)  # the upper end: interpolated from voxels of 3 mm
    blur_through_plane_mm: Range = Range(0.7, 1.5)
    strong_blur_through_plane_mm: Range = Range(1.5, 3.0)
    strong_blur_probability: float = 0.3
    thick_slice_probability: float = 0.3
    thick_slice_mm: Range = Range(3, 8)
    thick_slice_nearest_probability: float = 0.25
    noise_minimum_hu: float = 2.0
    noise_gamma: tuple[float, float] = (1.8, 3.5)  # shape, scale in HU
    noise_maximum_hu: float = 40.0
    # Thin slices without much dose: the noise is drawn from this range instead.
    strong_noise_probability: float = 0.12
    strong_noise_hu: Range = Range(25, 50)
    noise_correlation_mm: Range = Range(1.0, 2.8)
    noise_correlated_share: Range = Range(0.4, 0.95)
    noise_modulation: float = 0.25
    bias_hu: Range = Range(0, 8)
    offset_sd_hu: float = 4.0
    scale: Range = Range(0.97, 1.03)
    streak_probability: float = 0.06
    streak_hu: Range = Range(4, 20)
    streak_width_vox: Range = Range(1.2, 5)
    metal_probability: float = 0.03
    metal_ray_width: Range = Range(6, 18)  # in half degrees
    metal_streak_gain: float = 6.0
    metal_hu: float = 3000.0


@dataclass(frozen=True)
class FieldOfViewConfig:
    """Slabs cut in z, whose edge slices are replicated, and circular fields in plane."""

    cut_top_probability: float = 0.2
    cut_bottom_probability: float = 0.2
    largest_cut_share: float = 0.4
    thin_slab_probability: float = 0.15
    thin_slab_mm: Range = Range(24, 120)
    circle_probability: float = 0.1
    circle_radius_share: Range = Range(0.36, 0.56)
    circle_off_centre_share: Range = Range(-0.05, 0.05)
    padding_hu: Mapping[str, float] = field(default_factory=lambda: {"-1024": 0.7, "-1000": 0.3})  # value: weight
    # A slice whose anatomy ends before the field does is replaced by the nearest valid slice.
    smallest_valid_share: float = 0.5


@dataclass(frozen=True)
class SyntheticCTConfig:
    """The main numbers of the generator.

    Raises:
        ValueError: If a probability lies outside [0, 1].
    """

    crop: CropConfig = field(default_factory=CropConfig)
    deformation: DeformationConfig = field(default_factory=DeformationConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    tissue: TissueConfig = field(default_factory=TissueConfig)
    solid_organs: SolidOrganConfig = field(default_factory=SolidOrganConfig)
    masses: MassConfig = field(default_factory=MassConfig)
    hollow_organs: HollowOrganConfig = field(default_factory=HollowOrganConfig)
    body: BodyConfig = field(default_factory=BodyConfig)
    clutter: ClutterConfig = field(default_factory=ClutterConfig)
    mesentery: MesenteryConfig = field(default_factory=MesenteryConfig)
    coeliac: CoeliacConfig = field(default_factory=CoeliacConfig)
    free_fluid: FreeFluidConfig = field(default_factory=FreeFluidConfig)
    surroundings: SurroundingsConfig = field(default_factory=SurroundingsConfig)
    other_regions: OtherRegionConfig = field(default_factory=OtherRegionConfig)
    acquisition: AcquisitionConfig = field(default_factory=AcquisitionConfig)
    field_of_view: FieldOfViewConfig = field(default_factory=FieldOfViewConfig)

    def __post_init__(self) -> None:
        """Check every probability of every part."""
        for part in dataclasses.fields(self):
            _check_probabilities(part.name, getattr(self, part.name))


def _check_probabilities(path: str, section: Any) -> None:
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if not item.name.endswith("probability"):
            continue
        for number in value.values() if isinstance(value, Mapping) else (value,):
            if not 0 <= number <= 1:
                raise ValueError(f"{path}.{item.name} is a probability in [0, 1], got {number}.")
