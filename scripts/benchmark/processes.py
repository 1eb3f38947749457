"""Measurements in processes of their own, and how much memory each took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[1]
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PEAK_UNITS_PER_GB = 1e9 if sys.platform == "darwin" else 1e9 / 1024  # ru_maxrss is in bytes there, in KiB elsewhere


@dataclass(frozen=True)
class Finished:
    """A process that has ended.

    Attributes:
        output: What it wrote to its standard output.
        seconds: From its start to its end.
        peak_gb: The most memory that it held, in units of 1e9 bytes.
    """

    output: str
    seconds: float
    peak_gb: float


def run(command: Sequence[str]) -> Finished:
    """Run a command on all cores and wait for it.

    On Linux a process inherits the peak of the one that starts it: this one must stay small.

    Raises:
        RuntimeError: If the command fails.
    """
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_LIMITS}
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPTS), *filter(None, [environment.get("PYTHONPATH")])])
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    with process:
        assert process.stdout is not None  # it is a pipe
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    return Finished(output, seconds, usage.ru_maxrss / PEAK_UNITS_PER_GB)


def measured(module: str, **arguments: Any) -> tuple[dict[str, Any], float]:
    """What a module of this package measures in a process of its own, and the memory in GB that it took."""
    finished = run([sys.executable, "-m", f"benchmark.{module}", json.dumps(arguments)])
    found = finished.output.splitlines()[-1]
    print(module, *arguments.values(), found, flush=True)
    return json.loads(found), finished.peak_gb


def answer(measure: Callable[..., dict[str, Any]]) -> None:
    """The other side of ``measured``: the main program of a module that measures."""
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
