"""What is measured on: CTs with reference labels, from a prepared dataset or from files."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from AttentionUNetSegmentationLib.command.cases import case_name, files_of_input
from AttentionUNetSegmentationLib.formats.dicom.headers import files_below
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.volume import Volume

from ..preparation.label_reading import read_label_map
from ..preparation.organ_names import IGNORE
from ..preparation.patients import ASSUMED
from ..preparation.prepared import PreparedCase, PreparedDataset
from ..preparation.records import IGNORED, REFERENCE_FILE

PARTS = ("test", "train")


@dataclass(frozen=True)
class EvaluationCase:
    """One CT with its reference.

    Attributes:
        id: Unique name.
        patient: All cases of one patient (or of one anatomy, for synthetic CT) share it.
        organs: Organ -> its values in the reference; organs that the source does not label are left out.
        ct_source: CT file or DICOM folder.
        reference_source: Label map.
        read_ct: Reads the CT.
        read_reference: Reads the label map.
        fold: Fold of the split in which the case is measured; 0 without folds.
        ignored: Values in the reference that mark voxels to leave out.
        dataset: Name of the prepared dataset that it is of; "" for files.
        same_patient: Names of all cases of its patient in that dataset.
        patient_named: Whether its patient is known, not assumed to be nobody else's.
    """

    id: str
    patient: str
    organs: Mapping[str, tuple[int, ...]]
    ct_source: Path
    reference_source: Path
    read_ct: Callable[[], Volume]
    read_reference: Callable[[], Volume]
    fold: int = 0
    ignored: tuple[int, ...] = ()
    dataset: str = ""
    same_patient: tuple[str, ...] = ()
    patient_named: bool = True

    def fingerprint(self) -> dict[str, Any]:
        """What determines the case: its files as they are now, and what the reference's values mean."""
        return {
            "ct": file_state(self.ct_source),
            "reference": file_state(self.reference_source),
            "organs": {name: list(values) for name, values in sorted(self.organs.items())},
            "ignored": list(self.ignored),
        }


def file_state(path: Path) -> dict[str, Any]:
    """Path, size and time of change of a file and what its voxels come from, or of all files in a folder together."""
    files = files_of_input(path) if path.is_file() else [entry for entry in files_below(path) if entry.is_file()]
    states = [entry.stat() for entry in files]
    return {
        "path": str(path.resolve()),
        "files": len(files),
        "bytes": sum(state.st_size for state in states),
        "modified": max((state.st_mtime_ns for state in states), default=0),
    }


def cases_of_files(
    cts: Sequence[Path],
    references: Sequence[Path],
    organs: Mapping[str, Sequence[int]],
    patients: Sequence[str] = (),
) -> list[EvaluationCase]:
    """Cases from pairs of a CT and a label map.

    Args:
        cts: CT files or DICOM folders.
        references: A label map for each CT, on any grid.
        organs: Organ -> its values in all label maps; those of "ignore" mark voxels to leave out.
        patients: The patient of each CT; none given: every CT is another patient's.

    Raises:
        ValueError: If the numbers of CTs, label maps and patients differ, no organ is named, or a CT is given twice
            as if it were two patients'.
    """
    if not cts or len(cts) != len(references):
        raise ValueError(f"every --ct needs its --labels, got {len(cts)} and {len(references)}")
    if patients and len(patients) != len(cts):
        raise ValueError(f"--patient is given for every --ct or for none, got {len(patients)} for {len(cts)}")
    values = {name: tuple(entry) for name, entry in organs.items() if name != IGNORE}
    if not values:
        raise ValueError("--ct and --labels need --organ NAME=VALUE[,VALUE] for each organ")
    places = [path.resolve() for path in cts]
    if not patients and (twice := next((path for n, path in enumerate(places) if path in places[:n]), None)):
        raise ValueError(f"{twice} is given twice, and would count as two patients': give --patient for every --ct")
    ids = _unique([case_name(path) for path in cts])
    return [
        EvaluationCase(
            name,
            patient,
            values,
            ct,
            reference,
            functools.partial(read_volume, ct),
            functools.partial(read_label_map, reference),
            ignored=tuple(organs.get(IGNORE, ())),
            patient_named=bool(patients),
        )
        for name, patient, ct, reference in zip(ids, patients or ids, cts, references, strict=True)
    ]


def cases_of_dataset(
    folder: Path, split: str | None = None, fold: int | None = None, part: str = "test"
) -> tuple[list[EvaluationCase], str]:
    """Cases of a prepared dataset, and what to call them.

    Args:
        folder: Prepared dataset.
        split: Name of a split; None for all cases.
        fold: Which fold of the split, from 0; None for all folds.
        part: "test" or "train".

    Raises:
        ValueError: If the dataset, split, fold or part does not exist, or holds no cases.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    dataset = PreparedDataset.open(folder)
    if split is None:
        if fold is not None or part != PARTS[0]:
            raise ValueError(
                f"--fold and --part need --split; {folder} has: {', '.join(dataset.split_names()) or 'none yet'}"
            )
        return _some(dataset, [(case, 0) for case in dataset.cases]), _title(dataset)
    folds = dataset.split(split).folds
    if fold is not None and not 0 <= fold < len(folds):
        raise ValueError(f"the split {split!r} has the folds 0..{len(folds) - 1}, got {fold}")
    numbers = range(len(folds)) if fold is None else [fold]
    wanted = [(dataset.case(name), number) for number in numbers for name in getattr(folds[number], part)]
    one_fold = f", fold {fold}" if fold is not None and len(folds) > 1 else ""
    if len({case.id for case, _ in wanted}) != len(wanted):
        raise ValueError(f"the folds of {split!r} share {part} cases; choose one with --fold")
    return _some(dataset, wanted), f"{_title(dataset)}, split {split}{one_fold}, {part}"


def _title(dataset: PreparedDataset) -> str:
    made_by = dataset.record.labelled_by
    return dataset.name + (f" (labelled by {made_by}, not by a person)" if made_by else "")


def _some(dataset: PreparedDataset, wanted: Sequence[tuple[PreparedCase, int]]) -> list[EvaluationCase]:
    if not wanted:
        raise ValueError(f"{dataset.folder} holds no cases to measure")
    patients: dict[str, list[str]] = defaultdict(list)
    for case in dataset.cases:
        patients[case.patient].append(case.id)
    return [_of_prepared(case, dataset, fold, patients[case.patient]) for case, fold in wanted]


def _of_prepared(
    case: PreparedCase, dataset: PreparedDataset, fold: int, same_patient: Sequence[str]
) -> EvaluationCase:
    values = {organ: (number,) for number, organ in enumerate(dataset.organs, start=1) if organ in case.labelled}
    return EvaluationCase(
        case.id,
        case.patient,
        values,
        Path(case.record.image_source),
        case.folder / REFERENCE_FILE,
        case.ct,
        case.reference,
        fold,
        (IGNORED,),
        dataset.name,
        tuple(same_patient),
        case.record.patient_from != ASSUMED,
    )


def _unique(names: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate in unique:
            candidate, number = f"{name}_{number}", number + 1
        unique.append(candidate)
    return unique
