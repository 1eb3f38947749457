"""Draws splits of a prepared dataset and writes them into it, with the source's own where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .prepared import PreparedDataset
from .records import SPLITS_FOLDER, read_record, write_record
from .splits import OFFICIAL, TRAIN, Drawn, Split, draw_folds, draw_holdout, holdout_counts, official_split


def check_form(counts: Sequence[str], folds: Sequence[int]) -> None:
    """Refuse what ``write_splits`` would refuse of any dataset, before hours are spent on preparing one.

    Raises:
        ValueError: If a split does not look like TRAIN/TEST, or a number of folds is below 2.
    """
    for text in counts:
        holdout_counts(text)
    if few := [count for count in folds if count < 2]:
        raise ValueError(f"the number of folds must be at least 2, got {few[0]}")


def write_splits(
    dataset: PreparedDataset, counts: Sequence[str], folds: Sequence[int], seed: int, overwrite: bool = False
) -> list[Drawn]:
    """Draw splits and write each to ``splits/<name>.json``.

    The source's own split is written as ``official``, and the others are drawn within its parts. A source of test cases
    alone, which can only be measured on, has none.

    Args:
        dataset: The dataset.
        counts: "TRAIN/TEST" of each holdout split.
        folds: Number of folds of each cross-validation.
        seed: For all of them.
        overwrite: Whether splits of these names that have other cases are replaced.

    Raises:
        ValueError: If one cannot be drawn, or one of that name has other cases; then none is written.
    """
    patients = {case.id: case.patient for case in dataset.cases}
    parts = {case.id: case.record.part for case in dataset.cases}
    official = official_split(patients, parts) if counts or folds or TRAIN in parts.values() else None
    within = official.split.folds[0] if official else None
    drawn = [official] if official else []
    drawn += [draw_holdout(patients, text, seed, within) for text in counts]
    drawn += [draw_folds(patients, count, seed, within) for count in folds]
    if official is None:
        (dataset.folder / SPLITS_FOLDER / f"{OFFICIAL}.json").unlink(missing_ok=True)
    for entry in drawn if not overwrite else ():
        _check_same(entry, dataset.folder / SPLITS_FOLDER / f"{entry.name}.json")
    for entry in drawn:
        write_record(entry.split, dataset.folder / SPLITS_FOLDER / f"{entry.name}.json")
    return drawn


def _check_same(drawn: Drawn, path: Path) -> None:
    """Refuse to replace a split by another of its name: its models would be tested on cases of their training."""
    if path.is_file() and read_record(Split, path).folds != drawn.split.folds:
        raise ValueError(
            f"{path} has other cases than would be drawn now: --overwrite replaces it and makes its models invalid"
        )
