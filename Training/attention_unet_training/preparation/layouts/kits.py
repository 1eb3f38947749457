"""KiTS23, as its own repository downloads it; KiTS19 has the same form, without cysts.

Never run on a real download (none was at hand); tested on a tiny copy of the layout::

    dataset/case_00000/imaging.nii.gz           dataset, or data (KiTS19), or the folder itself
    dataset/case_00000/segmentation.nii.gz

The files' first axis runs along the patient; their matrix says so, and every axis order is read. Kidneys include their
tumours and cysts, as in the challenge's first class, "kidney and masses" (values 1, 2 and 3): a kidney's volume with a
cyst is another one than TotalSegmentator's. Source: github.com/neheller/kits23, 489 cases of one patient each.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..patients import PUBLISHED
from ..records import LeftOut
from ..source import DatasetSource, LabelFile, SourceCase, count_remark

LAYOUT = "KiTS23"
PUBLISHED_CASES = 489
PLACES = ("dataset", "data", ".")
CASE_FOLDER = re.compile(r"case_\d{5}")
IMAGE_NAME, LABELS_NAME = "imaging.nii.gz", "segmentation.nii.gz"
VALUES = {1: "kidney", 2: "kidney tumour", 3: "kidney"}


def matches(folder: Path) -> bool:
    """Whether there are case folders with a segmentation."""
    return any((case / LABELS_NAME).is_file() for case in _case_folders(folder))


def load(folder: Path) -> DatasetSource:
    """List the cases."""
    cases, left_out = [], []
    for place in _case_folders(folder):
        image, labels = place / IMAGE_NAME, place / LABELS_NAME
        if image.is_file() and labels.is_file():
            cases.append(SourceCase(place.name, place.name, image, (LabelFile(labels, VALUES),), labels, PUBLISHED))
        elif labels.is_file():
            left_out.append(LeftOut(place.name, "the CT is not there"))
        else:
            left_out.append(LeftOut(place.name, "there are no labels for this image"))
    remarks = ("kidneys include their cysts, as in KiTS's own evaluation",)
    return DatasetSource(
        LAYOUT, tuple(cases), tuple(left_out), (*count_remark(len(cases), PUBLISHED_CASES, "KiTS23's cases"), *remarks)
    )


def _case_folders(folder: Path) -> list[Path]:
    for place in PLACES:
        found = sorted(path for path in (folder / place).glob("case_*") if CASE_FOLDER.fullmatch(path.name))
        if found:
            return found
    return []
