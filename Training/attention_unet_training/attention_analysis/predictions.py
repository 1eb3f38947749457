"""The paper's figure 3 (b): what the reference, a network with gates and another without them call an organ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from AttentionUNetSegmentationLib.imaging.components import keep_largest
from AttentionUNetSegmentationLib.pipeline import Options
from AttentionUNetSegmentationLib.volume import Volume

from ..evaluation.systems import NetworkSystem, model_column
from ..masks import resample_mask
from .case import AttentionCase
from .pictures import DPI, WINDOW_HU
from .views import PLANES, Slices, cut_planes, plane_grid

RIGHT, MISSED, FALSE = 1, 2, 3
COLORS = {
    RIGHT: ("{organ} found", "#3a7bff"),
    MISSED: ("{organ} missed", "#ff2b2b"),
    FALSE: ("wrongly called {organ}", "#ffd21f"),
}


@dataclass(frozen=True)
class Predictions:
    """An organ in slices through what the first network misses.

    Attributes:
        organ: Which.
        ct: HU.
        columns: Heading -> RIGHT, MISSED, FALSE or 0 of each pixel.
    """

    organ: str
    ct: Slices
    columns: dict[str, Slices]


def predict(case: AttentionCase, sources: Mapping[str, str], device: str) -> Predictions:
    """Segment a case with each network, without clean-up, and cut where the first one misses most in one piece.

    Args:
        case: CT and reference; the organ is that which its pictures cut through.
        sources: Title -> checkpoint or model.
        device: Where to run.

    Raises:
        ValueError: If one cannot be read, or does not know the organ.
    """
    organ, grid = case.position_organ, case.reference.grid
    true = case.mask(organ)
    masks = {"reference": true}
    for title, source in sources.items():
        system = model_column(f"model={source}", Options(device=device, attention=False, clean_up=False), {0}).open(0)
        if not isinstance(system, NetworkSystem) or organ not in system.organs:
            raise ValueError(f"{source} does not find the {organ}; it finds {', '.join(system.organs)}")
        answer = system.run(case.ct)
        found = np.isin(answer.labels.voxels, answer.values[organ])
        masks[title] = resample_mask(found, answer.labels.grid, grid)
    missed = keep_largest(true & ~masks[next(iter(sources))])
    right, front, up = case.position_ras_mm
    if missed.any():
        right, front, up = grid.ras_of(np.argwhere(missed).mean(axis=0)[::-1]).tolist()
    planes = {view: plane_grid(case.ct.grid, view, (right, front, up)) for view in PLANES}
    cuts = {title: cut_planes(Volume(mask, grid.ijk_to_ras), planes) for title, mask in masks.items()}
    columns = {
        title: {view: _judged(cuts["reference"][view] > 0.5, one[view] > 0.5) for view in PLANES}
        for title, one in cuts.items()
    }
    return Predictions(organ, cut_planes(case.ct, planes, antialias=True), columns)


def draw_predictions(predictions: Predictions, path: Path) -> None:
    """Draw CT, reference and each network's prediction, axial above, sagittal below, as a PNG."""
    columns: dict[str, Slices | None] = {"CT": None, **predictions.columns}
    heights = [pixels.shape[0] / pixels.shape[1] for pixels in predictions.ct.values()]
    figure = Figure(figsize=(3.2 * len(columns), 3.2 * sum(heights) + 0.8), dpi=DPI, layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False, height_ratios=heights)
    colors = ListedColormap([color for _, color in COLORS.values()])
    for row, view in enumerate(PLANES):
        for column, (title, judged) in enumerate(columns.items()):
            axis = axes[row, column]
            axis.imshow(predictions.ct[view], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower")
            if judged is not None:
                shown = np.ma.masked_equal(judged[view], 0)
                axis.imshow(shown, cmap=colors, vmin=RIGHT, vmax=FALSE, origin="lower", interpolation="nearest")
            axis.set_title(title if row == 0 else "", fontsize=9, parse_math=False)
            axis.set_axis_off()
    patches = [Patch(color=color, label=what.format(organ=predictions.organ)) for what, color in COLORS.values()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path))


def _judged(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    judged = np.zeros(true.shape, np.uint8)
    judged[true & found], judged[true & ~found], judged[found & ~true] = RIGHT, MISSED, FALSE
    return judged
