"""Draws splits of a prepared dataset and writes them into it, with the source's own where it has one."""

from __future__ import annotations

from collections.abc import Sequence

from .prepared import PreparedDataset
from .records import SPLITS_FOLDER, write_record
from .splits import OFFICIAL, TRAIN, Drawn, draw_folds, draw_holdout, official_split


def write_splits(dataset: PreparedDataset, counts: Sequence[str], folds: Sequence[int], seed: int) -> list[Drawn]:
    """Draw splits and write each to ``splits/<name>.json``, in place of an older one of that name.

    The source's own split is written as ``official``, and the others are drawn within its parts. A source of test cases
    alone, which can only be measured on, has none.

    Args:
        dataset: The dataset.
        counts: "TRAIN/TEST" of each holdout split.
        folds: Number of folds of each cross-validation.
        seed: For all of them.

    Raises:
        ValueError: If one cannot be drawn; then none is written.
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
    for entry in drawn:
        write_record(entry.split, dataset.folder / SPLITS_FOLDER / f"{entry.name}.json")
    return drawn
