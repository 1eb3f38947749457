"""What the command shows on a terminal: progress, tables, warnings (rich)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..devices import device_name
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
            label = case.name if count == 1 else f"{case.name} ({number}/{count})"
            task = bar.add_task("reading", total=1.0, case=label)
            return lambda fraction, step: bar.update(task, completed=fraction, description=step)

        yield begin


def print_summary(outcomes: Sequence[CaseResult], spec: ModelSpec) -> None:
    """A table of organ volumes, the warnings, and where the results are."""
    from rich.console import Console

    console = Console()
    reports = [(outcome.case, outcome.report) for outcome in outcomes if outcome.report]
    if len(outcomes) == 1 and reports:
        _print_case(console, *reports[0])
    elif reports:
        _print_batch(console, reports)
    for case, report in reports:
        for warning in report["warnings"]:
            console.print(f"warning: {case.name}: {warning}", style="yellow", highlight=False, markup=False)
    skipped = sum(outcome.skipped for outcome in outcomes)
    failed = sum(not outcome.succeeded for outcome in outcomes)
    if len(outcomes) > 1 or skipped:
        console.print(f"{len(reports)} done, {skipped} done already (use --overwrite to repeat), {failed} failed")
    for outcome in outcomes:
        if outcome.case.taken and outcome.succeeded:
            text = f"note: the results of {outcome.case.source} are in {outcome.case.folder}, {outcome.case.taken}"
            console.print(text, highlight=False, soft_wrap=True, markup=False)
    if len(outcomes) == 1 and skipped:
        console.print(f"results: {outcomes[0].case.folder}", highlight=False, soft_wrap=True, markup=False)
    if reports:
        console.print(f"model {spec.name} {spec.version}: {spec.quality()}", highlight=False, style="dim", markup=False)


def _print_case(console: Any, case: Case, report: Mapping[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("organ", "volume (ml)", "mean (HU)", title=escape(case.name))
    for organ in report["organs"]:
        mean = "-" if organ["mean_hu"] is None else f"{organ['mean_hu']:.0f}"
        table.add_row(escape(organ["name"]), _volume_text(organ), mean)
    console.print(table)
    seconds = report["provenance"]["seconds"]
    device = f"{device_name(report['provenance']['device'])}, {report['provenance']['backend']}"
    network = seconds.get("running the network", 0.0)
    console.print(f"{seconds['total']:.1f} s ({device}; the network {network:.1f} s)", highlight=False)
    console.print(f"picture: {case.folder / 'overview.png'}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"results: {case.folder}", highlight=False, soft_wrap=True, markup=False)


def _volume_text(organ: Mapping[str, Any]) -> str:
    return f"{organ['volume_ml']:.1f}" if organ["found"] else "not found"


def _print_batch(console: Any, reports: Sequence[tuple[Case, Mapping[str, Any]]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    names = list(dict.fromkeys(organ["name"] for _, report in reports for organ in report["organs"]))
    table = Table("case", *(escape(f"{name} (ml)") for name in names), "seconds")
    for case, report in reports:
        volumes = {organ["name"]: _volume_text(organ) for organ in report["organs"]}
        seconds = report["provenance"]["seconds"]["total"]
        table.add_row(escape(case.name), *(volumes.get(name, "-") for name in names), f"{seconds:.1f}")
    console.print(table)


def print_models(models: Sequence[InstalledModel]) -> None:
    """List models with what they were trained on, measured figures and licence."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    if not models:
        console.print("no models")
    for entry in models:
        place = "in the package" if entry.packaged else str(entry.folder)
        console.print(f"{entry.name} ({place})", style="bold", markup=False)
        if entry.spec is None:
            console.print(f"  unusable: {entry.problem}", markup=False)
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
            console.print(f"  {title}: {text}", markup=False)


def print_descriptions(descriptions: Sequence[dict[str, Any]]) -> None:
    """Print what ``information.describe`` found, one block per volume."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    for description in descriptions:
        console.print(description["name"], style="bold", markup=False)
        for key, value in description.items():
            if key not in ("name", "warnings"):
                shown = " x ".join(f"{entry:g}" for entry in value) if isinstance(value, list) else value
                console.print(f"  {key}: {shown}", markup=False)
        for warning in description["warnings"]:
            console.print(f"  warning: {warning}", style="yellow", markup=False)
