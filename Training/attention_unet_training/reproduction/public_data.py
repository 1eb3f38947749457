"""The public CTs that the tables are made on: where they come from, and which of their cases train and test.

The paper does not publish the ids of its cases, so the splits are ours: drawn with seed 0 by ``preparation.splits``
and shipped as lists of ids (``splits/<data>/ours-*.json``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..preparation.layouts import find_source
from ..preparation.prepared import PreparedDataset
from ..preparation.records import SPLITS_FOLDER, read_record, write_record
from ..preparation.splits import Fold, Split

LISTS = Path(__file__).parent / "splits"
DATASETS = "datasets"


@dataclass(frozen=True)
class PublicData:
    """A data set.

    Attributes:
        key: Its folder's name in the output, and among the lists.
        title: Its name.
        role: What it is for, and what it is not.
        address: Where it is.
        folder: Where it belongs, below ``--data``.
        cases: Labelled CTs in it; all are prepared.
        options: Of ``prepare``.
    """

    key: str
    title: str
    role: str
    address: str
    folder: str
    cases: int
    options: tuple[str, ...] = ()

    @property
    def prepared(self) -> str:
        """The prepared dataset's folder, below the output."""
        return f"{DATASETS}/{self.key}"

    def split_names(self) -> list[str]:
        """Names of our splits."""
        return sorted(path.stem for path in (LISTS / self.key).glob("*.json"))

    def split(self, name: str) -> Split:
        """One of our splits, of all cases that the data set has."""
        return read_record(Split, LISTS / self.key / f"{name}.json")


AMOS = PublicData(
    "amos",
    "AMOS 2022",
    "stands in for the paper's CT-150, which is private: 150 of its 200 training CTs, split 120/30 and 30/120; other "
    "scanners, diseases and annotators, so figures compare networks with each other, not with the paper's",
    "https://doi.org/10.5281/zenodo.7155725 (amos22.zip)",
    "amos22",
    300,
    ("--allow-missing",),  # a removed spleen or kidney is rightly absent
)
CT82 = PublicData(
    "ct82",
    "TCIA Pancreas-CT",
    "the paper's CT-82 without the two cases that TCIA has withdrawn: 60/20 of 80 instead of 61/21 of 82",
    "https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU (DICOM series and label maps, both into the folder)",
    "Pancreas-CT",
    80,
)


def check_source(data: PublicData, root: Path, incomplete: bool) -> None:
    """See that a data set is there, before anything is done.

    Args:
        data: Which.
        root: ``--data``.
        incomplete: Whether cases of our splits may be missing.

    Raises:
        ValueError: If it is not, or cases are missing; one sentence says what to get, and where to put it.
    """
    folder = root / data.folder
    if not folder.is_dir():
        raise ValueError(f"{data.title} is needed in {folder}: get it from {data.address}")
    there = {case.id for case in find_source(folder).cases}
    missing = sorted(set().union(*(data.split(name).ids for name in data.split_names())) - there)
    if missing and not incomplete:
        raise ValueError(
            f"{folder} lacks {len(missing)} cases of our splits, such as {missing[0]}: complete it from "
            f"{data.address}, or go on without them (--incomplete)"
        )


def write_splits(data: PublicData, output: Path, incomplete: bool) -> list[str]:
    """Copy our splits into the prepared dataset.

    Args:
        data: Which.
        output: The output folder.
        incomplete: Whether cases may be missing; they are left out then.

    Returns:
        Remarks on what was left out.

    Raises:
        ValueError: If the dataset lacks cases and may not, or none remain for one side.
    """
    dataset = PreparedDataset.open(output / data.prepared)
    there, reasons = {case.id for case in dataset.cases}, {entry.id: entry.reason for entry in dataset.left_out}
    remarks = []
    for name in data.split_names():
        split = data.split(name)
        missing = sorted(split.ids - there)
        if missing:
            example = f"{missing[0]}: {reasons.get(missing[0], 'not in the source')}"
            remarks.append(f"{name}: {len(missing)} of {len(split.ids)} cases are missing ({example})")
        if missing and not incomplete:
            raise ValueError(f"{dataset.folder}: split {remarks[-1]}; --incomplete goes on without them")
        parts = [[tuple(id for id in part if id in there) for part in (fold.train, fold.test)] for fold in split.folds]
        if not all(map(all, parts)):
            raise ValueError(f"{dataset.folder}: split {name} has too few cases left to train and test")
        folds = [Fold(train, test) for train, test in parts]
        write_record(Split(split.kind, split.seed, tuple(folds)), dataset.folder / SPLITS_FOLDER / f"{name}.json")
    return remarks
