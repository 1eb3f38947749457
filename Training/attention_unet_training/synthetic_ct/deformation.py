"""Random anatomy: where in the prepared anatomy each voxel of the sample comes from.

Coordinates are in mm in the prepared anatomy, order z, y, x. The map goes from the sample to the anatomy, so a factor
above one makes the body smaller.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from .config import CropConfig, DeformationConfig
from .preparation import PreparedAnatomy
from .randomness import Randomness
from .separable import apply_separable, linear_matrix
from .structures import TARGET_OF_STRUCTURE

_AXES = 3
SPREADS_PER_LENGTH = 4.5  # an ellipsoid's length over the standard deviation of its voxels is the root of 20


def draw_centre_mm(
    anatomy: PreparedAnatomy, config: CropConfig, randomness: Randomness, height_mm: float
) -> tuple[float, float, float]:
    """Draw the point of the anatomy in the middle of the crop: at the pancreas, near the organs or anywhere.

    Args:
        anatomy: The prepared label map.
        config: Shares and distances.
        randomness: Source of the draws.
        height_mm: Extent of the crop along z, of which a share has to lie in the anatomy on either side.
    """
    targets = [anatomy.organs[name].centroid_mm for name in TARGET_OF_STRUCTURE if name in anatomy.organs]
    last_mm = (np.array(anatomy.labels.shape) - 1) * anatomy.spacing_mm
    if targets and randomness.chance(config.near_organs_probability):
        if "pancreas" in anatomy.organ_points_mm and randomness.chance(config.near_pancreas_probability):
            points = anatomy.organ_points_mm["pancreas"]
            middle = points[randomness.integer(0, len(points) - 1)].astype(float)
            reach = np.array(config.pancreas_jitter_mm)
        else:
            middle = np.mean(targets, axis=0) + np.array([0, config.anterior_shift_mm, 0])
            reach = np.array(config.organ_jitter_mm)
    else:
        middle, reach = last_mm / 2, last_mm * np.array(config.anywhere_share)
    centre = middle + reach * np.array([randomness.uniform(-1, 1) for _ in range(_AXES)])
    margin_mm = np.array([min(config.smallest_inside_share * height_mm, last_mm[0] / 2), 0, 0])
    z, y, x = np.clip(centre, margin_mm, last_mm - margin_mm).tolist()
    return z, y, x


def source_coordinates_mm(
    anatomy: PreparedAnatomy,
    config: DeformationConfig,
    randomness: Randomness,
    shape_kji: tuple[int, int, int],
    spacing_mm: float,
    centre_mm: tuple[float, ...],
) -> torch.Tensor:
    """Return the point of the anatomy for every voxel of the sample.

    The deformation is computed on a coarse lattice and interpolated linearly, which its smoothness allows.

    Returns:
        (3, K, J, I) float32, in mm, order z, y, x.
    """
    lattice_vox = config.lattice_mm / spacing_mm
    counts = [math.ceil((size - 1) / lattice_vox) + 1 for size in shape_kji]
    offsets = [
        (torch.arange(count) * lattice_vox - (size - 1) / 2) * spacing_mm
        for count, size in zip(counts, shape_kji, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*offsets, indexing="ij"))  # (3, k, j, i)
    source = torch.einsum("ab,bkji->akji", _affine(config, randomness), grid)
    source = source + _elastic_mm(config, randomness, (counts[0], counts[1], counts[2]))
    source = source + torch.tensor(centre_mm).float().view(_AXES, 1, 1, 1)
    source = _move_organs(source, anatomy, config, randomness)
    upsample = tuple(
        linear_matrix(torch.arange(size) / lattice_vox, count) for size, count in zip(shape_kji, counts, strict=True)
    )
    return apply_separable(source, upsample)


def _affine(config: DeformationConfig, randomness: Randomness) -> torch.Tensor:
    """Rotation, scale and shear as one (3, 3) matrix on (z, y, x)."""
    matrix = np.eye(_AXES)
    for axis, limit_deg in enumerate(config.rotation_deg):
        angle = math.radians(randomness.uniform(-limit_deg, limit_deg))
        first, second = [other for other in range(_AXES) if other != axis]
        rotation = np.eye(_AXES)
        rotation[[first, first, second, second], [first, second, first, second]] = [
            math.cos(angle),
            -math.sin(angle),
            math.sin(angle),
            math.cos(angle),
        ]
        matrix = matrix @ rotation
    # logarithms: half and double are as likely
    overall = randomness.uniform(-config.log_scale, config.log_scale)
    scales = [
        math.exp(overall + randomness.uniform(-config.log_axis_scale, config.log_axis_scale)) for _ in range(_AXES)
    ]
    shear = np.array(
        [
            [1.0 if a == b else randomness.uniform(-config.shear, config.shear) for b in range(_AXES)]
            for a in range(_AXES)
        ]
    )
    return torch.from_numpy(matrix @ np.diag(scales) @ shear).float()


def _elastic_mm(config: DeformationConfig, randomness: Randomness, shape: tuple[int, int, int]) -> torch.Tensor:
    """Sum of smooth displacements, one per scale, each with a random strength."""
    total = torch.zeros(_AXES, *shape)
    for step_mm, strength in zip(config.elastic_step_mm, config.elastic_sd_mm, strict=True):
        standard_deviation_mm = strength.draw(randomness)
        for axis in range(_AXES):
            total[axis] += standard_deviation_mm * randomness.smooth_noise(shape, step_mm / config.lattice_mm)
    return total


def _move_organs(
    source: torch.Tensor,
    anatomy: PreparedAnatomy,
    config: DeformationConfig,
    randomness: Randomness,
) -> torch.Tensor:
    """Dilate or shrink and shift organs one by one, each within a Gaussian around its centroid."""
    for name, organ in anatomy.organs.items():
        if not randomness.chance(config.organ_probability):
            continue
        growth = (config.spleen_log_growth if name == "spleen" else config.organ_log_growth).draw(randomness)
        shift = torch.tensor([randomness.normal(sd) for sd in config.organ_shift_sd_mm]).view(_AXES, 1, 1, 1)
        # each voxel asks where it comes from, so an organ dilates where its voxels look nearer to its centroid
        offset = source - torch.tensor(organ.centroid_mm).float().view(_AXES, 1, 1, 1)
        width = torch.tensor(organ.spread_mm).float().clamp(6, 60).view(_AXES, 1, 1, 1) * config.organ_reach
        weight = torch.exp(-0.5 * ((offset / width) ** 2).sum(0))
        source = source + weight * (offset * (math.exp(-growth) - 1) + shift)
    return _lengthen_spleen(source, anatomy, config, randomness.branch("length of the spleen"))


def _lengthen_spleen(
    source: torch.Tensor,
    anatomy: PreparedAnatomy,
    config: DeformationConfig,
    randomness: Randomness,
) -> torch.Tensor:
    """Stretch or shorten the spleen, and what lies beside it, from head to foot, towards a drawn length."""
    if "spleen" not in anatomy.organs or not randomness.chance(config.organ_probability):
        return source
    organ = anatomy.organs["spleen"]
    length_mm = max(SPREADS_PER_LENGTH * organ.spread_mm[0], anatomy.spacing_mm)  # it may show in one slice only
    limit = config.spleen_log_lengthening_limit
    growth = min(max(math.log(config.spleen_length_mm.draw(randomness) / length_mm), -limit), limit)
    offset = source - torch.tensor(organ.centroid_mm).float().view(_AXES, 1, 1, 1)
    width = torch.tensor(organ.spread_mm).float().clamp(6, 60).view(_AXES, 1, 1, 1) * config.spleen_lengthening_reach
    weight = torch.exp(-0.5 * ((offset / width) ** 2).sum(0))
    source = source.clone()
    source[0] += weight * offset[0] * (math.exp(-growth) - 1)
    return source
