"""Time and memory of one CT of 512 x 512 x 240 voxels, file to files, as a user would run it (``make bench``).

The CT is the bundled sample, resampled to 0.80 x 0.80 x 1.5 mm and repeated upwards and sideways by its edges, so that
the body fills a usual field of view. It is written to a scratch folder and segmented by the command in a new process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.inference.memory import forward_bytes
from AttentionUNetSegmentationLib.volume import Grid, Volume

SAMPLE = Path(__file__).parents[1] / "AttentionUNetSegmentation/Resources/SampleData/SyntheticAbdomenCT.nrrd"
SHAPE_KJI = (240, 512, 512)
SPACING_MM = (0.8, 0.8, 1.5)
WIDTHS = (16, 32, 64, 128, 256)


def large_ct() -> Volume:
    """The sample CT on a clinical grid, as int16."""
    sample = read_volume(SAMPLE)
    directions = np.array([-1.0, -1.0, 1.0])
    matrix = np.diag([*(directions * SPACING_MM), 1.0])
    centre = sample.grid.corners_ras_mm().mean(axis=0)
    matrix[:3, 3] = centre - directions * SPACING_MM * (np.array(SHAPE_KJI[::-1]) - 1) / 2
    grid = Grid(SHAPE_KJI, matrix)
    hu = resample(sample.voxels, sample.grid, grid)
    return Volume(np.round(hu).astype(np.int16), grid.ijk_to_ras, name="large")


def main() -> int:
    """Run and print the table; returns the command's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--backend", default="torch", choices=("torch", "openvino"))
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ct = Path(folder) / "large.nrrd"
        write_volume(large_ct(), ct)
        command = [
            sys.executable,
            "-m",
            "AttentionUNetSegmentationLib.command.cli",
            "segment",
            str(ct),
            "--quiet",
            "--overwrite",
        ]
        command += ["--output-dir", f"{folder}/out", "--device", "cpu", "--backend", parsed.backend]
        for _ in range(parsed.runs):
            began = time.monotonic()
            status = subprocess.run(command, check=False).returncode
            if status:
                return status
            _print_run(json.loads(Path(f"{folder}/out/report.json").read_text()), time.monotonic() - began)
    return 0


def _print_run(report: dict, wall_seconds: float) -> None:
    provenance = report["provenance"]
    seconds = provenance["seconds"]
    total = seconds["total"]
    for step, duration in seconds.items():
        print(f"{step:<36}{duration:7.1f} s  {100 * duration / total:5.1f} %")
    print(f"{'whole command, file to files':<36}{wall_seconds:7.1f} s")
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    estimate_gb = forward_bytes(WIDTHS, [-(-size // 16) * 16 for size in provenance["network_grid_kji"]]) / 1e9
    print(f"{'peak memory of the process':<36}{peak_gb:7.2f} GB (estimate of the forward pass {estimate_gb:.2f} GB)")
    print(f"network grid {provenance['network_grid_kji']}, {provenance['passes']}, {provenance['backend']}")


if __name__ == "__main__":
    sys.exit(main())
