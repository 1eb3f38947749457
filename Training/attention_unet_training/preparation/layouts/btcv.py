"""BTCV, the abdomen part of "Multi-Atlas Labeling Beyond the Cranial Vault" (MICCAI 2015).

Never run on a real download (none was at hand); tested on a tiny copy of the layout::

    img/img0001.nii.gz          in the given folder, or in Training or RawData/Training below it
    label/label0001.nii.gz

Source: the challenge's page, doi:10.7303/syn3193805: 30 labelled CTs of 30 patients, 13 organs.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..patients import PUBLISHED
from ..source import DatasetSource, LabelFile, SourceCase, count_remark, stem, unpaired, volumes_in

LAYOUT = "BTCV"
PUBLISHED_CASES = 30
PLACES = (".", "Training", "RawData/Training", "Abdomen/RawData/Training")
VALUES = {
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "esophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal vein and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}


def matches(folder: Path) -> bool:
    """Whether img and label with files of BTCV's names are there."""
    place = _place(folder)
    return bool(_numbered(place / "img", "img") and _numbered(place / "label", "label"))


def load(folder: Path) -> DatasetSource:
    """List the training cases."""
    place = _place(folder)
    images, labels = _numbered(place / "img", "img"), _numbered(place / "label", "label")
    cases = tuple(
        SourceCase(f"btcv_{number}", f"btcv_{number}", images[number], (LabelFile(path, VALUES),), path, PUBLISHED)
        for number, path in labels.items()
        if number in images
    )
    left_out = unpaired((f"btcv_{number}" for number in images), (f"btcv_{number}" for number in labels))
    return DatasetSource(LAYOUT, cases, left_out, count_remark(len(cases), PUBLISHED_CASES, "BTCV's training cases"))


def _place(folder: Path) -> Path:
    return next((folder / place for place in PLACES if (folder / place / "img").is_dir()), folder)


def _numbered(folder: Path, prefix: str) -> dict[str, Path]:
    pattern = re.compile(rf"{prefix}(\d+)")
    return {match[1]: path for path in volumes_in(folder) if (match := pattern.fullmatch(stem(path)))}
