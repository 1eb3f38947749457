"""Draws splits of a prepared dataset and writes them into it."""

from __future__ import annotations

from collections.abc import Sequence

from .prepared import PreparedDataset
from .records import SPLITS_FOLDER, write_record
from .splits import Drawn, draw_folds, draw_holdout


def write_splits(dataset: PreparedDataset, counts: Sequence[str], folds: Sequence[int], seed: int) -> list[Drawn]:
    """Draw splits and write each to ``splits/<name>.json``, in place of an older one of that name.

    Args:
        dataset: The dataset.
        counts: "TRAIN/TEST" of each holdout split.
        folds: Number of folds of each cross-validation.
        seed: For all of them.

    Raises:
        ValueError: If one cannot be drawn; then none is written.
    """
    patients = {case.id: case.patient for case in dataset.cases}
    drawn = [draw_holdout(patients, text, seed) for text in counts]
    drawn += [draw_folds(patients, count, seed) for count in folds]
    for entry in drawn:
        write_record(entry.split, dataset.folder / SPLITS_FOLDER / f"{entry.name}.json")
    return drawn
