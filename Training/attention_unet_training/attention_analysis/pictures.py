"""The paper's figures 3 and 4: what a gate does on one case, and its coefficients over a training."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from .analysis import Analysis, Entry
from .views import PIXEL_MM, PLANES, Shown

ORGAN_COLORS = ("#39ff14", "#00d0ff", "#ff4fd8", "#ffffff", "#ffa040", "#a0a0ff")  # apart from both colour maps
WINDOW_HU = (-160.0, 240.0)
SCALE_BAR_MM = 50.0
DPI = 100
COEFFICIENT_COLORS, FEATURE_COLORS = "inferno", "viridis"
FEATURES_LABEL = "mean |feature| over channels"


def draw_gate(analysis: Analysis, entry: Entry, gate: str, path: Path) -> None:
    """Figure 3: CT, coefficients, features before and after one gate, axial above, sagittal below.

    Args:
        analysis: All entries; they share their colour ranges.
        entry: The network to draw.
        gate: Which gate.
        path: PNG to write.
    """
    views = entry.views
    columns = [(f"coefficients {name}", views.coefficients[name], COEFFICIENT_COLORS) for name in views.gates[gate]]
    columns += [("features before the gate", views.before[gate], FEATURE_COLORS)]
    columns += [("features after the gate", views.after[gate], FEATURE_COLORS)]
    groups = [("coefficients", name) for name in views.gates[gate]] + [("before", gate), ("after", gate)]
    figure, axes = _figure(views.ct, len(columns) + 1)
    for row, view in enumerate(PLANES):
        _show_ct(axes[row, 0], views.ct[view], "CT" if row == 0 else "", view)
        for column, ((title, shown, colors), group) in enumerate(zip(columns, groups, strict=True), start=1):
            low, high = shared_range(analysis.entries, *group)
            image = axes[row, column].imshow(shown.slices[view], cmap=colors, vmin=low, vmax=high, origin="lower")
            _finish(axes[row, column], title if row == 0 else "", "")
            if row == 1:
                label = "coefficient" if colors == COEFFICIENT_COLORS else FEATURES_LABEL
                _color_bar(figure, image, axes[:, column], label)
        for column in range(len(columns) + 1):
            _outline(axes[row, column], entry, view)
    _color_bar(figure, axes[0, 0].images[0], axes[:, 0], "HU")
    _headline(figure, analysis, f"Gate {gate} (voxels of {views.cell_mm[gate]:g} mm): {entry.label}")
    _save(figure, path)


def draw_series(analysis: Analysis, view: str, path: Path) -> None:
    """Figure 4: the coefficients of every map (rows) for every network of the series (columns), in one view.

    Args:
        analysis: The series.
        view: "axial" or "sagittal".
        path: PNG to write.
    """
    entries = analysis.entries
    maps = list(entries[0].metrics)
    height, width = entries[0].views.ct[view].shape
    inches = 2.1
    size = (inches * (len(entries) + 1) + 0.9, inches * height / width * len(maps) + 1.4)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    axes = figure.subplots(len(maps), len(entries) + 1, squeeze=False)
    for row, name in enumerate(maps):
        _show_ct(axes[row, 0], entries[0].views.ct[view], "CT" if row == 0 else "", name)
        _outline(axes[row, 0], entries[0], view)
        low, high = shared_range(entries, "coefficients", name)
        for column, entry in enumerate(entries, start=1):
            pixels = entry.views.coefficients[name].slices[view]
            image = axes[row, column].imshow(pixels, cmap=COEFFICIENT_COLORS, vmin=low, vmax=high, origin="lower")
            _finish(axes[row, column], _in_lines(entry) if row == 0 else "", "")
            _outline(axes[row, column], entry, view)
        bar = figure.colorbar(image, ax=axes[row, :], fraction=0.02, pad=0.01, aspect=12)
        bar.ax.tick_params(labelsize=8)
    _headline(figure, analysis, f"Attention coefficients over the series, {view}; one colour range per map")
    _save(figure, path)


def shared_range(entries: Sequence[Entry], group: str, name: str) -> tuple[float, float]:
    """The colour range of a map or gate that holds for the whole series.

    Args:
        entries: The series.
        group: "coefficients", "before" or "after".
        name: The map or gate.
    """
    shown: list[Shown] = [getattr(entry.views, group)[name] for entry in entries]
    low, high = min(one.low for one in shown), max(one.high for one in shown)
    return low, max(high, low + 1e-6)


def _figure(ct: dict[str, np.ndarray], columns: int) -> tuple[Figure, np.ndarray]:
    inches = 2.7
    heights = [pixels.shape[0] / pixels.shape[1] for pixels in ct.values()]
    size = (inches * columns, inches * sum(heights) + 1.9)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    return figure, figure.subplots(2, columns, squeeze=False, height_ratios=heights)


def _show_ct(axes: Axes, pixels: np.ndarray, title: str, side: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower")
    _finish(axes, title, side)
    length = SCALE_BAR_MM / PIXEL_MM
    left, bottom = pixels.shape[1] * 0.04, pixels.shape[0] * 0.05
    axes.plot([left, left + length], [bottom, bottom], color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(left, bottom + pixels.shape[0] * 0.02, f"{SCALE_BAR_MM:g} mm", color="white", fontsize=8, va="bottom")


def _finish(axes: Axes, title: str, side: str) -> None:
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_ylabel(side, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.autoscale(False)


def _outline(axes: Axes, entry: Entry, view: str) -> None:
    for color, slices in zip(_colors(len(entry.views.organs)), entry.views.organs.values(), strict=True):
        inside = slices[view]
        if inside.max() > 0.5 > inside.min():
            lines = axes.contour(inside, levels=[0.5], colors=[color], linewidths=1.0)
            lines.set_path_effects([withStroke(linewidth=1.8, foreground="black")])


def _color_bar(figure: Figure, image: Any, axes: np.ndarray, label: str) -> None:
    bar = figure.colorbar(image, ax=list(axes), location="bottom", fraction=0.05, pad=0.02, aspect=22)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))


def _colors(count: int) -> list[str]:
    return [ORGAN_COLORS[n % len(ORGAN_COLORS)] for n in range(count)]


def _in_lines(entry: Entry) -> str:
    title = entry.title.replace("/", "/\n")
    return title if entry.step is None else f"{title}\nstep {entry.step:,}"


def _headline(figure: Figure, analysis: Analysis, text: str) -> None:
    case = analysis.case
    where = f"{case.ct.name}, cut through the {case.position_organ}"
    figure.suptitle(f"{_fitted(text, figure, 11)}\n{_fitted(where, figure, 11)}", fontsize=11, parse_math=False)
    colors = _colors(len(case.organs))
    stroke = [withStroke(linewidth=3.5, foreground="black")]
    named = zip(colors, case.organs, strict=True)
    lines = [Line2D([], [], color=color, label=name, path_effects=stroke) for color, name in named]
    title = "reference labels; patient's right (axial), front (sagittal) on the left; one colour range for the series"
    title = _fitted(title, figure, 8)
    figure.legend(handles=lines, loc="outside lower center", ncols=8, fontsize=8, title=title, title_fontsize=8)


def _fitted(text: str, figure: Figure, size_pt: float) -> str:
    """The text in lines that fit into the figure's width; a letter is 0.6 times as wide as it is high, on average."""
    return textwrap.fill(text, max(20, int(figure.get_figwidth() * 72 / (0.6 * size_pt))))


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure).print_png(str(path))
