"""The overview picture of a run: organs on three planes, attention maps below them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.resampling import reach, resample
from ..volume import Grid, OrganMask, OrganMeasure, Segmentation, Volume, triple
from .report import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOW_HU = (-160.0, 240.0)
PICTURE_SPACING_MM = 1.5
TOP_ROW_INCHES, GATE_ROW_INCHES = 5.6, 2.8
_LEGEND_STYLE = {"fontsize": 10, "frameon": False, "labelcolor": "white"}
PLANES = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}  # axes through, across, up: R=0, A=1, S=2


@dataclass(frozen=True)
class _Slice:
    """The CT on a plane.

    Attributes:
        grid: One voxel thick, patient-aligned: i across, j up, k through the plane.
        hu: (1, J, I).
        mark: Side of the patient at the picture's left.
    """

    grid: Grid
    hu: np.ndarray
    mark: str


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
    slices = {plane: _slice(volume, plane, centre[plane]) for plane in PLANES}
    gates = list(segmentation.attention)
    height = TOP_ROW_INCHES + (GATE_ROW_INCHES if gates else 0)
    figure = Figure(figsize=(15, height), dpi=110, facecolor="black")
    top_row = [1 - TOP_ROW_INCHES / height, 1.0]
    for axes, (plane, ct) in zip(_axes(figure, top_row[0] + 0.06, top_row[1] - 0.05, 3), slices.items(), strict=True):
        _draw_ct(axes, ct)
        _draw_contours(axes, segmentation, ct)
        axes.set_title(plane, y=1.0, color="white", fontsize=11)
    handles = _legend_handles(segmentation)
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, top_row[0]), ncols=6, **_LEGEND_STYLE)
    for name, axes in zip(gates, _axes(figure, 0.01, top_row[0] - 0.02, max(3, len(gates))), strict=False):
        _draw_ct(axes, slices["axial"])
        _draw_attention(axes, slices["axial"], segmentation.attention[name])
        alpha = segmentation.attention[name].voxels
        axes.set_title(f"{name}: {alpha.min():.2f} to {alpha.max():.2f}", y=1.0, color="white", fontsize=9)
    figure.suptitle(f"{volume.name}   ({DISCLAIMER})", y=0.995, color="white", fontsize=10, parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks
        FigureCanvasAgg(figure).print_png(str(path), pil_kwargs={"compress_level": 1})


def _axes(figure: Figure, bottom: float, top: float, columns: int) -> Iterator[Axes]:
    """Axes beside one another between two heights of the figure, as they are asked for."""
    for column in range(columns):
        yield figure.add_axes(((column + 0.01) / columns, bottom, 0.98 / columns, top - bottom - 0.02))


def _centre_of_view(volume: Volume, segmentation: Segmentation) -> dict[str, np.ndarray]:
    """For each plane a point (RAS, mm) to cut through: different organs, so that every one is likely to be seen."""
    found = [np.array(m.centroid_ras_mm) for m in segmentation.organ_measures if m.centroid_ras_mm]
    if not found:
        found = [volume.grid.corners_ras_mm().mean(axis=0)]
    return {"axial": found[0], "coronal": found[-1], "sagittal": found[min(1, len(found) - 1)]}


def _slice(volume: Volume, plane: str, centre_ras_mm: np.ndarray) -> _Slice:
    through, across, up = PLANES[plane]
    corners = volume.grid.corners_ras_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    sizes = [max(2, math.ceil((high[axis] - low[axis]) / PICTURE_SPACING_MM)) for axis in (across, up)]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    matrix[across, 0] = matrix[up, 1] = matrix[through, 2] = PICTURE_SPACING_MM
    matrix[:3, 3] = low
    matrix[through, 3] = centre_ras_mm[through]
    grid = Grid((1, sizes[1], sizes[0]), matrix)
    hu = resample(volume.voxels, volume.grid, grid)
    hu[~(volume.valid_region or volume.grid).contains(grid)] = WINDOW_HU[0]
    return _Slice(grid, hu, "A" if plane == "sagittal" else "R")


def _draw_ct(axes: Axes, ct: _Slice) -> None:
    low, high = WINDOW_HU
    axes.imshow(ct.hu[0], cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="bilinear")
    axes.set_axis_off()
    axes.set_xlim(ct.hu.shape[2] - 0.5, -0.5)  # radiological view: the patient's right, or front, on the left
    axes.text(0.01, 0.5, ct.mark, transform=axes.transAxes, color="white", fontsize=8)


def _draw_contours(axes: Axes, segmentation: Segmentation, ct: _Slice) -> None:
    box = reach(segmentation.grid, ct.grid)
    labels, source = segmentation.labels[box], segmentation.grid.crop_to(box)
    for organ in segmentation.organs:
        mask = resample(labels == organ.value, source, ct.grid, antialias=False)[0]
        if mask.max() > 0.5:
            axes.contour(mask, levels=[0.5], colors=[_color(organ)], linewidths=1.4)


def _draw_attention(axes: Axes, ct: _Slice, attention: Volume) -> None:
    picture = resample(attention.voxels, attention.grid, ct.grid, antialias=False)
    low, high = np.percentile(attention.voxels, (1, 99.5))
    axes.imshow(
        np.ma.masked_where(~attention.grid.contains(ct.grid), picture)[0],
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

    def handle(measure: OrganMeasure) -> Line2D:
        label = f"{measure.organ.name} {measure.volume_ml:.0f} ml".replace("$", r"\$")
        return Line2D([], [], color=_color(measure.organ), label=label)

    return [handle(measure) for measure in segmentation.organ_measures]
