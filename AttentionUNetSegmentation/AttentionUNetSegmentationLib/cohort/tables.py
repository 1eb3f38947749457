"""The tables of a cohort: organs, cases and DICOM series, each as Parquet and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import move_into_place, scratch_folder
from ..errors import printable
from .findings import attention_shares, organ_findings
from .record import Record

if TYPE_CHECKING:
    import pyarrow

FORMULA_STARTS = ("=", "+", "-", "@")  # what makes a spreadsheet compute a text
SECONDS = {f"seconds_{part}": "float64" for part in ("reading", "network", "total", "writing")}
RUN = {
    **SECONDS,
    **dict.fromkeys(("device", "backend", "engine_version", "model", "model_version"), "string"),
    **dict.fromkeys(("model_sha256", "voxels_sha256", "labels_sha256"), "string"),
}
ORGANS = {
    **dict.fromkeys(("case", "source", "organ"), "string"),
    "value": "int64",
    "found": "bool",
    "voxels": "int64",
    **dict.fromkeys(("volume_ml", "mean_hu"), "float64"),
    **{f"centroid_{axis}_mm": "float64" for axis in "ras"},
}
CASES = {
    **dict.fromkeys(("case", "source", "status", "error"), "string"),
    "attempts": "int64",
    **{f"shape_{axis}": "int64" for axis in "kji"},
    **{f"spacing_{axis}_mm": "float64" for axis in "ijk"},
    "warning_count": "int64",
    "warnings": "string",
    **RUN,
}
SERIES = {
    **dict.fromkeys(("case", "source", "series_uid", "modality", "description"), "string"),
    "images": "int64",
    "used": "bool",
    "reason": "string",
}


def write_tables(records: Iterable[Record], folder: Path) -> None:
    """Write ``organs``, ``cases`` and ``series``, each as Parquet and as CSV, in exchange for earlier ones.

    ``organs`` has a row per case and organ, found or not; ``cases`` a row per case, done or failed; ``series`` a row
    per DICOM series, used or not. What is not known is null in Parquet and empty in CSV. Numbers are those of the
    reports, to the last digit. A line break or control character in a text is written as ``\\n`` and the like.

    CSV is RFC 4180 in UTF-8, with the byte order mark that Excel needs (``utf-8-sig`` in Python, ``UTF-8-BOM`` in R).
    Names of files are foreign, and a spreadsheet computes what begins with = + - @: in CSV such texts get an
    apostrophe in front. In Parquet they do not, so match cases by Parquet.

    Args:
        records: The cases; read once.
        folder: Where the tables go; made if missing.

    Raises:
        OSError: If they cannot be written; what was there before is untouched.
    """
    organs: list[dict[str, Any]] = []
    cases: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    gates: dict[str, None] = {}  # of all reports, in order
    for record in records:
        cases.append(_case_row(record))
        series += [{"case": record["case"], "source": record["source"], **entry} for entry in record["series"]]
        if record["report"]:
            organs += _organ_rows(record, record["report"])
            gates |= dict.fromkeys(record["report"]["attention"])
    shares = {column: "float64" for gate in gates for column in _share_columns(gate)}
    with scratch_folder(folder) as scratch:
        _write(scratch / "organs", organs, {**ORGANS, **shares, "warnings": "string", **RUN})
        _write(scratch / "cases", cases, CASES)
        _write(scratch / "series", series, SERIES)
        move_into_place(scratch, folder)


def check_report(record: Record) -> None:
    """Make sure that a case's report says what tables and report page need.

    Raises:
        ValueError: If not, as somebody has changed it; the message says what is amiss.
    """
    try:
        _case_row(record)
        if record["report"]:
            list(_organ_rows(record, record["report"]))
        organ_findings([record])
        attention_shares([record])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _case_row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {name: record[name] for name in ("case", "source", "status", "error", "attempts")}
    report = record["report"]
    if not report:
        return row
    return {
        **row,
        **dict(zip(("shape_k", "shape_j", "shape_i"), report["input"]["shape_kji"], strict=True)),
        **dict(zip(("spacing_i_mm", "spacing_j_mm", "spacing_k_mm"), report["input"]["spacing_mm"], strict=True)),
        "warning_count": len(report["warnings"]),
        "warnings": _joined(report["warnings"]),
        **_run(report),
    }


def _organ_rows(record: Record, report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {
        "case": record["case"],
        "source": record["source"],
        "warnings": _joined(report["warnings"]),
        **_run(report),
    }
    for organ in report["organs"]:
        r, a, s = organ["centroid_ras_mm"] or (None, None, None)
        shares = {
            column: gate[kind].get(organ["name"])
            for name, gate in report["attention"].items()
            for column, kind in zip(_share_columns(name), ("share", "volume_share"), strict=True)
        }
        place = {"centroid_r_mm": r, "centroid_a_mm": a, "centroid_s_mm": s}
        yield {**shared, **organ, "organ": organ["name"], **place, **shares}


def _share_columns(gate: str) -> tuple[str, str]:
    return f"attention_share_{gate}", f"attention_volume_share_{gate}"


def _run(report: dict[str, Any]) -> dict[str, Any]:
    """The columns of ``RUN``."""
    provenance, files = report["provenance"], report["seconds_files"]
    names = ("device", "backend", "engine_version", "model", "model_version", "model_sha256")
    return {
        "seconds_reading": files.get("reading"),
        "seconds_network": provenance["seconds"]["running the network"],
        "seconds_total": provenance["seconds"]["total"],
        "seconds_writing": files["writing"],
        **{name: provenance[name] for name in names},
        "voxels_sha256": report["input"]["voxels_sha256"],
        "labels_sha256": report["sha256"]["labels.nii.gz"],
    }


def _joined(warnings: list[str]) -> str:
    return " | ".join(warnings)


def _write(path: Path, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """Write ``path``.parquet and ``path``.csv; keys of rows that are no columns are left out."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in columns.items()])
    shown = [{name: _shown(row.get(name)) for name in columns} for row in rows]
    table = pyarrow.Table.from_pylist(shown, schema=schema)
    parquet.write_table(table, path.with_suffix(".parquet"))
    _write_csv(path.with_suffix(".csv"), table)


def _write_csv(path: Path, table: pyarrow.Table) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(table.column_names)
        for batch in table.to_batches():
            writer.writerows([_cell(value) for value in row.values()] for row in batch.to_pylist())


def _shown(value: object) -> object:
    return printable(value) if isinstance(value, str) and not value.isprintable() else value


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
