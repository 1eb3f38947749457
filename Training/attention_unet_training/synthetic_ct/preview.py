"""Contact sheet of synthetic samples, to look at before training on them.

python -m attention_unet_training.synthetic_ct.preview --atlas DIR --output sheet.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .atlas import load_atlas
from .config import SyntheticCTConfig
from .generator import SyntheticSample, generate, generate_full

WINDOW_HU = (-160, 240)
TARGET_COLOURS = {1: "gold", 2: "deepskyblue", 3: "red"}


def contact_sheet(samples: Sequence[SyntheticSample], path: Path | str) -> None:
    """Write a PNG with one column per sample: axial and coronal slices, without and with contours of the target.

    Slices are chosen where the target is largest. The patient's right is on the left, as radiologists look at it.

    Raises:
        ValueError: If there is no sample.
    """
    if not samples:
        raise ValueError("A contact sheet needs at least one sample, got none.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(samples), 10.4), facecolor="black")
    axes = figure.subplots(4, len(samples), squeeze=False)
    for column, sample in zip(axes.T, samples, strict=True):
        k, j = _largest_slice(sample.target, 0), _largest_slice(sample.target, 1)
        for row, (image, target) in enumerate(
            ((sample.image_hu[k], sample.target[k]), (sample.image_hu[:, j], sample.target[:, j]))
        ):
            _show(column[2 * row], image, None)
            _show(column[2 * row + 1], image, target)
        column[0].set_title(f"{sample.subject} {sample.phase} {sample.seed}", fontsize=7, color="white", pad=2)
    figure.subplots_adjust(0, 0, 1, 0.98, 0.01, 0.01)
    figure.savefig(path, dpi=100, facecolor="black")


def _largest_slice(target: np.ndarray, axis: int) -> int:
    others = tuple(other for other in range(3) if other != axis)
    # The pancreas is small and the hardest: it counts more.
    weight = (target > 0).sum(axis=others) + 4 * (target == 1).sum(axis=others)
    return int(weight.argmax()) if weight.any() else target.shape[axis] // 2


def _show(axis, image_hu: np.ndarray, target: np.ndarray | None) -> None:
    axis.imshow(image_hu[:, ::-1], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower")
    axis.axis("off")
    for value, colour in TARGET_COLOURS.items():
        if target is not None and (target == value).any():
            axis.contour(target[:, ::-1] == value, levels=[0.5], colors=colour, linewidths=0.6)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Writes a contact sheet of synthetic CT samples.")
    parser.add_argument("--atlas", type=Path, required=True, help="folder of label maps")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--cache", type=Path, help="folder that keeps the prepared label maps")
    parser.add_argument("--count", type=int, default=8, help="number of samples")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first sample")
    parser.add_argument("--shape", type=int, nargs=3, default=(80, 96, 96), metavar=("K", "J", "I"))
    parser.add_argument("--spacing", type=float, default=2.0, help="voxel size in mm")
    parser.add_argument("--full", action="store_true", help="whole-field samples instead of crops")
    options = parser.parse_args(arguments)
    config, anatomies = SyntheticCTConfig(), load_atlas(options.atlas, options.cache)
    samples = []
    for seed in range(options.seed, options.seed + options.count):
        anatomy = anatomies[seed % len(anatomies)]
        if options.full:
            samples.append(generate_full(anatomy, config, seed, options.spacing))
        else:
            samples.append(generate(anatomy, config, seed, tuple(options.shape), options.spacing))
    contact_sheet(samples, options.output)


if __name__ == "__main__":
    main()
