"""``attention-unet cohort``: many CTs, on all of a computer or on a cluster."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from ..errors import printable
from .run_options import add_run_options, options_of, whole_number

if TYPE_CHECKING:
    from ..cohort.driver import Ended
    from .cases import Case

NEEDED = ("ray", "pyarrow", "jinja2")
INSTALL = "attention-unet cohort needs more packages: pip install 'slicer-attention-unet[cohort]'"
LOW_BYTES = 64 << 20  # of free disk; less counts as full when a case fails


def add_cohort(commands: argparse._SubParsersAction) -> None:
    """Enter the subcommand."""
    parser = commands.add_parser(
        "cohort",
        help="segment a cohort of CTs with many processes, on one computer or a cluster",
        description="Segment every CT of a folder tree or a table, and write tables and a report. Started again, it "
        "goes on where it stopped.",
    )
    parser.add_argument(
        "input",
        type=Path,
        metavar="INPUT",
        help='folder tree of CTs (NIfTI, NRRD, MHA, DICOM studies); or CSV or Parquet table with a column "source"',
    )
    parser.add_argument(
        "--output-dir", required=True, type=Path, metavar="DIR", help="gets cases/, tables/, report.html"
    )
    parser.add_argument(
        "--workers", type=whole_number(1, 100_000), metavar="N", help="processes (default: 3 per GPU, or by cores)"
    )
    parser.add_argument(
        "--threads", type=whole_number(1, 100_000), metavar="N", help="cores for each worker (default: up to 4)"
    )
    parser.add_argument(
        "--address", default="", metavar="HOST:PORT", help='a running Ray cluster; "auto" for this computer\'s'
    )
    add_run_options(parser, devices="auto, cpu, cuda, mps")
    parser.set_defaults(run=_cohort, cancelled="cancelled; run the same command again to resume")


def _cohort(parsed: argparse.Namespace) -> int:
    if os.name == "nt":
        raise RuntimeError("attention-unet cohort runs on Linux and macOS; attention-unet segment takes folders too")
    if any(find_spec(name) is None for name in NEEDED):
        raise RuntimeError(INSTALL)
    from ..cohort.inputs import find_cohort
    from ..cohort.ledger import TABLES, Ledger, check_output
    from ..cohort.report_page import write_report
    from ..cohort.tables import write_tables
    from .batch import check_writable
    from .cases import check_highdicom
    from .cohort_progress import showing
    from .console import say

    source, output = parsed.input.absolute(), parsed.output_dir.absolute()  # workers may have another current folder
    check_writable(output)
    check_output(output)
    if parsed.dicom:
        check_highdicom()
    cases = find_cohort(source, output, parsed.dicom)
    with closing(Ledger(output)) as ledger, showing(len(cases), parsed.quiet) as show:
        try:
            for ended in _ended_cases(parsed, cases):
                ledger.enter(ended)
                show(ended)
            if ledger.counts.total() < len(cases):
                raise OSError(f"the disk of {output} is full: make room, then run the same command again")
        except BaseException:
            if (output / TABLES).exists() and ledger.counts["done"]:
                tables = printable(parsed.output_dir / TABLES)
                print(f"{tables} and the report are of an earlier run, older than some cases", file=sys.stderr)
            raise
        write_tables(ledger.records(), output / TABLES)
        write_report(ledger.records(), output, printable(source.resolve().name))
    failed = ledger.counts["failed"]
    if not parsed.quiet:
        counts = f"{ledger.counts['done']} done, {ledger.counts['skipped']} done already, {failed} failed"
        for line in (counts, f"report: {parsed.output_dir / 'report.html'}", f"tables: {parsed.output_dir / TABLES}"):
            say(line)
    return 1 if failed else 0


def _cores() -> int:
    """CPU cores that this process may take: a share of a cluster's computer is not all of it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ended_cases(parsed: argparse.Namespace, cases: Sequence[Case]) -> Iterator[Ended]:
    """Run the cases on this computer, or on the cluster."""
    from ..cohort.connection import connected
    from ..cohort.driver import Driver
    from ..cohort.plan import plan_workers, takes_gpus
    from ..cohort.worker import Settings
    from ..inference.devices import choose_device
    from ..models.loading import load_model
    from ..models.store import find_model, list_models

    is_installed = parsed.model in {entry.name for entry in list_models()}
    model = parsed.model if is_installed else str(find_model(parsed.model).absolute())
    sha256 = load_model(model).spec.weights.sha256
    gpus = takes_gpus(parsed.device, parsed.backend)
    if gpus and not parsed.address:  # one that the engine cannot use must not set the number of workers
        gpus = choose_device(parsed.device, parsed.backend) != "cpu"
    asked_for = (parsed.workers or 1) * (parsed.threads or 1)
    with connected(parsed.address, max(asked_for, _cores())) as found:
        nodes = found if gpus else [replace(node, gpus=0) for node in found]
        plan = plan_workers(nodes, parsed.workers, parsed.threads)
        settings = Settings(model, sha256, options_of(parsed), parsed.overwrite, plan.threads)
        driver = Driver(settings, plan.gpus_each)
        with closing(driver.run(cases, plan.workers)) as ended_cases:
            for ended in ended_cases:
                if ended.outcome.result.error and disk_usage(parsed.output_dir).free < LOW_BYTES:
                    driver.stop()  # the others would fail like this one
                yield ended
