"""A prepared dataset, as training and evaluation read it: cases on disk, memory-mapped, nothing read before asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.volume import Grid, Volume

from .records import (
    DATASET_FILE,
    IMAGE_FILE,
    LABELS_FILE,
    REFERENCE_FILE,
    SPLITS_FOLDER,
    CaseRecord,
    DatasetRecord,
    LeftOut,
    read_record,
)
from .splits import Split


@dataclass(frozen=True)
class PreparedCase:
    """One case: its description, and its voxels when asked for.

    Attributes:
        record: What ``dataset.json`` says.
        folder: Where its files are.
    """

    record: CaseRecord
    folder: Path

    @property
    def id(self) -> str:
        """Unique name."""
        return self.record.id

    @property
    def patient(self) -> str:
        """All scans of one patient share it."""
        return self.record.patient

    @property
    def labelled(self) -> tuple[str, ...]:
        """Organs that the source labels."""
        return self.record.labelled

    @property
    def voxels(self) -> dict[str, int]:
        """Organ -> voxels in ``labels()``."""
        return dict(self.record.voxels)

    @property
    def grid(self) -> Grid:
        """Where image and labels lie: the network's grid, axes to the right, front and up."""
        return Grid(self.record.shape_kji, np.array(self.record.ijk_to_ras))

    def image(self) -> np.memmap:
        """(D, H, W) float16, scaled by the dataset's intensity rule, read-only.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        return self._array(IMAGE_FILE, np.float16)

    def labels(self) -> np.memmap:
        """(D, H, W) uint8, read-only: 0 background, 1.. in the order of the dataset's organs, ``IGNORED``.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        return self._array(LABELS_FILE, np.uint8)

    def reference(self) -> Volume:
        """Class numbers (uint8) and ``IGNORED`` on the original CT's grid, for evaluation.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        return read_volume(self.folder / REFERENCE_FILE)

    def ct(self) -> Volume:
        """The original CT in HU, from where it was when the dataset was prepared.

        Raises:
            ValueError: If it is not there any more or cannot be read.
        """
        return read_volume(self.record.image_source)

    def _array(self, name: str, dtype: type) -> np.memmap:
        path = self.folder / name
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is missing or damaged: {one_sentence(error)}") from error
        if array.shape != tuple(self.record.shape_kji) or array.dtype != dtype:
            raise ValueError(
                f"{path} must hold {np.dtype(dtype)} of shape {tuple(self.record.shape_kji)}, "
                f"got {array.dtype} of shape {array.shape}"
            )
        return array


@dataclass(frozen=True)
class PreparedDataset:
    """A folder that ``attention-unet-train prepare`` wrote.

    Attributes:
        folder: The folder.
        record: What ``dataset.json`` says.
        cases: All cases, in the source's order.
    """

    folder: Path
    record: DatasetRecord
    cases: tuple[PreparedCase, ...]

    @classmethod
    def open(cls, folder: Path | str) -> PreparedDataset:
        """Read the description; no voxels are read.

        Raises:
            ValueError: If the folder is no prepared dataset, or a case's files are missing.
        """
        folder = Path(folder)
        if not (folder / DATASET_FILE).is_file():
            raise ValueError(f"{folder} is not a prepared dataset: it has no {DATASET_FILE}, which is written last")
        record = read_record(DatasetRecord, folder / DATASET_FILE)
        cases = tuple(PreparedCase(case, folder / case.folder) for case in record.cases)
        for case in cases:
            for name in (IMAGE_FILE, LABELS_FILE, REFERENCE_FILE):
                if not (case.folder / name).is_file():
                    raise ValueError(f"{case.folder / name} is missing; prepare the dataset again")
        return cls(folder, record, cases)

    @property
    def name(self) -> str:
        """What the dataset is called."""
        return self.record.name

    @property
    def organs(self) -> tuple[str, ...]:
        """Names of the classes 1, 2, ..."""
        return self.record.organs

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of images and labels along i, j, k."""
        return self.record.spacing_mm

    @property
    def intensity(self) -> IntensitySpec:
        """The rule that scaled the images."""
        return self.record.intensity

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Cases of the source that are not in the dataset, with reasons."""
        return self.record.left_out

    def case(self, id: str) -> PreparedCase:
        """One case by its id.

        Raises:
            ValueError: If there is none.
        """
        for case in self.cases:
            if case.id == id:
                return case
        raise ValueError(f"{self.folder} has no case {id!r}")

    def split_names(self) -> list[str]:
        """Names of the splits that were written."""
        return sorted(path.stem for path in (self.folder / SPLITS_FOLDER).glob("*.json") if path.stem[0] != ".")

    def split(self, name: str) -> Split:
        """A split by name.

        Raises:
            ValueError: If there is none, it names cases that the dataset does not have, or a patient is in two parts.
        """
        path = self.folder / SPLITS_FOLDER / f"{name}.json"
        if name not in self.split_names():
            known = ", ".join(self.split_names()) or "none yet"
            raise ValueError(f"{self.folder} has no split {name!r}; it has: {known}")
        split = read_record(Split, path)
        unknown = sorted(split.ids - {case.id for case in self.cases})
        if unknown:
            raise ValueError(f"{path} names cases that the dataset does not have ({unknown[0]} ...); draw it again")
        patients = {case.id: case.patient for case in self.cases}
        for fold in split.folds:
            try:
                fold.check_patients(patients)
            except ValueError as error:
                raise ValueError(f"{path}: {error}; draw it again") from error
        return split
