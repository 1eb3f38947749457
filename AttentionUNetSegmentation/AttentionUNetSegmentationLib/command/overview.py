"""The overview picture of a run: organs on three planes, attention maps below them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.resampling import reach, resample
from ..volume import Grid, OrganMask, Segmentation, Volume, triple
from .report import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW_HU = (-160.0, 240.0)
PICTURE_SPACING_MM = 1.5
PLANES = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}  # axes through, across, up: R=0, A=1, S=2


def write_overview(volume: Volume, segmentation: Segmentation, path: Path) -> None:
    """Draw the overview picture: three planes through the organs with contours, and a row of attention maps.

    Args:
        volume: The CT.
        segmentation: Its result.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    centre = _centre_of_view(volume, segmentation)
    gates = list(segmentation.attention)
    columns = max(3, len(gates))
    figure = Figure(figsize=(15, 5.6 + (2.8 if gates else 0)), dpi=110, facecolor="black", layout="constrained")
    rows = figure.subfigures(2 if gates else 1, 1, height_ratios=[2, 1] if gates else [1], squeeze=False)[:, 0]
    for axes, plane in zip(rows[0].subplots(1, 3), PLANES, strict=True):
        _draw_ct(axes, volume, plane, centre)
        _draw_contours(axes, segmentation, plane, centre)
        axes.set_title(plane, color="white", fontsize=11)
    rows[0].legend(handles=_legend_handles(segmentation), loc="outside lower center", ncols=6, **_LEGEND_STYLE)
    if gates:
        for axes, name in zip(rows[1].subplots(1, columns, squeeze=False)[0], gates, strict=False):
            _draw_ct(axes, volume, "axial", centre)
            _draw_attention(axes, volume, segmentation.attention[name], "axial", centre)
            alpha = segmentation.attention[name].voxels
            axes.set_title(f"{name}: {alpha.min():.2f} to {alpha.max():.2f}", color="white", fontsize=9)
    for row in rows:
        row.set_facecolor("black")
    figure.suptitle(f"{volume.name}   ({DISCLAIMER})", color="white", fontsize=10, parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks
        FigureCanvasAgg(figure).print_png(str(path))


_LEGEND_STYLE = {"fontsize": 10, "frameon": False, "labelcolor": "white"}


def _centre_of_view(volume: Volume, segmentation: Segmentation) -> dict[str, np.ndarray]:
    """For each plane a point (RAS, mm) to cut through: different organs, so that every one is likely to be seen."""
    found = [np.array(m.centroid_ras_mm) for m in segmentation.organ_measures if m.centroid_ras_mm]
    if not found:
        found = [volume.grid.corners_ras_mm().mean(axis=0)]
    return {"axial": found[0], "coronal": found[-1], "sagittal": found[min(1, len(found) - 1)]}


def _plane_grid(source: Grid, plane: str, centre: dict[str, np.ndarray]) -> Grid:
    """A one-voxel-thick, patient-aligned grid: i across, j up, k through the plane."""
    through, across, up = PLANES[plane]
    corners = source.corners_ras_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    sizes = [max(2, math.ceil((high[axis] - low[axis]) / PICTURE_SPACING_MM)) for axis in (across, up)]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    matrix[across, 0] = matrix[up, 1] = matrix[through, 2] = PICTURE_SPACING_MM
    matrix[:3, 3] = low
    matrix[through, 3] = centre[plane][through]
    return Grid((1, sizes[1], sizes[0]), matrix)


def _draw_ct(axes: Axes, volume: Volume, plane: str, centre: dict[str, np.ndarray]) -> None:
    grid = _plane_grid(volume.grid, plane, centre)
    picture = resample(volume.voxels, volume.grid, grid)[0]
    picture[~(volume.valid_region or volume.grid).contains(grid)[0]] = WINDOW_HU[0]
    axes.imshow(picture, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower", interpolation="bilinear")
    axes.set_axis_off()
    if plane != "sagittal":  # radiological view: the patient's right on the left
        axes.set_xlim(picture.shape[1] - 0.5, -0.5)
        axes.text(0.01, 0.5, "R", transform=axes.transAxes, color="white", fontsize=8)
    else:
        axes.set_xlim(picture.shape[1] - 0.5, -0.5)
        axes.text(0.01, 0.5, "A", transform=axes.transAxes, color="white", fontsize=8)


def _draw_contours(axes: Axes, segmentation: Segmentation, plane: str, centre: dict[str, np.ndarray]) -> None:
    grid = _plane_grid(segmentation.grid, plane, centre)
    box = reach(segmentation.grid, grid)
    labels, source = segmentation.labels[box], segmentation.grid.crop_to(box)
    for organ in segmentation.organs:
        mask = resample(labels == organ.value, source, grid, antialias=False)[0]
        if mask.max() > 0.5:
            axes.contour(mask, levels=[0.5], colors=[_color(organ)], linewidths=1.4)


def _draw_attention(axes: Axes, volume: Volume, attention: Volume, plane: str, centre: dict[str, np.ndarray]) -> None:
    grid = _plane_grid(volume.grid, plane, centre)
    picture = resample(attention.voxels, attention.grid, grid, antialias=False)[0]
    points = grid.ras_of(np.stack(np.meshgrid(np.arange(grid.shape_kji[2]), np.arange(grid.shape_kji[1]), [0]), -1))
    ijk = attention.grid.ijk_of(points[:, :, 0])
    sizes = np.array(attention.voxels.shape[::-1])
    outside = ((ijk < -0.5) | (ijk > sizes - 0.5)).any(axis=-1)
    low, high = np.percentile(attention.voxels, (1, 99.5))
    axes.imshow(
        np.ma.masked_where(outside, picture),
        cmap="inferno",
        vmin=low,
        vmax=max(high, low + 1e-3),
        alpha=0.55,
        origin="lower",
        interpolation="bilinear",
    )


def _color(organ: OrganMask) -> tuple[float, float, float]:
    """An organ's colour, 0 to 1 each."""
    return triple(channel / 255 for channel in organ.color_rgb)


def _legend_handles(segmentation: Segmentation) -> list:
    from matplotlib.lines import Line2D

    def label(organ: OrganMask) -> str:
        return f"{organ.name} {segmentation.volume_ml(organ):.0f} ml".replace("$", r"\$")

    return [Line2D([], [], color=_color(organ), label=label(organ)) for organ in segmentation.organs]
