"""FLARE22, as downloaded: labelled and unlabelled CTs, wherever they lie below the given folder.

Never run on a real download (none was at hand); tested on a tiny copy of the layout::

    images/FLARE22_Tr_0001_0000.nii.gz      the 50 labelled CTs
    labels/FLARE22_Tr_0001.nii.gz
    FLARETs_0001_0000.nii.gz                the validation CTs, with labels FLARETs_0001.nii.gz or without
    Case_00001_0000.nii.gz                  the 2000 unlabelled CTs

Sources: doi:10.5281/zenodo.7860267; values as in dataset.json of the copy that comes with U-Mamba. The labelled CTs
are from the Medical Segmentation Decathlon's pancreas task: do not test on one what was trained on the other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..patients import PUBLISHED
from ..source import DatasetSource, LabelFile, SourceCase, count_remark, one_each, stem, unpaired, volumes_in
from ..splits import TRAIN, VALIDATION

LAYOUT = "FLARE22"
PUBLISHED_CASES = 50
IMAGE = re.compile(r"(FLARE22_Tr_\d{4}|FLARETs_\d{4}|Case_\d{5})_0000")
LABELS = re.compile(r"FLARE22_Tr_\d{4}|FLARETs_\d{4}")  # no Case_: those that circulate are predictions
TRAINING = "FLARE22_Tr"
MAX_DEPTH = 3
VALUES = {
    1: "liver",
    2: "right kidney",
    3: "spleen",
    4: "pancreas",
    5: "aorta",
    6: "inferior vena cava",
    7: "right adrenal gland",
    8: "left adrenal gland",
    9: "gallbladder",
    10: "esophagus",
    11: "stomach",
    12: "duodenum",
    13: "left kidney",
}


def matches(folder: Path) -> bool:
    """Whether files of FLARE22's names are there, labelled or not."""
    return any(not name.startswith("Case_") or "FLARE" in str(path) for name, path in _find(folder)[0])


def load(folder: Path) -> DatasetSource:
    """List the labelled cases.

    Raises:
        ValueError: If no CT has labels, or a case has two files.
    """
    images, labels = map(one_each, _find(folder))
    if not images.keys() & labels.keys():
        raise ValueError(f"{folder} holds {len(images)} CTs of FLARE22, and labels of none of them")
    cases = tuple(
        SourceCase(
            name,
            name,
            images[name],
            (LabelFile(labels[name], VALUES),),
            labels[name],
            PUBLISHED,
            TRAIN if name.startswith(TRAINING) else VALIDATION,
        )
        for name in sorted(images.keys() & labels.keys())
    )
    left_out = unpaired((name for name in images if name.startswith(TRAINING) or name in labels), labels)
    remarks = count_remark(sum(case.part == TRAIN for case in cases), PUBLISHED_CASES, "FLARE22's labelled CTs")
    unlabelled = sum(not name.startswith(TRAINING) for name in images.keys() - labels.keys())
    if unlabelled:
        remarks = (*remarks, f"{unlabelled} CTs without labels are left aside (FLARE22's unlabelled or validation CTs)")
    return DatasetSource(LAYOUT, cases, left_out, remarks)


def _find(folder: Path) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    """Case and CT, and case and label map, of all that are there."""
    images: list[tuple[str, Path]] = []
    labels: list[tuple[str, Path]] = []
    for place, folders, _ in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [name for name in folders if depth < MAX_DEPTH and name[0] != "."]
        for path in volumes_in(Path(place)):
            if match := IMAGE.fullmatch(stem(path)):
                images.append((match[1], path))
            elif LABELS.fullmatch(stem(path)):
                labels.append((stem(path), path))
    return images, labels
