"""The command: ``make bench``, ``make bench BENCH="--parts forward"``."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import forward, pipeline, training
from .machine import SIZE, Rates, describe
from .tables import PARTS, render, with_tables

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the results; returns the exit status."""
    parsed = build_parser().parse_args(arguments)
    try:
        report = earlier(parsed.output)
        with_tables(parsed.docs, "")  # before minutes are spent
        for part in parsed.parts:
            report[part] = measure(part, parsed)
            parsed.output.parent.mkdir(parents=True, exist_ok=True)
            parsed.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            parsed.docs.write_text(with_tables(parsed.docs, render(report)), encoding="utf-8")
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{render(report)}\n\nwritten: {parsed.output}, {parsed.docs}")
    return 0


def earlier(output: Path) -> dict[str, Any]:
    """What was measured before.

    Raises:
        ValueError: If the file is not the suite's.
    """
    report = {}
    if output.exists():
        with suppress(ValueError):
            report = json.loads(output.read_text(encoding="utf-8"))
        if not (isinstance(report, dict) and report and set(report) <= set(PARTS)):
            raise ValueError(f"{output} was not written by the benchmark: choose another --output")
    return report


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="benchmark",
        description="Measure forward pass, whole pipeline and training step. What is not measured this time keeps "
        "its figures in the output file.",
    )
    add = parser.add_argument
    add("--parts", type=_parts, default=list(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    add(
        "--runs", type=_positive, default=2, help="processes for each figure; the fastest counts (default: %(default)s)"
    )
    add("--field", nargs=3, type=_positive, default=[96, 160, 160], metavar="N", help="voxels of the forward pass, KJI")
    add("--slices", nargs="+", type=_positive, default=[100, 240, 480, 1200], metavar="N", help="of the CTs")
    add(
        "--in-plane",
        type=_positive,
        default=512,
        metavar="N",
        help="rows and columns of the CTs (default: %(default)s)",
    )
    add("--patch", nargs=3, type=_positive, default=[80, 96, 96], metavar="N", help="voxels of the training step, KJI")
    add("--steps", type=_positive, default=4, help="training steps; the fastest counts (default: %(default)s)")
    add(
        "--matrix", type=_positive, default=SIZE, help="rows of the matrices that are multiplied (default: %(default)s)"
    )
    add("--output", type=Path, default=ROOT / "runs/bench/bench.json", help="JSON file (default: %(default)s)")
    add("--docs", type=Path, default=ROOT / "docs/performance.md", help="where the tables go (default: %(default)s)")
    return parser


def measure(part: str, parsed: argparse.Namespace) -> dict[str, Any]:
    """One part: the machine, the rates of its matrix products, and a row for each case."""
    machine, rates = describe(), Rates(parsed.matrix)
    with_bfloat16 = any(name.endswith("bf16") for name in machine["instructions"])
    if part == "forward":
        rows = forward.rows(parsed.field, parsed.runs, with_bfloat16, rates)
    elif part == "pipeline":
        rows = pipeline.rows(parsed.slices, parsed.in_plane, parsed.runs, rates)
    else:
        rows = training.rows(parsed.patch, parsed.steps, with_bfloat16, rates)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": date, "machine": machine, "options": options(part, parsed), "rates": rates.measured, "rows": rows}


def options(part: str, parsed: argparse.Namespace) -> str:
    """The options that repeat a part's measurement."""
    lists = {name: " ".join(map(str, getattr(parsed, name))) for name in ("field", "slices", "patch")}
    own = {
        "forward": f"--runs {parsed.runs} --field {lists['field']}",
        "pipeline": f"--runs {parsed.runs} --slices {lists['slices']} --in-plane {parsed.in_plane}",
        "training": f"--steps {parsed.steps} --patch {lists['patch']}",
    }
    return f"--parts {part} {own[part]} --matrix {parsed.matrix}"


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        raise argparse.ArgumentTypeError(f"must be some of {','.join(PARTS)}, got {unknown[0]!r}")
    return parts


if __name__ == "__main__":
    sys.exit(main())
