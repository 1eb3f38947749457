"""A whole evaluation: every system's metrics on every case, summarised and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from .comparison import Comparison, Summary, compare, holm, summarise
from .metrics import METRICS, OrganMetrics
from .runner import CaseMeasurement, ColumnInfo


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        data: What the cases are called together.
        columns: The systems, in the table's order; the first is what the others are compared with.
        outcomes: How each case ended with each system.
        cleaned: Whether the engine's clean-up was on; None if no network ran.
        patients_named: Whether it is known of all cases whose they are.
    """

    data: str
    columns: Sequence[ColumnInfo]
    outcomes: Sequence[CaseMeasurement]
    cleaned: bool | None = True
    patients_named: bool = True

    @cached_property
    def patients(self) -> dict[str, str]:
        """Case -> patient, of all cases."""
        return {outcome.case.id: outcome.case.patient for outcome in self.outcomes}

    @cached_property
    def organs(self) -> list[str]:
        """Organs that were measured, in the references' order."""
        measured = {organ for outcome in self.outcomes if outcome.result for organ in outcome.result.organs}
        listed = dict.fromkeys(organ for outcome in self.outcomes for organ in outcome.case.organs)
        return [organ for organ in listed if organ in measured]

    @property
    def failures(self) -> list[CaseMeasurement]:
        """Cases that could not be measured."""
        return [outcome for outcome in self.outcomes if outcome.error]

    def seen(self, title: str) -> list[str]:
        """Cases that a system was trained on or chosen by."""
        return [outcome.case.id for outcome in self.outcomes if outcome.column == title and outcome.seen]

    @cached_property
    def comparisons(self) -> list[tuple[str, str, str, Comparison]]:
        """(title, organ, metric's key, comparison with the first column), for every column but the first.

        Their p-values are corrected for their number: the table is the family of tests.
        """
        keys = [
            (column.title, organ, metric.key)
            for column in self.columns[1:]
            for organ in self.organs
            for metric in METRICS
        ]
        single = [self._compare(*key) for key in keys]
        corrected = holm([entry.p for entry in single])
        return [(*key, replace(entry, p_corrected=p)) for key, entry, p in zip(keys, single, corrected, strict=True)]

    def metrics_of(self, title: str, organ: str) -> dict[str, OrganMetrics]:
        """Case -> metrics of an organ, for the cases in which a system was measured on it."""
        return {
            outcome.case.id: outcome.result.organs[organ]
            for outcome in self.outcomes
            if outcome.column == title and outcome.result and organ in outcome.result.organs
        }

    def values(self, title: str, organ: str, key: str) -> dict[str, float]:
        """Case -> one metric; NaN where it is undefined."""
        return {case: getattr(metrics, key) for case, metrics in self.metrics_of(title, organ).items()}

    def summary(self, title: str, organ: str, key: str) -> Summary:
        """Mean, standard deviation and confidence interval of one metric."""
        return summarise(self.values(title, organ, key), self.patients)

    def compared(self, title: str, organ: str, key: str) -> Comparison:
        """A system against the first column."""
        return next(entry for *place, entry in self.comparisons if place == [title, organ, key])

    def _compare(self, title: str, organ: str, key: str) -> Comparison:
        first = self.values(self.columns[0].title, organ, key)
        return compare(first, self.values(title, organ, key), self.patients)
