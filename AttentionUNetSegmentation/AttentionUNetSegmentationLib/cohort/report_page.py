"""The report of a cohort: a page that says what ran, what was measured and what to look at, and contact sheets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..atomic import move_into_place, scratch_folder
from ..command.report import DISCLAIMER
from ..devices import backend_name, device_name
from ..errors import printable
from .findings import attention_shares, missing_by_case, organ_findings, outliers_by_case
from .kinds import EXAMPLES, kinds_of
from .record import Record
from .spread import FAR_OUT

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
REPORT_FILE = "report.html"
SHEETS = "contact_sheets"
PER_SHEET = 24
MOST_SHOWN = 60  # of each list of the page
MOST_WARNED = 12


def write_report(records: Iterable[Record], folder: Path, title: str) -> None:
    """Write ``report.html`` and ``contact_sheets/001.html`` ..., in exchange for earlier ones.

    The pages need no network and no script. They show each case's ``cases/<case>/overview.png``, beside them.

    Args:
        records: The cases.
        folder: Where the pages go and the cases' folders are; made if missing.
        title: What the cohort is called.

    Raises:
        OSError: If they cannot be written; what was there before is untouched.
    """
    records = list(records)
    measured = [record for record in records if record["report"]]
    sheets = [measured[start : start + PER_SHEET] for start in range(0, len(measured), PER_SHEET)]
    names = [f"{number:03d}.html" for number in range(1, len(sheets) + 1)]
    environment = _environment()
    environment.globals |= {"title": title, "disclaimer": DISCLAIMER, "report_file": REPORT_FILE}
    with scratch_folder(folder) as scratch:
        page = environment.get_template("report.html").render(_contents(records, measured), sheets=names)
        (scratch / REPORT_FILE).write_text(page, encoding="utf-8")
        (scratch / SHEETS).mkdir()
        template = environment.get_template("contact_sheet.html")
        for number, (name, shown) in enumerate(zip(names, sheets, strict=True)):
            page = template.render(records=shown, names=names, number=number)
            (scratch / SHEETS / name).write_text(page, encoding="utf-8")
        move_into_place(scratch, folder, last=REPORT_FILE)


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"address": _address, "number": _number}
    return environment


def _contents(records: list[Record], measured: list[Record]) -> Mapping[str, Any]:
    """What ``report.html`` shows."""
    reports = [record["report"] for record in measured if record["report"]]
    organs = organ_findings(measured)
    warned = [(record["case"], report["warnings"]) for record, report in zip(measured, reports, strict=True)]
    unused = [(record, series) for record in records for series in record["series"] if not series["used"]]
    return {
        "statuses": Counter(record["status"] for record in records),
        "runs": Counter(_run(report) for report in reports).most_common(),
        "dates": sorted(report["provenance"]["date"][:10] for report in reports),
        "organs": organs,
        "shares": attention_shares(measured),
        "gates": list(dict.fromkeys(gate for report in reports for gate in report["attention"])),
        "outliers": outliers_by_case(organs),
        "missing": missing_by_case(organs),
        "warned": sorted(((case, texts) for case, texts in warned if texts), key=lambda entry: -len(entry[1])),
        "failures": kinds_of((record, record["error"]) for record in records if record["status"] == "failed"),
        "warnings": kinds_of(
            (record, text) for record, report in zip(measured, reports, strict=True) for text in report["warnings"]
        ),
        "series": sum(len(record["series"]) for record in records),
        "unused": kinds_of((record, series["reason"]) for record, series in unused),
        "most_examples": EXAMPLES,
        "most_shown": MOST_SHOWN,
        "most_warned": MOST_WARNED,
        "far_out": FAR_OUT,
    }


def _run(report: dict[str, Any]) -> tuple[str, ...]:
    """Model, its version and measured figures, the engine's version, device and backend."""
    provenance = report["provenance"]
    shown = device_name(provenance["device"]), backend_name(provenance["backend"])
    names = ("model", "model_version")
    return (*(provenance[name] for name in names), report["model_quality"], provenance["engine_version"], *shown)


def _shown(value: object) -> object:
    """Foreign text made printable; what is HTML already stays."""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else printable(value)


def _address(case: str) -> str:
    """Where a case's folder is, relative to the report, as a URL."""
    return f"cases/{quote(case)}/"


def _number(value: float, digits: int = 0, sign: bool = False) -> str:
    """A number to read: narrow spaces between thousands, and a minus sign."""
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace(",", "\u202f").replace("-", "\N{MINUS SIGN}")
