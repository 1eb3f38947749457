"""Means over cases, and the paired comparison of two systems."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import wilcoxon

MIN_PAIRS = 6  # with 5, the smallest two-sided p-value is 2 / 2^5 = 0.0625
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Summary:
    """A metric over cases.

    Attributes:
        mean: NaN if no case has it.
        std: Sample standard deviation (n - 1); NaN with fewer than two cases.
        cases: How many cases entered.
        undefined: How many were left out because the metric is undefined there (NaN).
    """

    mean: float
    std: float
    cases: int
    undefined: int


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same cases.

    Attributes:
        pairs: Cases in which both have the metric.
        difference: Mean of second minus first; NaN without pairs.
        p: Two-sided p-value of the Wilcoxon signed-rank test; NaN where it was refused.
        refusal: Why there is no p-value, or "".
    """

    pairs: int
    difference: float
    p: float
    refusal: str = ""

    @property
    def significant(self) -> bool:
        """Whether p < 0.05."""
        return self.p < SIGNIFICANT


def summarise(values: Sequence[float]) -> Summary:
    """Mean and standard deviation of the values that are not NaN."""
    defined = [value for value in values if not math.isnan(value)]
    mean = statistics.fmean(defined) if defined else math.nan
    std = statistics.stdev(defined) if len(defined) > 1 else math.nan
    return Summary(mean, std, len(defined), len(values) - len(defined))


def compare(first: Mapping[str, float], second: Mapping[str, float], patients: Mapping[str, str]) -> Comparison:
    """Compare two systems by the Wilcoxon signed-rank test, which takes cases as independent.

    Args:
        first: Case -> metric of one system; NaN for undefined.
        second: Case -> metric of the other.
        patients: Case -> patient; cases of one patient (or anatomy) are not independent.

    Returns:
        The comparison; without a p-value if cases share a patient, or fewer than six pairs are left or differ.
    """
    shared = [case for case in first if case in second and not math.isnan(first[case] + second[case])]
    differences = [second[case] - first[case] for case in shared]
    mean = statistics.fmean(differences) if differences else math.nan
    people = {patients[case] for case in shared}
    if len(people) < len(shared):
        of_whom = f"{len(people)} patient{'' if len(people) == 1 else 's'}"
        refusal = f"cases are not independent ({len(shared)} cases of {of_whom})"
        return Comparison(len(shared), mean, math.nan, refusal)
    if len(shared) < MIN_PAIRS:
        return Comparison(len(shared), mean, math.nan, f"fewer than {MIN_PAIRS} pairs ({len(shared)})")
    unequal = [difference for difference in differences if difference]  # equal pairs say nothing about a direction
    if not unequal:
        return Comparison(len(shared), mean, 1.0)
    if len(unequal) < MIN_PAIRS:
        return Comparison(len(shared), mean, math.nan, f"fewer than {MIN_PAIRS} pairs differ ({len(unequal)})")
    return Comparison(len(shared), mean, float(wilcoxon(unequal).pvalue))
