"""A TotalSegmentator folder, versions 1 and 2 of the dataset, or what its command writes.

Never run on a whole real download (none was at hand); tested on a tiny copy of the layout::

    s0000/ct.nii.gz
    s0000/segmentations/kidney_left.nii.gz ...      one binary mask per structure
    meta.csv                                        columns image_id and split, separated by ";"

The names of abdominal organs are the same in both versions; version 2 has kidney cysts as structures of their own,
which are no part of the kidneys here. Source: doi:10.5281/zenodo.10047292 (v2), 10.5281/zenodo.6802614 (v1).
"""

from __future__ import annotations

import csv
from pathlib import Path

from ..patients import NAME, subject_of
from ..records import LeftOut
from ..source import DatasetSource, LabelFile, SourceCase, one_each, safe_id, stem, volumes_in
from ..splits import TEST, TRAIN, VALIDATION

LAYOUT = "TotalSegmentator"
MASKS_FOLDER = "segmentations"
CT_NAMES = ("ct.nii.gz", "ct.nii")
META_FILE = "meta.csv"
PART_WORDS = {"train": TRAIN, "val": VALIDATION, "test": TEST}


def matches(folder: Path) -> bool:
    """Whether a subfolder has a CT and a folder of masks."""
    return any(_ct(subject) is not None and (subject / MASKS_FOLDER).is_dir() for subject in _subjects(folder))


def load(folder: Path) -> DatasetSource:
    """List the subjects; every mask has a name, which ones are needed is decided later.

    Raises:
        ValueError: If meta.csv is there and cannot be used, or two subjects become one case.
    """
    cases, left_out = [], []
    parts = _parts(folder / META_FILE)
    for subject in _subjects(folder):
        ct, masks = _ct(subject), volumes_in(subject / MASKS_FOLDER)
        name = safe_id(subject.name)
        if ct is None and masks:
            left_out.append(LeftOut(name, "the CT is not there"))
        elif ct is not None and not masks:
            left_out.append(LeftOut(name, "there are no labels for this image"))
        elif ct is not None:
            labels = tuple(LabelFile(path, {1: stem(path)}) for path in masks)
            patient, part = subject_of(subject.name), parts.get(subject.name, "")
            cases.append(SourceCase(name, patient, ct, labels, subject / MASKS_FOLDER, NAME, part))
    one_each((case.id, case.image) for case in cases)  # refuses "s 1" beside "s_1"
    return DatasetSource(LAYOUT, tuple(cases), tuple(left_out))


def _parts(path: Path) -> dict[str, str]:
    """Subject -> its part in the published split; none without the file."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        return {row["image_id"].strip(): PART_WORDS[row["split"].strip().lower()] for row in rows}
    except (UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} must have the columns image_id and split (train, val or test), separated by ';'; got {error}"
        ) from error


def _subjects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _ct(subject: Path) -> Path | None:
    return next((subject / name for name in CT_NAMES if (subject / name).is_file()), None)
