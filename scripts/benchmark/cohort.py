"""``attention-unet cohort`` on small CTs: two workers against one, and against ``segment``; prints a table.

    PYTHONPATH=scripts python -m benchmark.cohort --cases 200

Each command has one thread per process. Memory is the sum over a command's processes of what each has for itself plus
its share of what it has with others (PSS of Linux), sampled twice a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .pipeline import make_ct

SAMPLE_SECONDS = 0.5
SHAPE_KJI = (32, 80, 80)  # voxels of 0.8 x 0.8 x 1.5 mm
ONE_THREAD = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
COMMAND = [sys.executable, "-m", "AttentionUNetSegmentationLib.command.cli"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmark.cohort", description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="copies of one CT (default: %(default)s)")
    cases = parser.parse_args(arguments).cases
    with tempfile.TemporaryDirectory() as scratch:
        few, many = Path(scratch, "few"), Path(scratch, "many")
        for folder, count in ((few, 1), (many, cases)):
            folder.mkdir()
            make_ct(folder / "ct0000.nrrd", SHAPE_KJI)
            for n in range(1, count):
                shutil.copy(folder / "ct0000.nrrd", folder / f"ct{n:04}.nrrd")
        print(
            f"| command | one case, s | {cases} cases, s | each further case, s | memory, GB |\n|---|---|---|---|---|"
        )
        for name, options in (
            ("segment", ["segment"]),
            ("cohort, 1 worker", ["cohort", "--workers", "1", "--threads", "1"]),
            ("cohort, 2 workers", ["cohort", "--workers", "2", "--threads", "1"]),
        ):
            (one, _), (all_cases, memory_gb) = (run([*options, str(folder)], scratch) for folder in (few, many))
            each = (all_cases - one) / (cases - 1)
            print(f"| {name} | {one:.1f} | {all_cases:.1f} | {each:.3f} | {memory_gb:.2f} |", flush=True)
    return 0


def run(options: Sequence[str], scratch: str) -> tuple[float, float]:
    """Seconds that a command takes, and the most memory in GB that it and its children have at a time.

    Raises:
        RuntimeError: If it fails.
    """
    output = Path(scratch, "results")
    shutil.rmtree(output, ignore_errors=True)
    command = [*COMMAND, *options, "--output-dir", str(output), "--backend", "openvino", "--quiet"]
    began, peak_bytes = time.perf_counter(), 0
    with subprocess.Popen(command, env=os.environ | ONE_THREAD) as process:
        while process.poll() is None:
            peak_bytes = max(peak_bytes, memory_of(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - began, peak_bytes / 1e9


def memory_of(root: int) -> int:
    """Bytes that a process and all below it have."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family = {root}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    total = 0
    for pid in family:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return total


if __name__ == "__main__":
    sys.exit(main())
