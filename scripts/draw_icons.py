"""Draws the extension's icon and the thumbnail of the sample CT: ``.venv/bin/python scripts/draw_icons.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from AttentionUNetSegmentationLib.formats.files import read_volume

ROOT = Path(__file__).resolve().parents[1]
RESOURCES = ROOT / "AttentionUNetSegmentation" / "Resources"
COLORS = {1: (249, 180, 111), 2: (157, 108, 162), 3: (185, 102, 83)}  # pancreas, spleen, kidneys
SIZE = 128  # pixels


def draw_icon(path: Path) -> None:
    """A U of blocks, the encoder on the left and the decoder on the right, and a glowing gate between them."""
    figure, axes = _canvas()
    axes.add_patch(FancyBboxPatch((6, 6), 116, 116, boxstyle="round,pad=0,rounding_size=22", color="#16202e"))
    for level, (top, height) in enumerate(((84, 44), (66, 34), (48, 22))):
        for side in (-1, 1):
            middle = 64 + side * (44 - level * 15)
            axes.add_patch(Rectangle((middle - 6, top - height), 12, height, color=_mix(level, side)))
    axes.add_patch(Rectangle((56, 18), 16, 10, color="#c6d4e6"))
    axes.plot([20, 108], [97, 97], color="#8fa3bd", linewidth=2.2, solid_capstyle="round", zorder=2)
    for radius, alpha in ((19, 0.12), (15, 0.22), (11, 0.45), (7.5, 1.0)):
        axes.add_patch(Circle((64, 97), radius, color="#ffb000", alpha=alpha, linewidth=0, zorder=3))
    axes.add_patch(Circle((64, 97), 4, color="#fff6d8", linewidth=0, zorder=4))
    _save(figure, path)


def _mix(level: int, side: int) -> tuple[float, ...]:
    encoder, decoder = np.array([0x5B, 0x8D, 0xD6]), np.array([0xE5, 0x7A, 0x5A])
    color = encoder if side < 0 else decoder
    return tuple((color + level * 0.16 * (255 - color)) / 255)


def draw_thumbnail(path: Path) -> None:
    """The axial slice of the sample CT that holds most of the pancreas, with its organs coloured."""
    ct = read_volume(RESOURCES / "SampleData" / "SyntheticAbdomenCT.nrrd").voxels
    labels = read_volume(RESOURCES / "SampleData" / "SyntheticAbdomenCT.labels.nrrd").voxels
    index = int(np.argmax((labels == 1).sum(axis=(1, 2))))
    gray = np.clip((ct[index] + 160.0) / 400.0, 0, 1)
    picture = np.repeat(gray[..., None], 3, axis=-1)
    for value, color in COLORS.items():
        inside = labels[index] == value
        picture[inside] = 0.45 * picture[inside] + 0.55 * np.array(color) / 255
    figure, axes = _canvas()
    rows, columns = gray.shape
    height = SIZE * rows / columns
    axes.add_patch(Rectangle((0, 0), SIZE, SIZE, color="black", zorder=0))
    axes.imshow(picture, extent=(0, SIZE, (SIZE - height) / 2, (SIZE + height) / 2), interpolation="bilinear", zorder=1)
    axes.set_xlim(0, SIZE)
    axes.set_ylim(0, SIZE)
    _save(figure, path)


def _canvas() -> tuple[Figure, object]:
    figure = Figure(figsize=(1.28, 1.28), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, SIZE)
    axes.set_ylim(0, SIZE)
    axes.set_axis_off()
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.patch.set_alpha(0)
    FigureCanvasAgg(figure).print_png(str(path))
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    draw_icon(ROOT / "AttentionUNet.png")
    draw_icon(RESOURCES / "Icons" / "AttentionUNetSegmentation.png")
    draw_thumbnail(RESOURCES / "Icons" / "SyntheticAbdomenCT.png")
