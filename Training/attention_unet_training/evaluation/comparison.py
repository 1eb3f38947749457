"""Means over cases with confidence intervals, the paired comparison of two systems, and Holm's correction."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata, t, wilcoxon

MIN_PAIRS = 6  # with 5, the smallest two-sided p-value is 2 / 2^5 = 0.0625
SIGNIFICANT = 0.05
RESAMPLES = 5000
UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True)
class Summary:
    """A metric over cases.

    Attributes:
        mean: NaN if no case has it.
        std: Sample standard deviation (n - 1); NaN with fewer than two cases.
        cases: How many cases entered.
        undefined: How many were left out because the metric is undefined there (NaN).
        interval: 95 % confidence interval of the mean, see ``interval``.
    """

    mean: float
    std: float
    cases: int
    undefined: int
    interval: tuple[float, float] = UNKNOWN


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same cases.

    Attributes:
        pairs: Cases in which both have the metric.
        difference: Mean of second minus first; NaN without pairs.
        interval: 95 % confidence interval of the difference, see ``interval``.
        p: Two-sided p-value of the Wilcoxon signed-rank test; NaN where it was refused.
        p_corrected: The same, corrected for all tests that it is one of, see ``holm``.
        ranks: Rank sum of the test's positive differences minus that of its negative ones.
        refusal: Why there is no p-value, or "".
    """

    pairs: int
    difference: float
    interval: tuple[float, float]
    p: float
    p_corrected: float
    ranks: float
    refusal: str = ""

    @property
    def direction(self) -> int:
        """1 if the second system's values are higher with corrected p < 0.05, -1 if they are lower, else 0.

        0 also where ranks and mean disagree: a single case that failed can turn the mean, but not the test.
        """
        if not self.p_corrected < SIGNIFICANT or self.ranks * self.difference <= 0:
            return 0
        return 1 if self.ranks > 0 else -1


def summarise(values: Mapping[str, float], patients: Mapping[str, str]) -> Summary:
    """Mean, standard deviation and confidence interval of the values that are not NaN.

    Args:
        values: Case -> metric.
        patients: Case -> patient.
    """
    defined = {case: value for case, value in values.items() if not math.isnan(value)}
    mean = statistics.fmean(defined.values()) if defined else math.nan
    std = statistics.stdev(defined.values()) if len(defined) > 1 else math.nan
    return Summary(mean, std, len(defined), len(values) - len(defined), interval(defined, patients))


def interval(values: Mapping[str, float], patients: Mapping[str, str]) -> tuple[float, float]:
    """95 % confidence interval of the mean over cases: percentile bootstrap, in which patients are drawn.

    Percentiles are those of Hesterberg 2015 (Am. Stat. 69:371-386, "expanded"), as 2.5 and 97.5 make the interval of a
    few patients too narrow; it remains so for skewed values.

    Args:
        values: Case -> value, none of them NaN.
        patients: Case -> patient; all cases of one are drawn together.

    Returns:
        Lower and upper limit, the same at every call; NaN with fewer than six patients, whom it would flatter.
    """
    people = sorted({patients[case] for case in values})
    if len(people) < MIN_PAIRS:
        return UNKNOWN
    sums, counts = np.zeros((2, len(people)))
    for case, value in sorted(values.items()):
        number = people.index(patients[case])
        sums[number] += value
        counts[number] += 1
    drawn = np.random.default_rng(0).integers(len(people), size=(RESAMPLES, len(people)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    n = len(people)
    below = 100 * norm.cdf(t.ppf(0.025, n - 1) * math.sqrt(n / (n - 1)))
    low, high = np.percentile(means, (below, 100 - below))
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979, Scand. J. Stat. 6:65-70); NaN, which is no test, stays.

    If those below 0.05 are called significant, the chance of any wrong call among them is at most 0.05.
    """
    tests = sorted((p, n) for n, p in enumerate(p_values) if not math.isnan(p))
    corrected, highest = list(p_values), 0.0
    for rank, (p, n) in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - rank) * p))
        corrected[n] = highest
    return corrected


def compare(first: Mapping[str, float], second: Mapping[str, float], patients: Mapping[str, str]) -> Comparison:
    """Compare two systems by the Wilcoxon signed-rank test, which takes cases as independent.

    Args:
        first: Case -> metric of one system; NaN for undefined.
        second: Case -> metric of the other.
        patients: Case -> patient; cases of one patient (or anatomy) are not independent.

    Returns:
        The comparison; without a p-value if cases share a patient, or fewer than six pairs are left or differ. Its
        corrected p-value is that of a single test.
    """
    shared = [case for case in first if case in second and not math.isnan(first[case] + second[case])]
    differences = {case: second[case] - first[case] for case in shared}
    mean = statistics.fmean(differences.values()) if differences else math.nan
    p, refusal = _p_value(list(differences.values()), len({patients[case] for case in shared}))
    unequal = np.array([difference for difference in differences.values() if difference])
    ranks = float((rankdata(np.abs(unequal)) * np.sign(unequal)).sum())
    return Comparison(len(shared), mean, interval(differences, patients), p, p, ranks, refusal)


def _p_value(differences: Sequence[float], patients: int) -> tuple[float, str]:
    """The p-value, or NaN and why there is none."""
    pairs = len(differences)
    if patients < pairs:
        of_whom = f"{patients} patient{'' if patients == 1 else 's'}"
        return math.nan, f"cases are not independent ({pairs} cases of {of_whom})"
    if pairs < MIN_PAIRS:
        return math.nan, f"fewer than {MIN_PAIRS} pairs ({pairs})"
    unequal = [difference for difference in differences if difference]  # equal pairs say nothing about a direction
    if not unequal:
        return 1.0, ""
    if len(unequal) < MIN_PAIRS:
        return math.nan, f"fewer than {MIN_PAIRS} pairs differ ({len(unequal)})"
    return float(wilcoxon(unequal).pvalue), ""
