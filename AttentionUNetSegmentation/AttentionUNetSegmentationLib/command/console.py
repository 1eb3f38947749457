"""What the command shows on a terminal: progress, tables, warnings (rich), all of it made printable.

Names of files and texts of models are foreign: nothing of them is markup, or steers the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..devices import backend_name, device_name
from ..errors import printable
from ..models.description import ModelSpec
from ..models.store import InstalledModel
from ..monitor import ProgressCallback
from .batch import CaseResult
from .cases import Case


@contextmanager
def progress_bar(count: int, show: bool) -> Iterator[Callable[[int, Case], ProgressCallback]]:
    """A bar for the case that runs, on a terminal's standard error only.

    Yields:
        What ``batch.run_cases`` calls for each case, with its number from 1: it gives the function to report to.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[case]}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as bar:

        def begin(number: int, case: Case) -> ProgressCallback:
            for task in bar.task_ids:
                bar.remove_task(task)
            label = printable(case.name if count == 1 else f"{case.name} ({number}/{count})")
            task = bar.add_task("reading", total=1.0, case=label)
            return lambda fraction, step: bar.update(task, completed=fraction, description=step)

        yield begin


def say(text: object, style: str = "") -> None:
    """Print a line as it is, in a colour if standard output is a terminal."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(printable(text), style=style or None)


def _print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    def cells(texts: Sequence[str]) -> list[Text]:
        return [Text(printable(text)) for text in texts]

    table = Table(*map(Column, cells(heads)), title=Text(printable(title)) if title else None)
    for row in rows:
        table.add_row(*cells(row))
    Console().print(table)


def print_summary(outcomes: Sequence[CaseResult], spec: ModelSpec) -> None:
    """A table of organ volumes, the warnings, and where the results are."""
    reports = [(outcome.case, outcome.report) for outcome in outcomes if outcome.report]
    if len(outcomes) == 1 and reports:
        _print_case(*reports[0])
    elif reports:
        _print_batch(reports)
    for case, report in reports:
        for warning in report["warnings"]:
            say(f"warning: {case.name}: {warning}", style="yellow")
    skipped = sum(outcome.skipped for outcome in outcomes)
    failed = sum(not outcome.succeeded for outcome in outcomes)
    if len(outcomes) > 1 or skipped:
        say(f"{len(reports)} done, {skipped} done already (use --overwrite to repeat), {failed} failed")
    for outcome in outcomes:
        if outcome.case.taken and outcome.succeeded:
            say(f"note: the results of {outcome.case.source} are in {outcome.case.folder}, {outcome.case.taken}")
    if len(outcomes) == 1 and skipped:
        say(f"results: {outcomes[0].case.folder}")
    if reports:
        say(f"model {spec.name} {spec.version}: {spec.quality()}", style="dim")


def _print_case(case: Case, report: Mapping[str, Any]) -> None:
    rows = [
        (organ["name"], _volume_text(organ), "-" if organ["mean_hu"] is None else f"{organ['mean_hu']:.0f}")
        for organ in report["organs"]
    ]
    _print_table(case.name, ("organ", "volume (ml)", "mean (HU)"), rows)
    provenance = report["provenance"]
    seconds = provenance["seconds"]
    device = f"{device_name(provenance['device'])}, {backend_name(provenance['backend'])}"
    say(f"{seconds['total']:.1f} s ({device}; the network {seconds.get('running the network', 0.0):.1f} s)")
    say(f"picture: {case.folder / 'overview.png'}")
    say(f"results: {case.folder}")


def _volume_text(organ: Mapping[str, Any]) -> str:
    return f"{organ['volume_ml']:.1f}" if organ["found"] else "not found"


def _print_batch(reports: Sequence[tuple[Case, Mapping[str, Any]]]) -> None:
    names = list(dict.fromkeys(organ["name"] for _, report in reports for organ in report["organs"]))
    rows = []
    for case, report in reports:
        volumes = {organ["name"]: _volume_text(organ) for organ in report["organs"]}
        seconds = report["provenance"]["seconds"]["total"]
        rows.append((case.name, *(volumes.get(name, "-") for name in names), f"{seconds:.1f}"))
    _print_table("", ("case", *(f"{name} (ml)" for name in names), "seconds"), rows)


def print_models(models: Sequence[InstalledModel]) -> None:
    """List models with what they were trained on, measured figures and licence."""
    if not models:
        say("no models")
    for entry in models:
        say(f"{entry.name} ({'in the package' if entry.packaged else entry.folder})", style="bold")
        if entry.spec is None:
            say(f"  unusable: {entry.problem}")
            continue
        spec = entry.spec
        organs = ", ".join(label.name for label in spec.labels)
        for title, text in (
            ("title", f"{spec.title}, version {spec.version}"),
            ("organs", organs),
            ("trained on", spec.origin()),
            ("measured", spec.quality()),
            ("intended use", spec.intended_use),
            ("licence", spec.licence),
        ):
            say(f"  {title}: {text}")


def print_descriptions(descriptions: Sequence[dict[str, Any]]) -> None:
    """Print what ``information.describe`` found, one block per volume, headed by its path."""
    for description in descriptions:
        say(description["path"], style="bold")
        for key, value in description.items():
            if key not in ("path", "name", "warnings"):
                shown = " x ".join(f"{entry:g}" for entry in value) if isinstance(value, list) else value
                say(f"  {key}: {shown}")
        for warning in description["warnings"]:
            say(f"  warning: {warning}", style="yellow")
