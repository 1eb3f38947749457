"""``attention-unet segment`` from file to files, and SimpleITK reading and writing the same files."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .machine import Rates
from .networks import FLOP_PER_VOXEL
from .processes import answer, measured, run

SAMPLE = Path(__file__).parents[2] / "AttentionUNetSegmentation/Resources/SampleData/SyntheticAbdomenCT.nrrd"
SPACING_MM = (0.8, 0.8, 1.5)
SLICES_AT_A_TIME = 60
IMAGE_ENDINGS = (".nrrd", ".nii.gz")
NETWORK_DIVISOR = 16


def rows(slices: Sequence[int], in_plane: int, runs: int, rates: Rates) -> list[dict[str, Any]]:
    """Measure CTs of some numbers of slices, each in ``runs`` commands one after the other."""
    found = []
    for count in slices:
        with tempfile.TemporaryDirectory() as folder:
            ct, results = Path(folder) / "ct.nrrd", Path(folder) / "results"
            measured("pipeline", step="make", ct=str(ct), results="", shape_kji=[count, in_plane, in_plane])
            repeated = [_segment(ct, results) for _ in range(runs)]
            simpleitk = [
                measured("pipeline", step="simpleitk", ct=str(ct), results=str(results))[0] for _ in range(runs)
            ]
        padded = [-(-size // NETWORK_DIVISOR) * NETWORK_DIVISOR for size in repeated[0]["network_grid_kji"]]
        row = {
            "shape_kji": [count, in_plane, in_plane],
            "gflop": FLOP_PER_VOXEL * math.prod(padded) / 1e9,
            "runs": repeated,
            "simpleitk": min(simpleitk, key=lambda seconds: seconds["reading"] + seconds["writing"]),
        }
        found.append(row)
        rates.again()
    return found


def _segment(ct: Path, results: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "AttentionUNetSegmentationLib.command.cli", "segment", str(ct)]
    finished = run([*command, "--output-dir", str(results), "--device", "cpu", "--quiet", "--overwrite"])
    report = json.loads((results / "report.json").read_text(encoding="utf-8"))
    provenance, files = report["provenance"], report["seconds_files"]
    steps = {name: seconds for name, seconds in provenance["seconds"].items() if name != "total"}
    print("segment", f"{finished.seconds:.1f} s, {finished.peak_gb:.1f} GB", steps, flush=True)
    return {
        "steps": {"reading": files["reading"], **steps, "writing": files["writing"]},
        "whole": finished.seconds,
        "peak_gb": finished.peak_gb,
        **{name: provenance[name] for name in ("network_grid_kji", "passes", "backend")},
    }


def measure(step: str, ct: str, results: str, shape_kji: Sequence[int] = ()) -> dict[str, float]:
    """Make a CT ("make"), or time SimpleITK ("simpleitk")."""
    if step == "make":
        return _timed("making", lambda: make_ct(Path(ct), shape_kji))
    import SimpleITK as sitk

    images = {path.name: sitk.ReadImage(str(path)) for path in Path(results).iterdir() if is_image(path)}
    with tempfile.TemporaryDirectory() as folder:

        def write() -> None:
            for name, image in images.items():
                sitk.WriteImage(image, f"{folder}/{name}", useCompression=True)

        return _timed("reading", lambda: sitk.ReadImage(ct)) | _timed("writing", write)


def is_image(path: Path) -> bool:
    """Whether a file of a result holds voxels: SimpleITK writes neither the report nor the picture."""
    return path.name.endswith(IMAGE_ENDINGS)


def make_ct(path: Path, shape_kji: Sequence[int]) -> None:
    """Write the sample CT on a clinical grid around its middle; its edges are repeated as far as the field reaches.

    It is resampled some slices at a time, as float32 of a long scan would take gigabytes.
    """
    from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
    from AttentionUNetSegmentationLib.imaging.resampling import resample
    from AttentionUNetSegmentationLib.volume import Grid, Volume

    sample = read_volume(SAMPLE)
    steps_mm = np.array([-1.0, -1.0, 1.0]) * SPACING_MM
    matrix = np.diag([*steps_mm, 1.0])
    matrix[:3, 3] = sample.grid.corners_ras_mm().mean(axis=0) - steps_mm * (np.array(shape_kji[::-1]) - 1) / 2
    hu = np.empty(tuple(shape_kji), np.int16)
    for start in range(0, len(hu), SLICES_AT_A_TIME):
        part, moved = hu[start : start + SLICES_AT_A_TIME], matrix.copy()
        moved[2, 3] += start * steps_mm[2]
        part[:] = np.round(resample(sample.voxels, sample.grid, Grid(part.shape, moved)))
    write_volume(Volume(hu, matrix, name="synthetic"), path)


def _timed(name: str, work: Callable[[], object]) -> dict[str, float]:
    began = time.perf_counter()
    work()
    return {name: time.perf_counter() - began}


if __name__ == "__main__":
    answer(measure)
