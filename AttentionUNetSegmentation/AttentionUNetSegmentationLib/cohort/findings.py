"""What a cohort's reports say together: organs, attention, and the cases to look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from .record import Record
from .spread import FAR_OUT, Spread, robust_z, spread_of

HALF_DIGIT_ML = 0.0005  # reports round to 0.001 ml, and a volume of 0 has no logarithm


@dataclass(frozen=True)
class Outlier:
    """A value that lies far from those of the other cases.

    Attributes:
        case: Where it was measured.
        organ: Of which organ.
        measure: "volume" or "mean HU".
        value: In ml or HU.
        median: Of all cases, in the same unit.
        z: ``robust_z`` of the value, or of its logarithm for a volume.
    """

    case: str
    organ: str
    measure: str
    value: float
    median: float
    z: float


@dataclass
class OrganFindings:
    """An organ in all cases.

    Attributes:
        name: "pancreas", "right kidney" ...
        cases: Number of cases that looked for it: without sides, kidneys are one organ.
        missing: The cases in which it was not found.
        volume_ml: How its volumes spread; None if it was never found.
        mean_hu: How its mean HU spread; None if never found.
        outliers: Values that lie far out.
    """

    name: str
    cases: int
    missing: list[str]
    volume_ml: Spread | None = None
    mean_hu: Spread | None = None
    outliers: list[Outlier] = field(default_factory=list)


def organ_findings(records: Iterable[Record]) -> list[OrganFindings]:
    """Every organ of the reports, in their order."""
    measured: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for record in records:
        for organ in record["report"]["organs"] if record["report"] else ():
            measured[organ["name"]].append((record["case"], organ))
    return [_findings(name, entries) for name, entries in measured.items()]


def _findings(name: str, entries: Sequence[tuple[str, dict[str, Any]]]) -> OrganFindings:
    found = [(case, organ) for case, organ in entries if organ["found"]]
    result = OrganFindings(name, len(entries), [case for case, organ in entries if not organ["found"]])
    if not found:
        return result
    cases = [case for case, _ in found]
    volumes = [organ["volume_ml"] for _, organ in found]
    densities = [organ["mean_hu"] for _, organ in found]
    z_volume = robust_z(np.log(np.maximum(volumes, HALF_DIGIT_ML)))
    z_density = robust_z(densities)
    result.volume_ml, result.mean_hu = spread_of(volumes, z_volume), spread_of(densities, z_density)
    for measure, values, z, spread in (
        ("volume", volumes, z_volume, result.volume_ml),
        ("mean HU", densities, z_density, result.mean_hu),
    ):
        result.outliers += [
            Outlier(cases[n], name, measure, values[n], spread.median, float(z[n]))
            for n in np.flatnonzero(np.abs(z) > FAR_OUT)
        ]
    return result


def outliers_by_case(organs: Iterable[OrganFindings]) -> list[tuple[str, list[Outlier]]]:
    """Each case with outliers, the farthest out first, and so are a case's own."""
    by_case: dict[str, list[Outlier]] = defaultdict(list)
    for outlier in sorted((o for organ in organs for o in organ.outliers), key=lambda o: -abs(o.z)):
        by_case[outlier.case].append(outlier)
    return list(by_case.items())


def missing_by_case(organs: Iterable[OrganFindings]) -> list[tuple[str, list[str]]]:
    """Each case in which organs were not found, those that lack most first."""
    by_case: dict[str, list[str]] = defaultdict(list)
    for organ in organs:
        for case in organ.missing:
            by_case[case].append(organ.name)
    return sorted(by_case.items(), key=lambda entry: (-len(entry[1]), entry[0]))


def attention_shares(records: Iterable[Record]) -> dict[str, dict[str, tuple[float, float]]]:
    """Organ -> gate -> median over the cases of the gate's attention share, and of the organ's volume share.

    Cases in which the organ was not found are left out.
    """
    shares: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for report in (record["report"] for record in records if record["report"]):
        for organ in (organ["name"] for organ in report["organs"] if organ["found"]):
            for gate, measures in report["attention"].items():
                shares[organ][gate].append((measures["share"][organ], measures["volume_share"][organ]))
    return {
        organ: {gate: (median(a for a, _ in pairs), median(v for _, v in pairs)) for gate, pairs in gates.items()}
        for organ, gates in shares.items()
    }
