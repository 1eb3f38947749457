"""nnU-Net and Medical Segmentation Decathlon folders; AMOS, which has the same form.

Never run on a real download (none was at hand); tested on tiny copies of the layouts::

    dataset.json                          "labels": {"1": "pancreas"} (MSD, nnU-Net v1) or {"pancreas": 1} (nnU-Net v2)
    imagesTr/case.nii.gz                  MSD, AMOS; nnU-Net adds the channel: case_0000.nii.gz
    labelsTr/case.nii.gz

Sources: nnU-Net's documentation (dataset_format.md); AMOS 2022, doi:10.5281/zenodo.7155725: 500 CT (numbers 1 to 500)
and 100 MR (from 501 on), labels public for training (imagesTr) and validation (imagesVa).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..records import LeftOut
from ..source import DatasetSource, LabelFile, SourceCase, safe_id, stem, unpaired, volumes_in

LAYOUT, AMOS_LAYOUT = "nnU-Net or MSD", "AMOS"
AMOS_NAME = re.compile(r"amos_(\d{4})")
AMOS_LAST_CT = 500


def matches(folder: Path) -> bool:
    """Whether the folder has dataset.json, imagesTr and labelsTr."""
    return (folder / "dataset.json").is_file() and all((folder / name).is_dir() for name in ("imagesTr", "labelsTr"))


def matches_amos(folder: Path) -> bool:
    """Whether it is such a folder with files named as AMOS's."""
    return matches(folder) and any(AMOS_NAME.match(path.name) for path in volumes_in(folder / "labelsTr"))


def load(folder: Path) -> DatasetSource:
    """List the training cases.

    Raises:
        ValueError: If dataset.json lacks the labels, or the images are no CT.
    """
    description = _description(folder)
    names = label_table(description.get("labels"), folder)
    _check_channels(description, folder)
    cases, left_out = _pairs(folder, "imagesTr", "labelsTr", names)
    remarks = []
    announced = description.get("numTraining")
    if isinstance(announced, int) and announced != len(cases):
        remarks.append(f"{len(cases)} cases found, dataset.json announces {announced}")
    return DatasetSource(LAYOUT, tuple(cases), left_out, tuple(remarks))


def load_amos(folder: Path) -> DatasetSource:
    """List AMOS's CTs, training and validation; MR is left out.

    Raises:
        ValueError: If dataset.json lacks the labels.
    """
    names = label_table(_description(folder).get("labels"), folder)
    cases, left_out = _pairs(folder, "imagesTr", "labelsTr", names)
    more, more_left_out = _pairs(folder, "imagesVa", "labelsVa", names)
    scans, others = [], [*left_out, *more_left_out]
    for case in [*cases, *more]:
        match = AMOS_NAME.match(case.id)
        if match and int(match[1]) > AMOS_LAST_CT:
            others.append(LeftOut(case.id, f"an MR scan (AMOS numbers above {AMOS_LAST_CT}); a CT is needed"))
        else:
            scans.append(case)
    remark = f"{len(cases)} cases in imagesTr, {len(more)} in imagesVa; published are 240 and 120, MR included"
    return DatasetSource(AMOS_LAYOUT, tuple(scans), tuple(others), (remark,))


def label_table(labels: Any, folder: Path) -> dict[int, str]:
    """Value -> name from a dataset.json's "labels", which run either way.

    A region of nnU-Net v2 (a name for several values) names those of its values that no smaller region names.

    Raises:
        ValueError: If they are missing or neither way fits.
    """
    if not isinstance(labels, dict) or not labels:
        raise ValueError(f"{folder / 'dataset.json'} has no labels")
    try:
        if all(str(key).isdigit() for key in labels):
            return {int(key): str(name) for key, name in labels.items() if int(key)}
        table: dict[int, str] = {}
        regions = [(name, value if isinstance(value, list) else [value]) for name, value in labels.items()]
        for name, values in sorted(regions, key=lambda region: len(region[1])):
            for value in map(int, values):
                if value:
                    table.setdefault(value, name)
        return table
    except (TypeError, ValueError):
        raise ValueError(
            f"{folder / 'dataset.json'}: labels must be name: value or value: name, got {labels}"
        ) from None


def _description(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / 'dataset.json'} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{folder / 'dataset.json'} must hold an object, got {type(content).__name__}")
    return content


def _check_channels(description: dict[str, Any], folder: Path) -> None:
    channels = description.get("channel_names") or description.get("modality") or {}
    names = [str(name) for name in channels.values()] if isinstance(channels, dict) else [str(channels)]
    if len(names) > 1 or any(re.search(r"\bM(R|RI)\b", name, re.IGNORECASE) for name in names):
        raise ValueError(f"{folder / 'dataset.json'}: one CT per case is needed, the channels are {', '.join(names)}")


def _pairs(
    folder: Path, images: str, labels: str, names: dict[int, str]
) -> tuple[list[SourceCase], tuple[LeftOut, ...]]:
    masks = {stem(path): path for path in volumes_in(folder / labels)}
    scans = {stem(path): path for path in volumes_in(folder / images)}
    if any(f"{name}_0000" in scans for name in masks):  # nnU-Net's number of the channel
        scans = {re.sub(r"_\d{4}$", "", name): path for name, path in scans.items()}
    cases = [
        SourceCase(safe_id(name), safe_id(name), scans[name], (LabelFile(masks[name], names),), masks[name])
        for name in sorted(scans.keys() & masks.keys())
    ]
    return cases, unpaired(scans, masks)
