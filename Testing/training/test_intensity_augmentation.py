"""Intensity augmentation: repeatable, bounded, and each change does what its name says."""

import pytest
import torch

from attention_unet_training.data.intensity_augmentation import IntensityAugmentation
from AttentionUNetSegmentationLib.models.description import IntensitySpec

RULE = IntensitySpec((-200.0, 300.0), 50.0, 125.0)  # scaled to -2..2


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_same_seed_gives_the_same_patches_another_seed_others(images):
    augment = IntensityAugmentation(0.7, RULE)
    first, again, other = (augment(images, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert type(first) is torch.Tensor  # not MONAI's, which carries metadata along
    assert not torch.equal(first[0] - images[0], first[1] - images[1])


def test_intensities_stay_in_the_clipping_range_and_change(images):
    for seed in range(5):
        found = IntensityAugmentation(1.0, RULE)(images, seed)
        assert found.min() >= -2
        assert found.max() <= 2
        assert (found - images).abs().mean() > 0.05
    assert torch.equal(IntensityAugmentation(0.0, RULE)(images, 0), images)


def test_patches_stay_where_their_labels_are():
    """The centre of what is bright stays: a lower resolution taken from one corner of each voxel would move it."""
    images = torch.zeros(16, 1, 24, 24, 24) - 2
    images[..., 6:18, 6:18, 6:18] = 2
    bright = (IntensityAugmentation(1.0, RULE)(images, 0) + 2).double()
    where = torch.arange(24, dtype=torch.float64) - 11.5
    for axis in range(3):
        along = bright.sum(dim=[1, *(2 + other for other in range(3) if other != axis)])
        centres = (along * where).sum(dim=1) / along.sum(dim=1)
        assert abs(centres.mean()) < 0.1


def test_patches_keep_their_anatomy(images):
    """A bright cube stays brighter than what is around it, in every change and all together."""
    images = torch.full_like(images, -0.5)
    images[..., 4:12, 4:12, 4:12] = 0.5
    for seed in range(20):
        for found in IntensityAugmentation(0.5, RULE)(images, seed):
            assert found[0, 6:10, 6:10, 6:10].mean() > found[0, :2].mean() + 0.1
