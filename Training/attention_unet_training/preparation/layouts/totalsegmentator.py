"""A TotalSegmentator folder, versions 1 and 2 of the dataset, or what its command writes.

Never run on a whole real download (none was at hand); tested on a tiny copy of the layout::

    s0000/ct.nii.gz
    s0000/segmentations/kidney_left.nii.gz ...      one binary mask per structure

The names of abdominal organs are the same in both versions; version 2 has kidney cysts as structures of their own,
which are no part of the kidneys here. Source: doi:10.5281/zenodo.10047292 (v2), 10.5281/zenodo.6802614 (v1).
"""

from __future__ import annotations

from pathlib import Path

from ..records import LeftOut
from ..source import DatasetSource, LabelFile, SourceCase, safe_id, stem, volumes_in

LAYOUT = "TotalSegmentator"
MASKS_FOLDER = "segmentations"
CT_NAMES = ("ct.nii.gz", "ct.nii")


def matches(folder: Path) -> bool:
    """Whether a subfolder has a CT and a folder of masks."""
    return any(_ct(subject) is not None and (subject / MASKS_FOLDER).is_dir() for subject in _subjects(folder))


def load(folder: Path) -> DatasetSource:
    """List the subjects; every mask has a name, which ones are needed is decided later."""
    cases, left_out = [], []
    for subject in _subjects(folder):
        ct, masks = _ct(subject), volumes_in(subject / MASKS_FOLDER)
        name = safe_id(subject.name)
        if ct is None and masks:
            left_out.append(LeftOut(name, "the CT is not there"))
        elif ct is not None and not masks:
            left_out.append(LeftOut(name, "there are no labels for this image"))
        elif ct is not None:
            labels = tuple(LabelFile(path, {1: stem(path)}) for path in masks)
            cases.append(SourceCase(name, name, ct, labels, subject / MASKS_FOLDER))
    return DatasetSource(LAYOUT, tuple(cases), tuple(left_out))


def _subjects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _ct(subject: Path) -> Path | None:
    return next((subject / name for name in CT_NAMES if (subject / name).is_file()), None)
