"""What the scanner does: blur, thick slices, streaks, correlated noise, shading, calibration."""

from __future__ import annotations

import math

import torch

from . import structures
from .config import AcquisitionConfig
from .scene import Scene
from .separable import apply_separable, gaussian_blur_matrix, thick_slice_matrix

HU_LIMITS = (-1024.0, 3071.0)
_VARIES_OVER_MM = 60.0


def acquire(scene: Scene, config: AcquisitionConfig) -> torch.Tensor:
    """Turn the painted tissues into a reconstructed image, (K, J, I) in HU within `HU_LIMITS`."""
    image = scene.image_hu.clamp(-1000, 1500)
    # not the scene's own noise: where haze and collapsed bowel lie, a scanner is no noisier
    uneven = scene.randomness.branch("scanner").smooth_noise(scene.shape, _VARIES_OVER_MM / scene.spacing_mm)
    through_plane = _through_plane_matrix(scene, config)
    in_plane_vox = _blur_vox(config.blur_in_plane_mm.draw(scene.randomness), scene.spacing_mm, config)
    in_plane = (gaussian_blur_matrix(size, in_plane_vox) for size in scene.shape[1:])
    image = apply_separable(image, (through_plane, *in_plane))
    image += _noise_hu(scene, config, uneven)
    _add_streaks(scene, config, image)
    image += config.bias_hu.draw(scene.randomness) * uneven
    image += scene.randomness.normal(config.offset_sd_hu)
    image = (image + 1000) * config.scale.draw(scene.randomness) - 1000
    return image.clamp_(*HU_LIMITS)


def _blur_vox(scanner_mm: float, spacing_mm: float, config: AcquisitionConfig) -> float:
    """Return the width of the scanner's blur together with the partial volume of a voxel."""
    return math.hypot(scanner_mm / spacing_mm, config.partial_volume_sigma_vox)


def _through_plane_matrix(scene: Scene, config: AcquisitionConfig) -> torch.Tensor | None:
    """Blur along z, then sometimes thick slices."""
    randomness, size = scene.randomness, scene.shape[0]
    strong = randomness.chance(config.strong_blur_probability)
    sigma_mm = (config.strong_blur_through_plane_mm if strong else config.blur_through_plane_mm).draw(randomness)
    blur = gaussian_blur_matrix(size, _blur_vox(sigma_mm, scene.spacing_mm, config))
    if not randomness.chance(config.thick_slice_probability):
        return blur
    thickness_vox = max(1.0, config.thick_slice_mm.draw(randomness) / scene.spacing_mm)
    nearest = randomness.chance(config.thick_slice_nearest_probability)
    thick = thick_slice_matrix(size, thickness_vox, randomness.uniform(0, thickness_vox), nearest)
    return thick if blur is None else thick @ blur


def _noise_hu(scene: Scene, config: AcquisitionConfig, uneven: torch.Tensor) -> torch.Tensor:
    """Noise of which a share is correlated in plane, stronger where `uneven` is positive."""
    randomness = scene.randomness
    level_hu = min(config.noise_minimum_hu + randomness.gamma(*config.noise_gamma), config.noise_maximum_hu)
    thin = randomness.branch("strong noise")
    if thin.chance(config.strong_noise_probability):
        level_hu = thin.uniform(config.strong_noise_hu.low, config.strong_noise_hu.high)
    share = config.noise_correlated_share.draw(randomness)
    correlation_vox = config.noise_correlation_mm.draw(randomness) / scene.spacing_mm
    white = randomness.white_noise(scene.shape)
    blurs = [
        gaussian_blur_matrix(size, correlation_vox * factor)
        for size, factor in zip(scene.shape, (0.5, 1.0, 1.0), strict=True)
    ]
    # Rows of unit norm turn white noise into correlated noise of the same variance.
    spreads = tuple(None if blur is None else blur / blur.norm(dim=1, keepdim=True) for blur in blurs)
    correlated = apply_separable(randomness.white_noise(scene.shape), spreads)
    strength = level_hu * (1 + config.noise_modulation * uneven)
    # Shares of the variance: the level is the standard deviation of the sum.
    return strength * (math.sqrt(share) * correlated + math.sqrt(1 - share) * white)


def _add_streaks(scene: Scene, config: AcquisitionConfig, image_hu: torch.Tensor) -> None:
    """Add horizontal bands (arms, hips) and rays around a metal implant, both rarely, inside the body."""
    randomness = scene.randomness
    body = scene.inside
    if randomness.chance(config.streak_probability):
        bands = randomness.smooth_noise((*scene.shape[:2], 1), (2, config.streak_width_vox.draw(randomness), 1))
        image_hu += config.streak_hu.draw(randomness) * bands * body
    if not randomness.chance(config.metal_probability):
        return
    bone = scene.where(*structures.BONES).nonzero()
    if not len(bone):
        return
    k, j, i = bone[randomness.integer(0, len(bone) - 1)].tolist()
    rows, columns = (torch.arange(size).float() for size in scene.shape[1:])
    dy, dx = rows[:, None] - j, columns[None] - i
    # one strength per half degree around the implant, weaker with distance
    rays = randomness.smooth_noise((721, 1, 1), (config.metal_ray_width.draw(randomness), 1, 1)).flatten()
    angle = ((torch.atan2(dy, dx) / math.pi + 1) * 360).long().clamp(0, 720)
    radius_mm = torch.hypot(dy, dx) * scene.spacing_mm
    height = torch.exp(-0.5 * ((torch.arange(scene.shape[0]) - k) * scene.spacing_mm / 12) ** 2).view(-1, 1, 1)
    image_hu += (
        config.metal_streak_gain
        * config.streak_hu.draw(randomness)
        * height
        * (rays[angle] * 15 / (15 + radius_mm))
        * body
    )
    image_hu[(radius_mm < 4).expand_as(image_hu) & (height > 0.5)] = config.metal_hu
