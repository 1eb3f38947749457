"""The measurements as Markdown, and where it stands in a document."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .forward import OPENVINO
from .networks import PRODUCT
from .training import PLAIN

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
NETWORK_STEP = "running the network"
Row = Mapping[str, Any]


def render(report: Mapping[str, Row]) -> str:
    """All parts that were measured, one below the other."""
    return "\n\n".join(
        f"### {title}\n\n{_circumstances(report[part])}\n\n{table(report[part]['rows'], best_rate(report[part]))}"
        for part, (title, table) in PARTS.items()
        if part in report
    )


def with_tables(document: Path, text: str) -> str:
    """A document with a text between its two markers.

    Raises:
        ValueError: If it does not have them.
    """
    before = document.read_text(encoding="utf-8")
    after, count = re.subn(f"(?s){BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}\n{END}", before)
    if count != 1:
        raise ValueError(f"{document} needs the markers {BEGIN} and {END}, in that order")
    return after


def forward_table(rows: Sequence[Row], rate: float) -> str:
    """Forward passes: seconds, and against each network's own floor and the product's way."""
    reference = next((row for row in rows if (row["network"], row["way"]) == (PRODUCT, OPENVINO)), None)
    product = fastest(reference, "second") if reference else math.nan
    lines = []
    for row in rows:
        first, second, floor = fastest(row, "first"), fastest(row, "second"), row["gflop"] / rate
        lines.append(
            [
                row["network"],
                row["way"],
                f"{row['parameters'] / 1e6:.2f}",
                f"{row['gflop']:.0f}",
                f"{first:.2f}",
                f"{second:.2f}",
                f"{first / floor:.2f}",
                f"{second / floor:.2f}",
                _ratio(second, product),
                f"{max(run['peak_gb'] for run in row['runs']):.1f}",
            ]
        )
    head = "network | run by | million parameters | GFLOP | first run, s | second run, s"
    return _table(f"{head} | first / floor | second / floor | second / ours | GB", lines)


def pipeline_table(rows: Sequence[Row], rate: float) -> str:
    """Whole pipeline: a column for each size, a line for each step, first run and fastest later one."""
    lines = [
        [step, *(_first_later([run["steps"].get(step, 0.0) for run in row["runs"]], "{:.1f}") for row in rows)]
        for step in rows[0]["runs"][0]["steps"]
    ]
    figures: dict[str, Callable[[Row], str]] = {
        "**whole command**": lambda row: _first_later([run["whole"] for run in row["runs"]], "{:.1f}"),
        "peak memory, GB": lambda row: f"{max(run['peak_gb'] for run in row['runs']):.1f}",
        "voxels of the network": lambda row: " x ".join(map(str, row["runs"][0]["network_grid_kji"])),
        "network run": lambda row: "{backend}, {passes}".format(**row["runs"][0]),
        "network / floor": lambda row: _first_later(
            [run["steps"][NETWORK_STEP] * rate / row["gflop"] for run in row["runs"]], "{:.2f}"
        ),
        "SimpleITK: read the CT, write the files, s": lambda row: "{reading:.1f} + {writing:.1f}".format(
            **row["simpleitk"]
        ),
        "steps but the network / SimpleITK": lambda row: _first_later(
            [rest(run) / sum(row["simpleitk"].values()) for run in row["runs"]], "{:.2f}"
        ),
    }
    lines += [[name, *map(figure, rows)] for name, figure in figures.items()]
    sizes = [" x ".join(map(str, row["shape_kji"][::-1])) for row in rows]
    return _table(" | ".join(["seconds of the first / a later run", *sizes]), lines)


def training_table(rows: Sequence[Row], rate: float) -> str:
    """Training steps: seconds, and against the plain loop of the same precision; ``rate`` is not needed."""
    plain = {row["precision"]: min(row["seconds"]) for row in rows if row["way"] == PLAIN}
    lines = [
        [
            row["precision"],
            row["way"],
            f"{min(row['seconds']):.2f}",
            _ratio(min(row["seconds"]), plain.get(row["precision"], math.nan)),
            f"{row['peak_gb']:.1f}",
        ]
        for row in rows
    ]
    return _table("precision | run by | a step, s | step / plain | GB", lines)


PARTS: dict[str, tuple[str, Callable[[Sequence[Row], float], str]]] = {
    "forward": ("Forward pass", forward_table),
    "pipeline": ("Whole pipeline", pipeline_table),
    "training": ("Training step", training_table),
}


def best_rate(part: Row) -> float:
    """The best rate of a matrix product while a part was measured, in GFLOP/s: the floor of all its figures."""
    return max(max(rates.values()) for rates in part["rates"])


def fastest(row: Row, which: str) -> float:
    """The fastest of a case's first or second runs: what else a machine does only adds time."""
    return min(run[which] for run in row["runs"])


def rest(run: Row) -> float:
    """Seconds of all steps of a segmentation but the network's, files included."""
    return sum(seconds for step, seconds in run["steps"].items() if step != NETWORK_STEP)


def _circumstances(part: Row) -> str:
    """One paragraph on when, where and how a part was measured."""
    machine, worst = part["machine"], min(max(rates.values()) for rates in part["rates"])
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{part['date']}, {machine['cpu']}, {machine['cores']} cores ({', '.join(machine['instructions'])}), "
        f"{machine['memory_gb']:.0f} GB, {machine['system']}; {versions}. Matrix product: {worst:.0f} to "
        f'{best_rate(part):.0f} GFLOP/s. `make bench BENCH="{part["options"]}"`'
    )


def _first_later(values: Sequence[float], form: str) -> str:
    """The first value and the least of the others."""
    return " / ".join(form.format(value) for value in [values[0], *([min(values[1:])] if values[1:] else [])])


def _ratio(seconds: float, reference: float) -> str:
    return "" if math.isnan(reference) else f"{seconds / reference:.2f}"


def _table(head: str, lines: Sequence[Sequence[str]]) -> str:
    rule = "|".join("---" for _ in head.split(" | "))
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {' | '.join(line)} |" for line in lines)])
