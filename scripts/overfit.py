"""The overfit check: does training learn two cases by heart? Minutes on a CPU, so it is not one of the tests.

    python scripts/overfit.py [FOLDER]

The cases are the upper abdomen of the sample CT at 4 mm, and its mirror image with noise, in which the spleen is on the
right: a network that only learns where organs usually lie cannot have both. Fails unless Dice exceeds 0.95
for every organ.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from attention_unet_training.cli import main
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.imaging.preprocessing import preprocess
from AttentionUNetSegmentationLib.imaging.resampling import resample
from support import prepared_cases

SAMPLE = Path(__file__).parents[1] / "AttentionUNetSegmentation" / "Resources" / "SampleData"
SPACING_MM = (4.0, 4.0, 4.0)
SHAPE = (48, 64, 96)  # voxels, holds all organs
NOISE_HU = 15.0
WANTED_DICE = 0.95


def make_cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (D, H, W), scaled, and class numbers: the sample CT's upper abdomen and its mirror image."""
    ct, labels = read_volume(SAMPLE / "SyntheticAbdomenCT.nrrd"), read_volume(SAMPLE / "SyntheticAbdomenCT.labels.nrrd")
    prepared = preprocess(ct, SPACING_MM, prepared_cases.INTENSITY)
    masks = [resample((labels.voxels == value).astype(np.float32), labels.grid, prepared.grid) for value in (1, 2, 3)]
    classes = (np.argmax([np.full_like(masks[0], 0.5), *masks], axis=0)).astype(np.uint8)
    middle = np.argwhere(classes).max(axis=0) // 2 + np.argwhere(classes).min(axis=0) // 2
    start = np.clip(middle - np.array(SHAPE) // 2, 0, np.array(classes.shape) - SHAPE)
    box = tuple(slice(first, first + size) for first, size in zip(start, SHAPE, strict=True))
    image, classes = prepared.image[box], classes[box]
    noise = np.random.default_rng(0).normal(0, NOISE_HU / prepared_cases.INTENSITY.std_hu, image.shape)
    return [(image, classes), ((image + noise)[:, :, ::-1], classes[:, :, ::-1].copy())]


def best_dice(log: Path) -> dict[str, float]:
    """Dice per organ of the best epoch of a run."""
    with log.open(encoding="utf-8") as stream:
        epochs = [row for row in csv.DictReader(stream) if row.get("dice")]
    best = max(epochs, key=lambda row: float(row["dice"]))
    return {organ: float(best[f"dice_{organ}"]) for organ in prepared_cases.ORGANS}


def check(folder: Path) -> int:
    """Train, report, and return the exit status."""
    cases = make_cases()
    dataset = prepared_cases.write_dataset(folder / "dataset", 2, cases=cases, spacing_mm=SPACING_MM)
    began = time.perf_counter()
    run = folder / "run"
    arguments = ["--config", "overfit.yaml", "--data.dataset", str(dataset), "--trainer.default_root_dir", str(run)]
    arguments += ["--trainer.enable_model_summary", "false"]
    status = main(["fit", *arguments])
    if status:
        return status
    dice = best_dice(run / "curve.csv")
    minutes = (time.perf_counter() - began) / 60
    figures = ", ".join(f"{organ} {value:.3f}" for organ, value in dice.items())
    print(f"{len(cases)} cases of {cases[0][0].shape} voxels, {minutes:.1f} minutes: Dice {figures}")
    if min(dice.values()) <= WANTED_DICE:
        print(f"error: Dice must exceed {WANTED_DICE} for every organ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(check(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(check(Path(scratch)))
