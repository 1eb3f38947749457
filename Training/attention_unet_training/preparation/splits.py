"""Splits into training and test cases: seeded, and all scans of a patient on one side."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KINDS = ("holdout", "folds")


@dataclass(frozen=True)
class Fold:
    """Case ids for training and for test."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise ValueError(f"a case must be in train or in test, got {both[0]} in both")
        if not self.train or not self.test:
            raise ValueError(f"both sides of a split need cases, got {len(self.train)} train, {len(self.test)} test")


@dataclass(frozen=True)
class Split:
    """One fold (holdout), or k folds in which every case is tested once."""

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
        return {name for fold in self.folds for name in (*fold.train, *fold.test)}


@dataclass(frozen=True)
class Drawn:
    """A split that was just drawn, under which name to keep it, and what to tell about it."""

    name: str
    split: Split
    notes: tuple[str, ...]


def draw_holdout(patients: Mapping[str, str], counts: str, seed: int) -> Drawn:
    """Draw training and test cases at random.

    With fewer cases than asked for, both counts shrink in proportion; with more, the others are in neither side.
    Where patients have several scans, counts that cannot be met exactly are met as nearly as possible.

    Args:
        patients: Case id -> patient.
        counts: "TRAIN/TEST", as in the paper: "120/30", "30/120", "61/21".
        seed: The same seed and cases give the same split, whatever the cases' order.

    Raises:
        ValueError: If the counts are malformed, or no patients remain for one side.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", counts)
    if not match:
        raise ValueError(f"a split must look like 120/30 (training/test cases), got {counts!r}")
    train, test = int(match[1]), int(match[2])
    name, notes = f"{train}-{test}", []
    if len(patients) < train + test:
        wanted = train + test
        test = min(max(1, round(len(patients) * test / wanted)), len(patients) - 1)
        train = len(patients) - test
        notes.append(f"{name}: the dataset has {len(patients)} of {wanted} cases; scaled to {train}/{test}")
    elif len(patients) > train + test:
        notes.append(f"{name}: {len(patients) - train - test} of {len(patients)} cases are in neither side")
    order = _shuffled_groups(patients, seed)
    test_groups = _choose(order, test)
    train_groups = _choose([group for group in order if group not in test_groups], train)
    fold = Fold(_ids(train_groups), _ids(test_groups))
    if (len(fold.train), len(fold.test)) != (train, test):
        got = f"{len(fold.train)}/{len(fold.test)}"
        notes.append(f"{name}: patients with several scans stay together, so it is {got} instead of {train}/{test}")
    return Drawn(name, Split("holdout", seed, (fold,)), tuple(notes))


def draw_folds(patients: Mapping[str, str], count: int, seed: int) -> Drawn:
    """Draw k folds for cross-validation: every case is tested in one of them, sizes as equal as patients allow.

    Raises:
        ValueError: If there are fewer than two folds, or fewer patients than folds.
    """
    order = _shuffled_groups(patients, seed)
    if not 2 <= count <= len(order):
        raise ValueError(f"the number of folds must lie in 2..{len(order)} (patients), got {count}")
    parts: list[list[tuple[str, ...]]] = [[] for _ in range(count)]
    for group in sorted(order, key=len, reverse=True):
        min(parts, key=lambda part: sum(map(len, part))).append(group)
    folds = tuple(
        Fold(_ids([group for other in parts if other is not part for group in other]), _ids(part)) for part in parts
    )
    return Drawn(f"folds-{count}", Split("folds", seed, folds), ())


def _shuffled_groups(patients: Mapping[str, str], seed: int) -> list[tuple[str, ...]]:
    """The cases of each patient, patients in random order."""
    groups: dict[str, list[str]] = {}
    for name in sorted(patients):
        groups.setdefault(patients[name], []).append(name)
    if len(groups) < 2:
        raise ValueError(f"a split needs cases of at least 2 patients, got {len(groups)}")
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
