"""What ``prepare`` shows on a terminal: progress, a table of the dataset, what was left out and why (rich)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from AttentionUNetSegmentationLib.command.console import say
from AttentionUNetSegmentationLib.errors import printable

from .case import CasePreparation
from .dataset import Prepared
from .prepared import PreparedDataset
from .splits import OFFICIAL, Drawn


@contextmanager
def progress_bar(total: int, show: bool) -> Iterator[Callable[[CasePreparation], None]]:
    """A bar over the cases; gives the function to call with each one that is finished."""
    console = Console(stderr=True)
    name = TextColumn("{task.fields[case]}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), name)
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task("", total=total, case="")
        yield lambda outcome: bar.update(task, advance=1, case=printable(outcome.id))


def print_summary(prepared: Prepared) -> None:
    """The dataset's organs in numbers, notes on cases, and every case that was left out with its reason."""
    dataset = prepared.dataset
    for remark in prepared.remarks:
        say(remark)
    for case in dataset.cases:
        for note in case.record.notes:
            say(f"note: {case.id}: {note}", "yellow")
    for entry in dataset.left_out:
        say(f"left out: {entry.id}: {entry.reason}", "red")
    Console(highlight=False).print(_organ_table(dataset))
    reused = sum(outcome.reused for outcome in prepared.outcomes)
    patients = len({case.patient for case in dataset.cases})
    say(
        f"{dataset.folder}: cases: {len(dataset.cases)} (there already: {reused}), patients: {patients}, "
        f"left out: {len(dataset.left_out)}"
    )


def print_splits(drawn: Sequence[Drawn]) -> None:
    """One line per split, with its counts."""
    for entry in drawn:
        for note in entry.notes:
            say(f"note: split {note}", "yellow")
        sizes = ", ".join(f"{len(fold.train)}/{len(fold.test)}" for fold in entry.split.folds)
        origin = "the source's own" if entry.split.kind == OFFICIAL else f"seed {entry.split.seed}"
        kept = sum(len(fold.validation) for fold in entry.split.folds)
        validation = f", {kept} for validation" if kept else ""
        say(f"split {entry.name} ({origin}): {sizes} training/test cases{validation}")


def _organ_table(dataset: PreparedDataset) -> Table:
    """Organ by organ: in how many cases it is labelled and seen, and how large it is."""
    spacing = " x ".join(f"{value:g}" for value in dataset.spacing_mm)
    table = Table("class", "organ", "labelled in", "seen in", "median (ml)", "range (ml)")
    table.title = escape(printable(f"{dataset.name}, {spacing} mm"))
    voxel_ml = float(np.prod(dataset.spacing_mm)) / 1000
    for number, organ in enumerate(dataset.organs, start=1):
        labelled = [case for case in dataset.cases if organ in case.labelled]
        volumes = [case.voxels[organ] * voxel_ml for case in labelled if case.voxels[organ]]
        median, span = (
            (f"{np.median(volumes):.1f}", f"{min(volumes):.1f}-{max(volumes):.1f}") if volumes else ("-", "-")
        )
        table.add_row(str(number), escape(printable(organ)), str(len(labelled)), str(len(volumes)), median, span)
    return table
