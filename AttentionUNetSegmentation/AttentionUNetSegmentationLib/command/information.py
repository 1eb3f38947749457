"""What ``attention-unet info`` says about a CT: geometry, HU range, orientation, and what looks wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..imaging.place import field_of_view_warnings
from ..imaging.plausibility import input_warnings
from ..imaging.preprocessing import check_volume
from ..volume import Grid, Volume

AXIS_NAMES = (("R", "L"), ("A", "P"), ("S", "I"))  # the direction in which an index grows, or its opposite


def describe(volume: Volume) -> dict[str, Any]:
    """Geometry, HU range and warnings of a volume, JSON types only.

    Raises:
        ValueError: If the volume could not be segmented at all (``check_volume``).
    """
    check_volume(volume)
    grid = volume.grid
    k, j, i = grid.shape_kji
    low, median, high = (float(value) for value in np.percentile(volume.voxels, (0, 50, 100)))
    return {
        "name": volume.name,
        "voxels (i, j, k)": [i, j, k],
        "spacing (mm)": [round(length, 4) for length in grid.spacing_mm],
        "extent (mm)": [round(n * length, 1) for n, length in zip((i, j, k), grid.spacing_mm, strict=True)],
        "axes point to": orientation(grid),
        "modality": volume.modality or "not said by the file",
        "HU (lowest, median, highest)": f"{low:g}, {median:g}, {high:g}",
        "warnings": [*volume.notes, *input_warnings(volume), *field_of_view_warnings(volume)],
    }


def orientation(grid: Grid) -> str:
    """The nearest anatomical direction of the axes i, j, k ("LPS"), with the angle where they are oblique."""
    letters, cosines = "", []
    for axis in range(3):
        direction = grid.directions[:, axis]
        strongest = int(np.abs(direction).argmax())
        letters += AXIS_NAMES[strongest][0 if direction[strongest] > 0 else 1]
        cosines.append(abs(direction[strongest]))
    angle = float(np.degrees(np.arccos(min(1.0, min(cosines)))))
    return letters if angle < 0.1 else f"{letters}, oblique by up to {angle:.1f} degrees"
