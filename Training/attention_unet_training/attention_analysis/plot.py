"""Whether the gates turn to the organs during training: enrichment and spread of the coefficients over the series."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .analysis import Analysis, Entry
from .control import KINDS
from .metrics import MapMetrics

DPI = 100
GATE_COLORS = ("#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#e6ab02")
MARKERS = "osD^v<>ph"

Quantity = Callable[[MapMetrics], float]


def draw_plot(analysis: Analysis, path: Path) -> None:
    """One panel per organ with the enrichment of every map, one with the standard deviation; the control beside each.

    Args:
        analysis: The series and its control.
        path: PNG to write.
    """
    panels: list[tuple[str, str, Quantity]] = [
        (f"{organ}: enrichment", "attention share / volume share", _enrichment(organ)) for organ in analysis.case.organs
    ]
    panels.append(("all of the body: spread", "standard deviation of the coefficients", lambda metrics: metrics.std))
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(13, 3.7 * rows + 1.3), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, 4, squeeze=False, width_ratios=[3.2, 1, 3.2, 1])
    for n, (title, unit, quantity) in enumerate(panels):
        main, side = axes[n // 2, 2 * (n % 2)], axes[n // 2, 2 * (n % 2) + 1]
        side.sharey(main)
        _draw_series(main, analysis.entries, quantity)
        _draw_control(side, analysis, quantity)
        main.set_title(title, fontsize=11, parse_math=False)
        main.set_ylabel(unit, fontsize=9)
        for one in (main, side):
            one.grid(alpha=0.3)
            one.tick_params(labelsize=8)
            if n < len(panels) - 1:
                one.axhline(1.0, color="black", linewidth=1.0, linestyle="--")
        side.tick_params(labelleft=False)
    for unused in axes.flat[2 * len(panels) :]:
        unused.set_axis_off()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    title = "coefficient maps: one colour per gate, one marker per sub-gate"
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=9, title=title, title_fontsize=9)
    figure.suptitle(_headline(analysis), fontsize=10, parse_math=False)
    FigureCanvasAgg(figure).print_png(str(path))


def steps_rise(entries: list[Entry]) -> bool:
    """Whether the training step can be the x axis: known everywhere, and rising along the series."""
    steps = [entry.step for entry in entries if entry.step is not None]
    return len(steps) == len(entries) and all(a < b for a, b in zip(steps, steps[1:], strict=False))


def _enrichment(organ: str) -> Quantity:
    return lambda metrics: metrics.organs[organ].enrichment


def _draw_series(axes: Axes, entries: list[Entry], quantity: Quantity) -> None:
    by_step = steps_rise(entries)
    x = [entry.step if by_step and entry.step is not None else n for n, entry in enumerate(entries)]
    for name, color, marker in _styles(entries[0]):
        y = [quantity(entry.metrics[name]) for entry in entries]
        axes.plot(x, y, color=color, marker=marker, markersize=5, label=name, linestyle="-" if by_step else ":")
    if by_step:
        axes.set_xlabel("training step", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        axes.set_xticks(x, [str(n) for n in range(1, len(entries) + 1)])
        axes.set_xlabel("number in the series; steps begin anew with each run", fontsize=9)
    axes.margins(x=0.06)


def _draw_control(axes: Axes, analysis: Analysis, quantity: Quantity) -> None:
    styles = _styles(analysis.entries[0])
    for position, kind in enumerate(KINDS):
        runs = [run for run in analysis.controls if run.kind == kind]
        offsets = np.linspace(-0.3, 0.3, len(styles))
        for offset, (name, color, marker) in zip(offsets, styles, strict=True):
            values = [quantity(run.metrics[name]) for run in runs]
            axes.vlines(position + offset, min(values), max(values), color=color, linewidth=1.5)
            axes.plot(position + offset, np.mean(values), color=color, marker=marker, markersize=4, linestyle="")
    axes.set_xticks(range(len(KINDS)), [f"{kind}\nweights" for kind in KINDS])
    axes.set_xlim(-0.5, len(KINDS) - 0.5)
    axes.set_title("control", fontsize=10)


def _styles(entry: Entry) -> list[tuple[str, str, str]]:
    """Map, colour of its gate, marker of its sub-gate."""
    gates = list(entry.views.gates)
    return [
        (name, GATE_COLORS[gates.index(gate) % len(GATE_COLORS)], MARKERS[n % len(MARKERS)])
        for gate, maps in entry.views.gates.items()
        for n, name in enumerate(maps)
    ]


def _headline(analysis: Analysis) -> str:
    names = "; ".join(f"{n}: {entry.label}" for n, entry in enumerate(analysis.entries, start=1))
    seeds = len({run.seed for run in analysis.controls})
    lines = [
        f"Do the gates turn to the organs? {analysis.case.ct.name}; dashed: a flat map; "
        f"control: {'mean and range of ' if seeds > 1 else ''}{seeds} network{'s' if seeds > 1 else ''} "
        "with randomised weights",
        *textwrap.wrap(names, 170, break_long_words=False),
    ]
    return "\n".join(lines)
