"""Colour tables that 3D Slicer reads from files in its share folder, and that slicer-core does not bring.

Inferno is matplotlib's, as it is in 3D Slicer; the label colours are the host's own.
"""

import colorsys
from pathlib import Path

import matplotlib
import numpy as np

_GOLDEN_RATIO = 0.618  # steps of hue that keep neighbouring labels apart


def _write(path: Path, rgba: np.ndarray, names: list[str]) -> None:
    """Writes one row per colour: index, name, red, green, blue, alpha; the numbers 0 to 255."""
    values = np.rint(rgba * 255).astype(int)
    rows = [" ".join(map(str, (index, names[index], *row))) for index, row in enumerate(values)]
    path.write_text("\n".join(rows) + "\n", encoding="ascii")


def write_color_files(folder: Path) -> None:
    """Writes GenericColors.txt, which label maps use by default, and Inferno.txt, of 256 colours each."""
    hues = np.arange(1, 256) * _GOLDEN_RATIO % 1
    labels = [(0.0, 0.0, 0.0, 0.0)] + [(*colorsys.hsv_to_rgb(hue, 0.6, 0.9), 1.0) for hue in hues]
    _write(folder / "GenericColors.txt", np.array(labels), [f"label_{index}" for index in range(256)])
    _write(folder / "Inferno.txt", matplotlib.colormaps["inferno"](np.arange(256)), [str(n) for n in range(256)])
