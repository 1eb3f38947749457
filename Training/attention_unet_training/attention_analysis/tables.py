"""The analysis in numbers: CSV and JSON with every run, Markdown to read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from .analysis import Analysis
from .control import KINDS
from .metrics import MapMetrics, OrganAttention

COLUMNS = ("network", "step", "seed", "map", "mean", "std", "organ", "share", "volume_share", "enrichment", "auc")
EXPLANATION = """\
Inside the body only, against the reference labels (not a prediction). **Enrichment** is the share of a map's attention
mass (sum of coefficients) inside the organ, divided by the organ's share of the body's volume: 1 for a flat map.
**AUC** is the chance that a voxel of the organ has a higher coefficient than another of the body: 0.5 for a map that
knows nothing of it, however far its coefficients spread. Mean and standard deviation are those of the coefficients.

The control is the last network with randomised weights: *initial*, as a training begins, and *shuffled*, the trained
values of each weight tensor in random places; batch norms take the statistics of the case. It shows what architecture
and CT give without training: mean of {seeds} seeds (range). One case is an observation, no statistics.
"""


def to_csv(analysis: Analysis) -> str:
    """One row per network, map and organ; control runs are networks called "control: <kind>"."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(analysis))
    return text.getvalue()


def to_json(analysis: Analysis) -> str:
    """The case, and the same rows."""
    case = analysis.case
    content = {
        "ct": case.ct.name,
        "labels": case.reference.name,
        "organs": {name: list(values) for name, values in case.organs.items()},
        "position": {"organ": case.position_organ, "ras_mm": [round(x, 2) for x in case.position_ras_mm]},
        "rows": list(_rows(analysis)),
    }
    return json.dumps(content, indent=1) + "\n"


def to_markdown(analysis: Analysis) -> str:
    """Per network and control a table with a row per map; what lies beyond every control run is bold."""
    organs = list(analysis.case.organs)
    seeds = len({run.seed for run in analysis.controls})
    parts = [f"# Attention of the gates on {analysis.case.ct.name}\n", EXPLANATION.format(seeds=seeds)]
    for n, entry in enumerate(analysis.entries):
        parts.append(f"## {entry.label}\n")
        last = n == len(analysis.entries) - 1
        lines = [
            [name, f"{metrics.mean:.3f}", f"{metrics.std:.3f}"]
            + [_organ_cell(analysis, name, metrics, organ, mark=last) for organ in organs]
            for name, metrics in entry.metrics.items()
        ]
        heads = [f"{organ}: share / volume = enrichment; AUC" for organ in organs]
        parts.append(_table(["map", "mean", "std", *heads], lines))
    for kind in KINDS:
        parts.append(f"## Control: {kind} weights\n")
        runs = [run.metrics for run in analysis.controls if run.kind == kind]
        lines = [
            [name, _mean_range([run[name].mean for run in runs]), _mean_range([run[name].std for run in runs])]
            + [_control_cell([run[name].organs[organ] for run in runs]) for organ in organs]
            for name in runs[0]
        ]
        parts.append(_table(["map", "mean", "std", *(f"{organ}: enrichment; AUC" for organ in organs)], lines))
    parts.append(f"Bold in {analysis.entries[-1].label}: beyond every control run of that map and organ.\n")
    return "\n".join(parts)


def beyond(value: float, controls: Sequence[float]) -> bool:
    """Whether a value is higher than every control, or lower than every one."""
    return value > max(controls) or value < min(controls)


def _organ_cell(analysis: Analysis, name: str, metrics: MapMetrics, organ: str, mark: bool) -> str:
    one = metrics.organs[organ]
    controls = [run.metrics[name].organs[organ] for run in analysis.controls]
    enrichment, auc = f"{one.enrichment:.2f}", f"{one.auc:.2f}"
    if mark and beyond(one.enrichment, [control.enrichment for control in controls]):
        enrichment = f"**{enrichment}**"
    if mark and beyond(one.auc, [control.auc for control in controls]):
        auc = f"**{auc}**"
    return f"{100 * one.share:.2f} % / {100 * one.volume_share:.2f} % = {enrichment}; {auc}"


def _control_cell(controls: Sequence[OrganAttention]) -> str:
    enrichment = _mean_range([control.enrichment for control in controls])
    return f"{enrichment}; {_mean_range([control.auc for control in controls], 2)}"


def _rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    runs: list[tuple[str, int | None, int | None, dict[str, MapMetrics]]]
    runs = [(entry.title, entry.step, None, entry.metrics) for entry in analysis.entries]
    runs += [(f"control: {run.kind}", None, run.seed, run.metrics) for run in analysis.controls]
    for network, step, seed, metrics in runs:
        for name, one in metrics.items():
            for organ, inside in one.organs.items():
                yield {
                    "network": network,
                    "step": step,
                    "seed": seed,
                    "map": name,
                    "mean": round(one.mean, 6),
                    "std": round(one.std, 6),
                    "organ": organ,
                    "share": round(inside.share, 6),
                    "volume_share": round(inside.volume_share, 6),
                    "enrichment": round(inside.enrichment, 4),
                    "auc": round(inside.auc, 4),
                }


def _mean_range(values: Sequence[float], digits: int = 3) -> str:
    return f"{sum(values) / len(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
