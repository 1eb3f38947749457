"""Which layout a folder has, and the cases in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..source import DatasetSource
from . import btcv, csv_table, flare, kits, nnunet, tcia, totalsegmentator

# name -> (does it look like this layout, list its cases); asked in this order
LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], DatasetSource]]] = {
    "amos": (nnunet.matches_amos, nnunet.load_amos),
    "nnunet": (nnunet.matches, nnunet.load),
    "tcia-pancreas-ct": (tcia.matches, tcia.load),
    "btcv": (btcv.matches, btcv.load),
    "kits23": (kits.matches, kits.load),
    "totalsegmentator": (totalsegmentator.matches, totalsegmentator.load),
    "flare22": (flare.matches, flare.load),
}
NAMES = ("auto", *LAYOUTS, "csv")
DESCRIPTIONS = (
    "TCIA Pancreas-CT (PANCREAS_0001/... and label0001.nii.gz), nnU-Net/MSD or AMOS (dataset.json, imagesTr, "
    "labelsTr), TotalSegmentator (s0000/ct.nii.gz, segmentations/), BTCV (img/, label/), KiTS23 "
    "(case_00000/imaging.nii.gz, segmentation.nii.gz), FLARE22 (FLARE22_Tr_0001_0000.nii.gz), a .csv file with "
    "columns image,label and perhaps id,patient,split,labelled"
)


def find_source(path: Path, layout: str = "auto", values: Mapping[int, str] | None = None) -> DatasetSource:
    """List the cases in a folder or table.

    Args:
        path: A dataset's folder, or a CSV file.
        layout: One of ``NAMES``; "auto" looks.
        values: What label values are called, for CSV tables only: other layouts know theirs.

    Raises:
        ValueError: If the path does not exist, the layout is unknown or none fits, or nothing is in it.
    """
    if layout not in NAMES:
        raise ValueError(f"the source must be one of {', '.join(NAMES)}, got {layout!r}")
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if layout == "csv" or (layout == "auto" and csv_table.matches(path)):
        source = csv_table.load(path, values or {})
    elif values:
        raise ValueError("--label names the values of a CSV table; other sources name theirs themselves")
    else:
        source = _load_folder(path, layout)
    if not source.cases:
        raise ValueError(f"{path} ({source.layout}) holds no case with both CT and labels")
    return source


def _load_folder(path: Path, layout: str) -> DatasetSource:
    if not path.is_dir():
        raise ValueError(f"{path} is neither a folder nor a .csv file")
    if layout == "auto":
        layout = next((name for name, (matches, _) in LAYOUTS.items() if matches(path)), "")
        if not layout:
            raise ValueError(f"{path} has none of the known layouts: {DESCRIPTIONS}")
    matches, load = LAYOUTS[layout]
    if not matches(path):
        raise ValueError(f"{path} does not look like {layout}; known layouts: {DESCRIPTIONS}")
    return load(path)
