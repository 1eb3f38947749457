"""Tiny prepared datasets: noise with boxes of their own brightness for organs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from attention_unet_training.preparation.records import REFERENCE_FILE
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from support.tiny_dataset import TinyDataset

ORGANS = ("pancreas", "spleen", "kidney")
INTENSITY = IntensitySpec((-200.0, 300.0), -25.0, 130.0)
SHAPE = (20, 24, 22)


def voxels(seed: int, shape: Sequence[int] = SHAPE, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Image (D, H, W) float16 and labels uint8: class n is a box of brightness n."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for number in range(1, classes + 1):
        start = [rng.integers(1, size // 2) for size in shape]
        labels[tuple(slice(first, first + max(2, size // 4)) for first, size in zip(start, shape, strict=True))] = (
            number
        )
    image = labels + rng.normal(0, 0.3, shape)
    return image.astype(np.float16), labels


def write_dataset(
    folder: Path,
    count: int = 4,
    shape: Sequence[int] = SHAPE,
    organs: Sequence[str] = ORGANS,
    labelled: Sequence[Sequence[str]] | None = None,
    spacing_mm: Sequence[float] = (2.0, 2.0, 2.0),
    patients: Sequence[str] | None = None,
    cases: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
) -> Path:
    """Write a dataset of ``count`` cases c0, c1, ... with the splits "half" (one fold) and "folds-2"."""
    dataset = TinyDataset(folder, "tiny", organs, spacing_mm, INTENSITY, patients, labelled)
    for n in range(count):
        image, labels = cases[n] if cases else voxels(n, shape, len(organs))
        place = dataset.new_case()
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(place / REFERENCE_FILE))
        found = {organ: int((labels == number).sum()) for number, organ in enumerate(organs, start=1)}
        dataset.add(place, image.astype(np.float16), labels, np.diag([*spacing_mm, 1.0]), found)
    return dataset.finish()
