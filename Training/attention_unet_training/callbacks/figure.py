"""A figure of one case: axial and sagittal slices with contours, and attention coefficients on the same slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLORS = ("#ffd700", "#00c8ff", "#ff5a5a", "#7cfc00", "#ff7cf5", "#ffa040")
VIEWS = ("axial", "sagittal")
INCHES = 2.2


def draw_figure(
    image: np.ndarray,
    target: np.ndarray,
    prediction: np.ndarray,
    attention: Mapping[str, np.ndarray],
    organs: Sequence[str],
    title: str,
) -> Figure:
    """Draw the slices through the middle of what the reference marks as the first organ, or as any.

    Args:
        image: (D, H, W), scaled; k upwards, j to the front, i to the right.
        target: (D, H, W) class numbers.
        prediction: (D, H, W) class numbers.
        attention: Name -> (D, H, W) coefficients in [0, 1] on the same grid; dark is 0, bright is 1.
        organs: Names of the classes 1, 2, ...
        title: Written above.
    """
    columns = 1 + len(attention)
    heights = [image.shape[1] / image.shape[2], image.shape[0] / image.shape[1]]  # of the views, by their widths
    figure = Figure(figsize=(INCHES * columns, INCHES * sum(heights) + 1.1), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False, height_ratios=heights)
    window = np.percentile(image, (1, 99.5))
    k, i = slice_numbers(target)
    for row, view in enumerate(VIEWS):
        ct, wanted, found = (take(x, view, k, i) for x in (image, target, prediction))
        _show(axes[row, 0], ct, window, view if row else f"{title}: {view}")
        _contours(axes[row, 0], wanted, len(organs), "solid")
        _contours(axes[row, 0], found, len(organs), "dashed")
        for column, (name, alpha) in enumerate(attention.items(), start=1):
            _show(axes[row, column], ct, window, name)
            axes[row, column].imshow(take(alpha, view, k, i), cmap="inferno", vmin=0, vmax=1, alpha=0.6, origin="lower")
    lines = [Line2D([], [], color=COLORS[n % len(COLORS)], label=organ) for n, organ in enumerate(organs)]
    lines += [Line2D([], [], color="gray", label="reference")]
    lines += [Line2D([], [], color="gray", linestyle="dashed", label="prediction")]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=7, frameon=False)
    return figure


def slice_numbers(target: np.ndarray) -> tuple[int, int]:
    """K of the axial and I of the sagittal slice: those with most of the first class, of any class, or the middle."""
    mask = target == 1 if (target == 1).any() else target > 0
    if not mask.any():
        return target.shape[0] // 2, target.shape[2] // 2
    return int(mask.sum(axis=(1, 2)).argmax()), int(mask.sum(axis=(0, 1)).argmax())


def take(volume: np.ndarray, view: str, k: int, i: int) -> np.ndarray:
    """The slice of a (D, H, W) volume: axial as radiologists look, the patient's right on the left; sagittal."""
    return volume[k, :, ::-1] if view == "axial" else volume[:, :, i]


def _show(axis: Axes, pixels: np.ndarray, window: np.ndarray, title: str) -> None:
    axis.imshow(pixels, cmap="gray", vmin=window[0], vmax=max(window[1], window[0] + 1e-6), origin="lower")
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()


def _contours(axis: Axes, labels: np.ndarray, classes: int, style: str) -> None:
    for number in range(1, classes + 1):
        mask = labels == number
        if mask.any() and not mask.all():
            color = COLORS[(number - 1) % len(COLORS)]
            axis.contour(mask.astype(float), levels=[0.5], colors=color, linestyles=style, linewidths=0.9)
