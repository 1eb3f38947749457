"""What became of the cases of a cohort: a line of ``ledger.jsonl`` for each that ends, and a record for the tables."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..command.batch import CaseResult, remove_abandoned
from ..command.cases import REPORT_FILE as CASE_REPORT
from ..command.cases import read_report
from ..errors import printable
from .driver import Ended
from .record import Record
from .report_page import REPORT_FILE, SHEETS
from .tables import check_report
from .worker import Outcome

LEDGER_FILE = "ledger.jsonl"
LOCK_FILE = ".cohort-lock"
TABLES = "tables"


def check_output(folder: Path) -> None:
    """Make sure that nothing of the user's own would be replaced.

    Raises:
        ValueError: If there is what a cohort would write, but no cohort's ledger.
    """
    foreign = [name for name in (REPORT_FILE, SHEETS, TABLES) if (folder / name).exists()]
    if foreign and not (folder / LEDGER_FILE).exists():
        raise ValueError(f"{folder} holds {foreign[0]}, which no cohort wrote: choose another output folder")


class Ledger:
    """The ledger of a cohort, which one process at a time writes.

    Args:
        folder: Where the cohort's results go; made if missing. What killed runs left there is removed.

    Raises:
        RuntimeError: If another process, on this computer or another, runs a cohort there.
        OSError: If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LEDGER_FILE
        self._ended: dict[str, Ended] = {}
        self.counts: Counter[str] = Counter()  # of cases by "done", "skipped" and "failed"
        self._lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)  # ends with the process, however it ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise RuntimeError(f"another attention-unet cohort writes to {folder}") from None
        except OSError:
            pass  # a file system without locks
        for place in (folder, folder / TABLES):
            remove_abandoned(place, older_than_seconds=0)
        if self._path.exists() and (text := self._path.read_bytes()) and not text.endswith(b"\n"):
            self._write("\n")  # a full disk cut the last line

    def close(self) -> None:
        """Let others write there."""
        os.close(self._lock)

    def enter(self, ended: Ended) -> None:
        """Note how a case ended.

        Raises:
            OSError: If the disk is full.
        """
        if ended.outcome.result.succeeded and not read_report(ended.case.folder):
            error = f"{ended.case.folder} has no report, as seen from here: do workers write to the same disk?"
            ended = _failed(ended, error)
        try:
            check_report(_record(ended))
        except ValueError as error:
            path = ended.case.folder / CASE_REPORT
            ended = _failed(ended, f"{path} was changed, or is another version's ({error}): delete it, and run again")
        result = ended.outcome.result
        status = result.as_json()["status"]
        self._ended[ended.case.name] = ended
        self.counts[status] += 1
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "case": printable(ended.case.name),
            "status": status,
            "attempts": ended.attempts,
            "seconds": ended.outcome.seconds,
        } | ({"error": result.error} if result.error else {})
        self._write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _write(self, text: str) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise OSError(f"{self._path} cannot be written: {error.strerror}") from error

    def records(self) -> Iterator[Record]:
        """The cases that have ended, by name; reports are read from disk, one at a time."""
        for _, ended in sorted(self._ended.items()):
            yield _record(ended)


def _failed(ended: Ended, error: str) -> Ended:
    return replace(ended, outcome=Outcome(CaseResult(ended.case, error=error)))


def _record(ended: Ended) -> Record:
    case, result = ended.case, ended.outcome.result
    report = read_report(case.folder) if result.succeeded else {}
    return Record(
        case=_storable(case.name),
        source=_storable(case.called),
        status="done" if result.succeeded else "failed",
        error=result.error,
        attempts=ended.attempts,
        report=report or None,
        series=report["input"].get("series", []) if report else list(ended.outcome.series),
    )


def _storable(name: str) -> str:
    """A name as it is, or, where it is no text that files can hold, as it is shown."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return printable(name)
    return name
