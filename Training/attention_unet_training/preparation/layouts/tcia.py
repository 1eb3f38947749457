"""TCIA Pancreas-CT (CT-82), as downloaded: DICOM series and NIfTI label maps.

Never run on a real download (none was at hand); tested on a tiny copy of the layout::

    Pancreas-CT/PANCREAS_0001/<study>/<series>/*.dcm          at any depth below the given folder
    TCIA_pancreas_labels-02-05-2017/label0001.nii.gz

Sources: the collection's page, doi:10.7937/K9/TCIA.2016.tNB1kqBU (version 2: 80 cases; 25 and 70 turned out to be crops
of the scan of case 2 and were withdrawn).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..patients import PUBLISHED
from ..records import LeftOut
from ..source import DatasetSource, LabelFile, SourceCase, count_remark, one_each

LAYOUT = "TCIA Pancreas-CT"
PUBLISHED_CASES = 80
WITHDRAWN = {"0025": "0002", "0070": "0002"}
CASE_FOLDER = re.compile(r"PANCREAS_(\d{4})")
LABEL_NAME = re.compile(r"label(\d{4})\.nii(\.gz)?")
MAX_DEPTH = 4


def matches(folder: Path) -> bool:
    """Whether the folder holds PANCREAS_* folders."""
    return bool(_find(folder)[0])


def load(folder: Path) -> DatasetSource:
    """List the cases.

    Raises:
        ValueError: If no case has both a CT and labels, or a case has two CTs or label maps.
    """
    scans, labels = map(one_each, _find(folder))
    if not set(scans) & set(labels):
        raise ValueError(
            f"{folder} holds {len(scans)} PANCREAS_* folders and {len(labels)} label*.nii.gz files, but no pair; "
            "both belong below one folder"
        )
    cases, left_out = [], []
    for number in sorted(scans.keys() | labels.keys()):
        name = f"PANCREAS_{number}"
        if number in WITHDRAWN:
            reason = f"withdrawn by TCIA: a crop of the scan of PANCREAS_{WITHDRAWN[number]}"
            left_out.append(LeftOut(name, reason))
        elif number not in scans:
            left_out.append(LeftOut(name, "the CT is not there"))
        elif number not in labels:
            left_out.append(LeftOut(name, "there are no labels for this image"))
        else:
            path = labels[number]
            cases.append(SourceCase(name, name, scans[number], (LabelFile(path, {1: "pancreas"}),), path, PUBLISHED))
    remarks = count_remark(len(cases), PUBLISHED_CASES, "TCIA Pancreas-CT without the withdrawn 25 and 70")
    return DatasetSource(LAYOUT, tuple(cases), tuple(left_out), remarks)


def _find(folder: Path) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    """Number and folder of all CTs, number and label map of all labels; the folders of the CTs are not searched."""
    scans: list[tuple[str, Path]] = []
    labels: list[tuple[str, Path]] = []
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        for name in list(folders):
            match = CASE_FOLDER.fullmatch(name)
            if match:
                scans.append((match[1], Path(place) / name))
            if match or depth >= MAX_DEPTH or name.startswith("."):
                folders.remove(name)
        labels += [(match[1], Path(place) / name) for name in files if (match := LABEL_NAME.fullmatch(name))]
    return scans, labels
