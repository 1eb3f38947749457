"""Random changes of intensity for patches of real CT, on their device: what scanners and protocols vary."""

from __future__ import annotations

import torch
from monai.transforms import (
    RandAdjustContrast,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandHistogramShift,
    RandSimulateLowResolution,
)
from monai.utils import convert_to_tensor
from torch import Tensor

from AttentionUNetSegmentationLib.models.description import IntensitySpec

NOISE_HU = 30.0  # largest standard deviation; abdominal CT has 10 to 30 HU
BLUR_VOX = (0.25, 1.0)  # standard deviation: smooth reconstruction kernels
GAMMA = (0.7, 1.5)
CONTROL_POINTS = (5, 8)  # of a random rising map of intensities, as between contrast phases
ZOOM = (0.4, 1.0)  # resolution of thick slices: 5 mm instead of 2 mm


class IntensityAugmentation:
    """Noise, blur, gamma, another contrast phase, a lower resolution, each with the same probability.

    Args:
        probability: Of each of them, for each patch.
        rule: The intensity rule of the images: amounts are in HU, and results stay within its clipping range.
    """

    def __init__(self, probability: float, rule: IntensitySpec) -> None:
        self._range = [(bound - rule.mean_hu) / rule.std_hu for bound in rule.clip_hu]
        self._steps = (
            RandHistogramShift(CONTROL_POINTS, prob=probability),
            RandAdjustContrast(prob=probability, gamma=GAMMA),
            RandGaussianSmooth(BLUR_VOX, BLUR_VOX, BLUR_VOX, prob=probability),
            # MONAI's own way down, "nearest", takes each voxel's first corner, which shifts the image on its labels
            RandSimulateLowResolution(prob=probability, downsample_mode="area", zoom_range=ZOOM),
            RandGaussianNoise(prob=probability, std=NOISE_HU / rule.std_hu),  # last: it is not in the anatomy
        )

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Changed copies of (N, 1, D, H, W) scaled images; the same seed gives the same."""
        for n, step in enumerate(self._steps):
            step.set_random_state(seed=(seed + n) % 2**32)
        return torch.stack([self._changed(image) for image in images])

    def _changed(self, image: Tensor) -> Tensor:
        for step in self._steps:
            image = convert_to_tensor(step(image), track_meta=False)
        return image.clamp(*self._range)
