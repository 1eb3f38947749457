"""Metrics as files: a table of cases as CSV, everything as JSON, and the list that ``export --measured`` reads."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

from AttentionUNetSegmentationLib.atomic import write_text

from ..preparation.records import read_json
from .evaluation import Evaluation
from .metrics import METRICS
from .results import without_nan

METRIC_KEYS = (*(metric.key for metric in METRICS), "predicted_ml", "reference_ml", "volume_ratio", "false_island_ml")
CSV_HEADER = ("data", "system", "case", "patient", "organ", *METRIC_KEYS, "seconds", "error")


def cases_csv(evaluation: Evaluation) -> str:
    """One row per system, case and organ; undefined metrics are empty, and a failed case is a row with its error."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for outcome in evaluation.outcomes:
        head = (evaluation.data, outcome.column, outcome.case.id, outcome.case.patient)
        if outcome.result is None:
            writer.writerow([*head, "", *("" for _ in METRIC_KEYS), "", outcome.error])
            continue
        for organ, metrics in outcome.result.organs.items():
            values = [*(getattr(metrics, key) for key in METRIC_KEYS), outcome.result.seconds]
            writer.writerow([*head, organ, *("" if value is None else value for value in without_nan(values)), ""])
    return text.getvalue()


def evaluation_json(evaluation: Evaluation) -> str:
    """Everything that was measured, with summaries and comparisons; undefined metrics are null."""
    content = {
        "data": evaluation.data,
        "cleaned": evaluation.cleaned,
        "patients_named": evaluation.patients_named,
        "systems": [_system(evaluation, n) for n in range(len(evaluation.columns))],
        "comparisons": [
            {"first": evaluation.columns[0].title, "second": title, "organ": organ, "metric": key}
            | dataclasses.asdict(comparison)
            for title, organ, key, comparison in evaluation.comparisons
        ],
        "failures": [
            {"system": outcome.column, "case": outcome.case.id, "error": outcome.error}
            for outcome in evaluation.failures
        ],
    }
    return json.dumps(without_nan(content), indent=2, ensure_ascii=False) + "\n"


def _system(evaluation: Evaluation, number: int) -> dict[str, Any]:
    column = evaluation.columns[number]
    return {
        "title": column.title,
        "identity": column.identity,
        "trained_on": evaluation.seen(column.title),
        "parameters": column.parameters,
        "forward_time": dataclasses.asdict(column.forward) if column.forward else None,
        "summary": {
            organ: {
                metric.key: dataclasses.asdict(evaluation.summary(column.title, organ, metric.key))
                for metric in METRICS
            }
            for organ in evaluation.organs
        },
        "cases": [
            outcome.result.to_json() | {"patient": outcome.case.patient}  # a kept result may be older than its name
            for outcome in evaluation.outcomes
            if outcome.column == column.title and outcome.result
        ],
    }


def measurements(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Means as a model's list of measurements, with the hash of its weights.

    Metrics that no case has are left out, and organs that no reference shows: finding nothing there is no figure.

    Raises:
        ValueError: If more than one system was measured, or one that is no single network: a model's list holds its
            own metrics only. If it was trained on a case: its figures would say nothing of other CTs. If a case failed:
            they would be of the others.
    """
    if len(evaluation.columns) != 1:
        raise ValueError(f"the figures for export are those of one model, got {len(evaluation.columns)}")
    if seen := evaluation.seen(evaluation.columns[0].title):
        raise ValueError(f"the model was trained on {seen[0]}, or selected on it: no figures are kept for export")
    if evaluation.failures:
        raise ValueError(f"{len(evaluation.failures)} of the cases failed: no figures are kept for export")
    entries, (column,) = [], evaluation.columns
    if not column.weights:
        raise ValueError("figures for export are those of one network, not of label maps or one network for each fold")
    data = f"{evaluation.data}, without clean-up" if evaluation.cleaned is False else evaluation.data
    for organ in evaluation.organs:
        if not any(evaluation.values(column.title, organ, "reference_ml").values()):
            continue
        for metric in METRICS:
            summary = evaluation.summary(column.title, organ, metric.key)
            if summary.cases:
                entries.append(
                    {
                        "data": data,
                        "organ": organ,
                        "metric": metric.name,
                        "value": round(summary.mean, 4),
                        "cases": summary.cases,
                        "weights": column.weights,
                    }
                )
    return entries


def merge_measurements(path: Path, entries: list[dict[str, Any]]) -> None:
    """Add measurements to a JSON file; older ones on the same data are replaced, others stay.

    Raises:
        ValueError: If the file is there and no list of measurements; it is left as it is.
        OSError: If it cannot be read or written.
    """
    old = read_measurements(path)
    replaced = {entry["data"] for entry in entries}
    kept = [entry for entry in old if entry["data"] not in replaced]
    write_text(path, json.dumps([*kept, *entries], indent=2, ensure_ascii=False) + "\n")


def read_measurements(path: Path) -> list[dict[str, Any]]:
    """The measurements in a JSON file; none if it does not exist.

    Raises:
        ValueError: If it is no list of measurements.
    """
    if not path.exists():
        return []
    content = read_json(path)
    if not isinstance(content, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("data"), str) for entry in content
    ):
        raise ValueError(f"{path} is not a list of measurements, each with the name of its data")
    return content
