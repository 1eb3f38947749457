"""Every system on every case: measured, kept, shown; a case that fails does not stop the others."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from AttentionUNetSegmentationLib.errors import one_sentence, printable
from AttentionUNetSegmentationLib.volume import Grid, Volume

from ..masks import check_inside, resample_mask
from .cases import EvaluationCase
from .metrics import OrganMetrics, measure_organ
from .results import DEFINITION, CaseResult, ResultStore
from .systems import Column, Labelled, NetworkSystem, System
from .timing import ForwardTime, forward_time

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger("attention_unet")
CASE_ERRORS = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class CaseMeasurement:
    """How one case ended with one system: measured now, measured before, or failed with an error.

    Whether the system was trained on the case, or chosen by it, is told by ``seen``.
    """

    column: str
    case: EvaluationCase
    result: CaseResult | None = None
    error: str = ""
    resumed: bool = False
    seen: bool = False


@dataclass(frozen=True)
class ColumnInfo:
    """What a table says of a system, beside its metrics.

    Attributes:
        title: Heading of the column.
        identity: Which system it is.
        parameters: Trainable parameters; None if there is no network.
        forward: Forward time; None if it was not measured.
        weights: Hash of the weights file; "" if there is none, or another one for each fold.
    """

    title: str
    identity: str
    parameters: int | None = None
    forward: ForwardTime | None = None
    weights: str = ""


def run(
    columns: Sequence[Column],
    cases: Sequence[EvaluationCase],
    store: ResultStore,
    required: Collection[str] = (),
    time_runs: int = 0,
) -> tuple[list[CaseMeasurement], list[ColumnInfo]]:
    """Measure all columns on all cases.

    Args:
        columns: The systems.
        cases: The cases, those of a fold one after the other.
        store: Where results are kept and found again.
        required: Organs that every system must have.
        time_runs: Forward passes to time; 0 for none.

    Raises:
        ValueError: If a system cannot be opened or lacks a required organ.
    """
    outcomes, infos = [], []
    with _progress() as bar:
        task = bar.add_task("", total=len(columns) * len(cases), case="")
        for column in columns:
            system, fold = _opened(column, cases[0].fold, required), cases[0].fold
            infos.append(_info(column, system, time_runs))
            for case in cases:
                bar.update(task, case=printable(f"{column.title}: {case.id}"))
                if column.per_fold and case.fold != fold:
                    system, fold = _opened(column, case.fold, required), case.fold
                seen = isinstance(system, NetworkSystem) and system.has_seen(case)
                outcomes.append(dataclasses.replace(_measure(column.title, system, case, store), seen=seen))
                if outcomes[-1].error:
                    print(printable(f"error: {column.title}: {outcomes[-1].error}"), file=sys.stderr)
                bar.advance(task)
    return outcomes, infos


def measure_case(system: System, case: EvaluationCase) -> CaseResult:
    """Segment a case and measure it against its reference.

    Raises:
        ValueError: If the files do not belong together, more than a tenth of an organ lies outside a network's CT, or
            system and reference have no organ in common.
    """
    common = [organ for organ in case.organs if organ in system.organs]
    if not common:
        raise ValueError(
            f"{case.id}: the system finds {_listed(system.organs)}, the reference has {_listed(case.organs)}"
        )
    answer, reference = system.segment(case), case.read_reference()
    if isinstance(system, NetworkSystem):  # label maps that end too early miss the rest; a network was not shown it
        for organ in common:
            mask = np.isin(reference.voxels, case.organs[organ])
            check_inside(mask, reference.grid, answer.labels.grid, f"reference's {organ}", "the CT")
    organs = measure(answer, reference, case.organs, case.ignored)
    return CaseResult(case.id, case.patient, organs, answer.seconds, answer.warnings)


def measure(
    answer: Labelled, reference: Volume, organs: Mapping[str, Sequence[int]], ignored: Sequence[int] = ()
) -> dict[str, OrganMetrics]:
    """Metrics per organ, on the reference's grid.

    Args:
        answer: The system's label map; brought to the reference's grid if it has another, empty beyond its own.
        reference: Reference label map.
        organs: Organ -> its values in the reference; those that the system does not find are left out.
        ignored: Values in the reference whose voxels are left out of every metric.

    Raises:
        ValueError: If the two do not overlap.
    """
    grid = reference.grid
    left_out = np.isin(reference.voxels, ignored)
    _check_overlap(answer.labels, grid)
    metrics = {}
    for organ, values in organs.items():
        if organ in answer.values:
            found = np.isin(answer.labels.voxels, answer.values[organ])
            if not answer.labels.grid.same_as(grid):
                found = resample_mask(found, answer.labels.grid, grid)
            metrics[organ] = measure_organ(found, np.isin(reference.voxels, values), grid, left_out)
    return metrics


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    parts = (TextColumn("{task.fields[case]}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*parts, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)


def _measure(title: str, system: System, case: EvaluationCase, store: ResultStore) -> CaseMeasurement:
    try:
        fingerprint = {"definition": DEFINITION, "case": case.fingerprint(), "system": system.fingerprint(case)}
        kept = store.find(case.id, fingerprint)
        if kept is not None:
            return CaseMeasurement(title, case, kept, resumed=True)
        result = measure_case(system, case)
        store.keep(result, fingerprint)
        return CaseMeasurement(title, case, result)
    except CASE_ERRORS as error:
        logger.debug("case %s failed", case.id, exc_info=True)
        message = one_sentence(error)
        known = isinstance(error, ValueError | OSError | RuntimeError | MemoryError)
        return CaseMeasurement(
            title, case, error=f"{case.id}: {message if known else f'{type(error).__name__}: {message}'}"
        )


def _opened(column: Column, fold: int, required: Collection[str]) -> System:
    system = column.open(fold)
    missing = [organ for organ in required if organ not in system.organs]
    if missing:
        raise ValueError(f"{column.title}: the model has no organ {missing[0]!r}; it has {_listed(system.organs)}")
    return system


def _info(column: Column, system: System, time_runs: int) -> ColumnInfo:
    if not isinstance(system, NetworkSystem):
        return ColumnInfo(column.title, system.identity)
    timed = forward_time(system, time_runs) if time_runs else None
    weights = "" if column.per_fold else system.model.spec.weights.sha256
    identity = f"one network for each fold, the first {system.identity}" if column.per_fold else system.identity
    return ColumnInfo(column.title, identity, system.parameters, timed, weights)


def _check_overlap(labels: Volume, grid: Grid) -> None:
    middle = grid.corners_ras_mm().mean(axis=0)
    ijk = labels.grid.ijk_of(middle)
    if (ijk < -0.5).any() or (ijk > np.array(labels.voxels.shape[::-1]) - 0.5).any():
        where = ", ".join(f"{x:.0f}" for x in middle)
        raise ValueError(
            f"the reference's middle, RAS ({where}) mm, lies outside the segmentation: does it belong to this CT?"
        )


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "nothing"
