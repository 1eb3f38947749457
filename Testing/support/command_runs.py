"""Runs of the command ``attention-unet`` on small CTs."""

from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.command.cli import main
from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms

GATES = ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]
FILES = ["labels.nii.gz", "overview.png", "report.json", "segmentation.seg.nrrd"]
FILES += [f"attention_{gate}.nrrd" for gate in GATES]
GRID = phantoms.grid((24, 30, 28), (3, 3, 4), np.diag([-1.0, -1, 1]))


def ct(path: Path, hu: float = 40.0) -> Path:
    """Write a CT with a ball of this HU; returns the path."""
    voxels = phantoms.hu_from([(phantoms.ball(GRID, (0, 0, 0), 40), hu)], -1000.0).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(voxels, GRID.ijk_to_ras), path)
    return path


def segment(tiny_model: Path, *arguments: object) -> int:
    """Run ``attention-unet segment``; returns the exit status."""
    return main(["segment", *map(str, arguments), "--model", str(tiny_model), "--device", "cpu"])


def tree(folder: Path) -> list[str]:
    """Paths of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
