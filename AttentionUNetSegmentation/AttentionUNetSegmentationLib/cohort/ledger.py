"""What became of the cases of a cohort: a line of ``ledger.jsonl`` for each that ends, and a record for the tables."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..command.cases import Case, read_report
from ..errors import printable
from .driver import Ended
from .record import Record

LEDGER_FILE = "ledger.jsonl"
LOCK_FILE = ".cohort-lock"


class Ledger:
    """The ledger of a cohort, which one process at a time writes.

    Args:
        folder: Where the cohort's results go; made if missing.

    Raises:
        RuntimeError: If another process, on this computer or another, runs a cohort there.
        OSError: If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LEDGER_FILE
        self._lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)  # ends with the process, however it ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise RuntimeError(f"another attention-unet cohort writes to {folder}") from None
        self._ended: dict[str, Ended] = {}
        self.counts: Counter[str] = Counter()  # of cases by "done", "skipped" and "failed"

    def close(self) -> None:
        """Let others write there."""
        os.close(self._lock)

    def enter(self, ended: Ended) -> None:
        """Note how a case ended.

        Raises:
            OSError: If the disk is full.
        """
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
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def records(self) -> Iterator[Record]:
        """The cases that have ended, by name; reports are read from disk, one at a time."""
        for _, ended in sorted(self._ended.items()):
            yield _record(ended.case, ended)


def _record(case: Case, ended: Ended) -> Record:
    result = ended.outcome.result
    report = read_report(case.folder) if result.succeeded else {}
    return Record(
        case=printable(case.name),
        source=printable(case.called),
        status="done" if result.succeeded else "failed",
        error=result.error,
        attempts=ended.attempts,
        report=report or None,
        series=report["input"].get("series", []) if report else list(ended.outcome.series),
    )
