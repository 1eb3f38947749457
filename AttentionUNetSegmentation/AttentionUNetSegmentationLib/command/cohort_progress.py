"""How far a cohort is: a bar on a terminal, a line each minute in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import printable

if TYPE_CHECKING:
    from ..cohort.driver import Ended

LINE_SECONDS = 60.0  # between lines where there is no terminal


class Pace:
    """Counts cases, and tells how fast they end.

    Args:
        total: Cases in all.
        now: When they begin, in seconds.
    """

    def __init__(self, total: int, now: float) -> None:
        self._total = total
        self._ended = self._failed = self._ran = 0
        self._began = now

    def count(self, ended: Ended) -> None:
        """Count a case; one that was done already says nothing about speed."""
        result = ended.outcome.result
        self._ended += 1
        self._failed += not result.succeeded
        self._ran += not result.skipped

    def line(self, now: float) -> str:
        """How far it is, how many an hour, and the time left."""
        text = f"{self._ended} of {self._total} cases, {self._failed} failed"
        if not self._ran:
            return text
        each = (now - self._began) / self._ran
        left = round(each * (self._total - self._ended))
        return f"{text}, {3600 / each:.0f} an hour, {left // 3600} h {left // 60 % 60:02} min {left % 60:02} s left"


@contextmanager
def showing(total: int, quiet: bool) -> Iterator[Callable[[Ended], None]]:
    """Show progress, and each error, on standard error.

    Args:
        total: Cases in all.
        quiet: Show errors only.

    Yields:
        To be called with each case that has ended.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
    is_live = console.is_terminal and not console.is_dumb_terminal and not quiet
    last_line = time.monotonic()
    pace = Pace(total, last_line)
    columns = BarColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console, transient=True, disable=not is_live) as bar:
        task = bar.add_task(pace.line(last_line), total=total)

        def show(ended: Ended) -> None:
            nonlocal last_line
            now = time.monotonic()
            pace.count(ended)
            if ended.outcome.result.error:
                console.print(f"error: {printable(ended.outcome.result.error)}")
            bar.update(task, advance=1, description=pace.line(now))
            if not (is_live or quiet) and now - last_line >= LINE_SECONDS:
                console.print(pace.line(now))
                last_line = now

        yield show
