"""A tiny prepared dataset on disk, case by case; what its voxels show is up to who writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attention_unet_training.preparation.records import (
    CASES_FOLDER,
    DATASET_FILE,
    FORMAT,
    IMAGE_FILE,
    LABELS_FILE,
    SPLITS_FOLDER,
    CaseRecord,
    DatasetRecord,
    write_record,
)
from attention_unet_training.preparation.splits import Fold, Split
from AttentionUNetSegmentationLib.models.description import IntensitySpec


@dataclass
class TinyDataset:
    """A dataset in the making: add the cases c0, c1, ..., then finish.

    Attributes:
        folder: Where it is written.
        name: Its name in ``dataset.json``.
        organs: Classes 1, 2, ...
        spacing_mm: Of every case.
        intensity: The rule by which images were scaled.
        patients: One per case; none for a patient per case, named like the case.
        labelled: Known organs, one list per case; none if every organ is known everywhere.
    """

    folder: Path
    name: str
    organs: Sequence[str]
    spacing_mm: Sequence[float]
    intensity: IntensitySpec
    patients: Sequence[str] | None = None
    labelled: Sequence[Sequence[str]] | None = None
    cases: list[CaseRecord] = field(default_factory=list)

    def new_case(self) -> Path:
        """Make the folder of the next case, for what its writer wants in there."""
        place = self.folder / CASES_FOLDER / f"c{len(self.cases)}"
        place.mkdir(parents=True)
        return place

    def add(
        self,
        place: Path,
        image: np.ndarray,
        classes: np.ndarray,
        ijk_to_ras: np.ndarray,
        voxels: Mapping[str, int],
        source: str = "nowhere",
    ) -> None:
        """Write the arrays of a case into its folder, and note its record.

        Args:
            place: From ``new_case``.
            image: (D, H, W), scaled.
            classes: (D, H, W), class numbers.
            ijk_to_ras: (4, 4), mm.
            voxels: Organ -> voxels.
            source: What image and labels were made from, as the record names it.
        """
        np.save(place / IMAGE_FILE, image)
        np.save(place / LABELS_FILE, classes)
        name, number = place.name, len(self.cases)
        patient = self.patients[number] if self.patients else name
        known = tuple(self.labelled[number]) if self.labelled else tuple(self.organs)
        matrix = tuple(tuple(float(x) for x in row) for row in ijk_to_ras)
        relative, found = f"{CASES_FOLDER}/{name}", dict(voxels)
        self.cases.append(CaseRecord(name, patient, relative, image.shape, matrix, source, source, found, known))

    def finish(self) -> Path:
        """Write ``dataset.json`` and, of two cases or more, the splits "half" (one fold) and "folds-2"."""
        record = DatasetRecord(
            FORMAT, self.name, tuple(self.organs), tuple(self.spacing_mm), self.intensity, tuple(self.cases)
        )
        write_record(record, self.folder / DATASET_FILE)
        ids, middle = tuple(case.id for case in self.cases), len(self.cases) // 2
        if middle:
            there, here = Fold(ids[:middle], ids[middle:]), Fold(ids[middle:], ids[:middle])
            write_record(Split("holdout", 0, (there,)), self.folder / SPLITS_FOLDER / "half.json")
            write_record(Split("folds", 0, (there, here)), self.folder / SPLITS_FOLDER / "folds-2.json")
        return self.folder
