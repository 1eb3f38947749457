"""Contact sheet of synthetic samples, to look at before training on them (``attention-unet-train synthesise``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .generator import SyntheticSample

WINDOW_HU = (-160, 240)
TARGETS = {1: ("pancreas", "gold"), 2: ("spleen", "deepskyblue"), 3: ("kidneys", "red")}


def contact_sheet(samples: Sequence[SyntheticSample], path: Path | str) -> None:
    """Write a PNG with one column per sample: axial and coronal slices, without and with contours of the target.

    Slices are chosen where the target is largest. The patient's right is on the left, as radiologists look at it.

    Raises:
        ValueError: If there is no sample.
    """
    if not samples:
        raise ValueError("A contact sheet needs at least one sample, got none.")
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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
    handles = [Line2D([], [], color=colour, label=name) for name, colour in TARGETS.values()]
    figure.legend(handles=handles, loc="lower center", ncols=3, fontsize=9, frameon=False, labelcolor="white")
    figure.subplots_adjust(0, 0.03, 1, 0.98, 0.01, 0.01)
    figure.savefig(path, dpi=100, facecolor="black")


def _largest_slice(target: np.ndarray, axis: int) -> int:
    others = tuple(other for other in range(3) if other != axis)
    # The pancreas is small and the hardest: it counts more.
    weight = (target > 0).sum(axis=others) + 4 * (target == 1).sum(axis=others)
    return int(weight.argmax()) if weight.any() else target.shape[axis] // 2


def _show(axis, image_hu: np.ndarray, target: np.ndarray | None) -> None:
    axis.imshow(image_hu[:, ::-1], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower")
    axis.axis("off")
    for value, (_, colour) in TARGETS.items():
        if target is not None and (target == value).any():
            axis.contour(target[:, ::-1] == value, levels=[0.5], colors=colour, linewidths=0.6)
