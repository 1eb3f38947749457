"""Splits into training and test cases: the source's own, or seeded; all scans of a patient on one side."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KINDS = ("holdout", "folds", "official")
OFFICIAL = "official"
TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Fold:
    """Case ids for training and test, and for validation if the source has its own; else it is drawn from training."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ids = self.ids
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"a case must be in one part of a split, got {twice[0]} in two")
        if not self.train or not self.test:
            raise ValueError(f"both sides of a split need cases, got {len(self.train)} train, {len(self.test)} test")

    @property
    def ids(self) -> tuple[str, ...]:
        """All cases that the fold names."""
        return (*self.train, *self.validation, *self.test)

    def check_patients(self, patients: Mapping[str, str]) -> None:
        """Make sure that no patient is in two parts.

        Args:
            patients: Case id -> patient.

        Raises:
            ValueError: If one is.
        """
        seen: dict[str, tuple[int, str]] = {}
        for number, part in enumerate((self.train, self.validation, self.test)):
            for name in part:
                other, first = seen.setdefault(patients[name], (number, name))
                if other != number:
                    raise ValueError(f"{first} and {name} are of one patient, {patients[name]}, but in two parts")


@dataclass(frozen=True)
class Split:
    """One fold (holdout, or the source's own), or k folds in which every case is tested once."""

    kind: str
    seed: int
    folds: tuple[Fold, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.folds:
            raise ValueError("a split needs at least one fold")

    @property
    def ids(self) -> set[str]:
        """All cases that the split names."""
        return {name for fold in self.folds for name in fold.ids}


@dataclass(frozen=True)
class Drawn:
    """A split that was just drawn, under which name to keep it, and what to tell about it."""

    name: str
    split: Split
    notes: tuple[str, ...]


def official_split(patients: Mapping[str, str], parts: Mapping[str, str]) -> Drawn | None:
    """The source's own split; None if it has none, or no test part.

    Test cases stay as published; without any, validation cases are the test cases. A patient in two parts stays in the
    later one only: training loses the cases, and that is said.

    Args:
        patients: Case id -> patient.
        parts: Case id -> "train", "validation" or "test"; "" for cases that are in none.

    Raises:
        ValueError: If no training case is left beside the test part: others would train on published test cases.
    """
    found = {part: [name for name in sorted(patients) if parts[name] == part] for part in PARTS}
    notes = []
    if not found[TEST]:
        found = {TRAIN: found[TRAIN], VALIDATION: [], TEST: found[VALIDATION]}
        notes.append(f"{OFFICIAL}: the validation part is the test part, as no test case has labels")
    for part, later in ((VALIDATION, (TEST,)), (TRAIN, (TEST, VALIDATION))):
        taken = {patients[name]: other for other in later for name in found[other]}
        for name in [name for name in found[part] if patients[name] in taken]:
            found[part].remove(name)
            other = taken[patients[name]]
            notes.append(f"{OFFICIAL}: {name} is left out of {part}, as its patient {patients[name]} is in {other} too")
    if not found[TEST]:
        return None
    if not found[TRAIN]:
        why = f" ({notes[-1].removeprefix(f'{OFFICIAL}: ')})" if notes else ""
        raise ValueError(
            f"the source's own split has no training case beside its {len(found[TEST])} test cases{why}, so no split "
            "is drawn; give the training cases too, or correct the column patient or split"
        )
    stray = sum(not parts[name] for name in patients)
    if stray:
        notes.append(f"{OFFICIAL}: {stray} of {len(patients)} cases have no part in it")
    fold = Fold(tuple(found[TRAIN]), tuple(found[TEST]), tuple(found[VALIDATION]))
    return Drawn(OFFICIAL, Split(OFFICIAL, 0, (fold,)), tuple(notes))


def holdout_counts(text: str) -> tuple[int, int]:
    """Training and test cases of "TRAIN/TEST".

    Raises:
        ValueError: If the text has another form.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not match:
        raise ValueError(f"a split must look like 120/30 (training/test cases), got {text!r}")
    return int(match[1]), int(match[2])


def draw_holdout(patients: Mapping[str, str], counts: str, seed: int, within: Fold | None = None) -> Drawn:
    """Draw training and test cases at random.

    With fewer cases than asked for, both counts shrink in proportion; with more, the others are in neither side.
    Where patients have several scans, counts that cannot be met exactly are met as nearly as possible.

    Args:
        patients: Case id -> patient.
        counts: "TRAIN/TEST", as in the paper: "120/30", "30/120", "61/21".
        seed: The same seed and cases give the same split, whatever the cases' order.
        within: The source's own split: training cases are drawn from its training part, test cases from its test part.

    Raises:
        ValueError: If the counts are malformed, or no patients remain for one side.
    """
    train, test = holdout_counts(counts)
    name, notes = f"{train}-{test}", []
    if within is not None:
        patients = {case: patients[case] for case in within.ids}
        there = len(patients) - len(within.test), len(within.test)
        notes.append(f"{name}: drawn within the source's own parts, {there[0]} training and {there[1]} test cases")
        train, test = min(train, there[0]), min(test, there[1])
    elif len(patients) < train + test:
        wanted = train + test
        test = min(max(1, round(len(patients) * test / wanted)), len(patients) - 1)
        train = len(patients) - test
        notes.append(f"{name}: the dataset has {len(patients)} of {wanted} cases; scaled to {train}/{test}")
    elif len(patients) > train + test:
        notes.append(f"{name}: {len(patients) - train - test} of {len(patients)} cases are in neither side")
    order = _shuffled_groups(patients, seed)
    test_groups = _choose([group for group in order if within is None or group[0] in within.test], test)
    kept = test_groups if within is None else [group for group in order if group[0] in within.test]
    train_groups = _choose([group for group in order if group not in kept], train)
    fold = Fold(_ids(train_groups), _ids(test_groups))
    if (len(fold.train), len(fold.test)) != (train, test):
        got = f"{len(fold.train)}/{len(fold.test)}"
        notes.append(f"{name}: patients with several scans stay together, so it is {got} instead of {train}/{test}")
    return Drawn(name, Split("holdout", seed, (fold,)), tuple(notes))


def draw_folds(patients: Mapping[str, str], count: int, seed: int, within: Fold | None = None) -> Drawn:
    """Draw k folds for cross-validation: every case is tested in one of them, sizes as equal as patients allow.

    The test part of the source's own split, ``within``, is in no fold.

    Raises:
        ValueError: If there are fewer than two folds, or fewer patients than folds.
    """
    notes = []
    if within is not None:
        patients = {case: patients[case] for case in (*within.train, *within.validation)}
        notes.append(f"folds-{count}: the {len(within.test)} test cases of the source's own split are in no fold")
    order = _shuffled_groups(patients, seed)
    if not 2 <= count <= len(order):
        raise ValueError(f"the number of folds must lie in 2..{len(order)} (patients), got {count}")
    parts: list[list[tuple[str, ...]]] = [[] for _ in range(count)]
    for group in sorted(order, key=len, reverse=True):
        min(parts, key=lambda part: sum(map(len, part))).append(group)
    folds = tuple(
        Fold(_ids([group for other in parts if other is not part for group in other]), _ids(part)) for part in parts
    )
    return Drawn(f"folds-{count}", Split("folds", seed, folds), tuple(notes))


def _shuffled_groups(patients: Mapping[str, str], seed: int) -> list[tuple[str, ...]]:
    """The cases of each patient, patients in random order."""
    groups: dict[str, list[str]] = {}
    for name in sorted(patients):
        groups.setdefault(patients[name], []).append(name)
    if len(groups) < 2:
        raise ValueError(
            f"a split needs cases of at least 2 patients, got {len(groups)}"
            + (f" ({next(iter(groups))}); the column patient of a table tells patients apart" if groups else "")
        )
    order = [tuple(groups[patient]) for patient in sorted(groups)]
    random.Random(seed).shuffle(order)
    return order


def _choose(groups: Sequence[tuple[str, ...]], wanted: int) -> list[tuple[str, ...]]:
    """Groups with ``wanted`` cases together, or as near as can be; earlier groups are preferred."""
    ways: dict[int, list[int]] = {0: []}  # cases -> the groups chosen for it
    for number, group in enumerate(groups):
        if wanted in ways:
            break
        for total in sorted(ways, reverse=True):
            reached = total + len(group)
            if reached not in ways and reached <= wanted + len(group):
                ways[reached] = [*ways[total], number]
    best = min((total for total in ways if total), key=lambda total: (abs(total - wanted), total), default=0)
    return [groups[number] for number in ways[best]]


def _ids(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(name for group in groups for name in group))
