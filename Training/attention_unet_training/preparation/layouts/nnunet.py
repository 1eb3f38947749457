"""nnU-Net and Medical Segmentation Decathlon folders; AMOS, which has the same form.

Never run on a real download (none was at hand); tested on tiny copies of the layouts::

    dataset.json                          "labels": {"1": "pancreas"} (MSD, nnU-Net v1) or {"pancreas": 1} (nnU-Net v2)
    imagesTr/case.nii.gz                  MSD, AMOS; nnU-Net adds the channel: case_0000.nii.gz
    labelsTr/case.nii.gz
    imagesVa, labelsVa, imagesTs, labelsTs      likewise, where labels are public: the source's own split

Sources: nnU-Net's documentation (dataset_format.md); AMOS 2022, doi:10.5281/zenodo.7155725: 500 CT (numbers 1 to 500)
and 100 MR (from 501 on), labels public for training (imagesTr) and validation (imagesVa).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..organ_names import IGNORE
from ..patients import NAME, PATIENT_ID, subject_of
from ..records import LeftOut, read_json
from ..source import DatasetSource, LabelFile, SourceCase, label_value, one_each, safe_id, stem, unpaired, volumes_in
from ..splits import TEST, TRAIN, VALIDATION

LAYOUT, AMOS_LAYOUT = "nnU-Net or MSD", "AMOS"
AMOS_NAME = re.compile(r"amos_(\d{4})")
AMOS_LAST_CT = 500
LABELLED_BY = "labelled_by"  # in dataset.json: of pseudo-label
PATIENTS_FILE = "patients.json"  # of pseudo-label: case -> what stands for the patient
PARTS = {"Tr": TRAIN, "Va": VALIDATION, "Ts": TEST}


def matches(folder: Path) -> bool:
    """Whether the folder has dataset.json, imagesTr and labelsTr."""
    return (folder / "dataset.json").is_file() and all((folder / name).is_dir() for name in ("imagesTr", "labelsTr"))


def matches_amos(folder: Path) -> bool:
    """Whether it is such a folder with files named as AMOS's."""
    return matches(folder) and any(AMOS_NAME.match(path.name) for path in volumes_in(folder / "labelsTr"))


def load(folder: Path) -> DatasetSource:
    """List the labelled cases.

    Raises:
        ValueError: If dataset.json lacks the labels or contradicts itself, or the images are no CT.
    """
    description = _description(folder)
    _check_channels(description, folder)
    cases, left_out = _pairs(folder, description)
    if description.get(LABELLED_BY) and (folder / PATIENTS_FILE).is_file():
        patients = {name: str(mark) for name, mark in dict(read_json(folder / PATIENTS_FILE)).items()}
        known = (patients.get(case.id) for case in cases)
        cases = [
            replace(case, patient=patient, patient_from=PATIENT_ID) if patient else case
            for case, patient in zip(cases, known, strict=True)
        ]
    remarks = []
    announced, found = description.get("numTraining"), sum(case.part == TRAIN for case in cases)
    if isinstance(announced, int) and announced != found:
        remarks.append(f"{found} training cases found, dataset.json announces {announced}")
    made_by = str(description.get(LABELLED_BY, ""))
    return DatasetSource(LAYOUT, tuple(cases), tuple(left_out), tuple(remarks), made_by)


def load_amos(folder: Path) -> DatasetSource:
    """List AMOS's labelled CTs; MR is left out.

    Raises:
        ValueError: If dataset.json lacks the labels.
    """
    cases, others = _pairs(folder, _description(folder))
    scans = []
    for case in cases:
        match = AMOS_NAME.match(case.id)
        if match and int(match[1]) > AMOS_LAST_CT:
            others.append(LeftOut(case.id, f"an MR scan (AMOS numbers above {AMOS_LAST_CT}); a CT is needed"))
        else:
            scans.append(case)
    counts = [sum(case.part == part for case in cases) for part in (TRAIN, VALIDATION)]
    remark = f"{counts[0]} cases in imagesTr, {counts[1]} in imagesVa; published are 240 and 120, MR included"
    return DatasetSource(AMOS_LAYOUT, tuple(scans), tuple(others), (remark,))


def label_table(labels: Any, folder: Path) -> tuple[dict[int, str], dict[str, tuple[int, ...]]]:
    """Value -> name from a dataset.json's "labels", which run either way; and nnU-Net v2's regions, name -> values.

    Raises:
        ValueError: If they are missing, neither way fits, one is no label value, a value has two names, or the value to
            ignore has another.
    """
    if not isinstance(labels, dict) or not labels:
        raise ValueError(f"{folder / 'dataset.json'} has no labels")
    by_value = all(key.isdecimal() for key in labels)
    pairs = [(str(name), value) for value, name in labels.items()] if by_value else list(labels.items())
    try:
        single = [(name, label_value(value)) for name, value in pairs if not isinstance(value, list)]
        regions = {name: tuple(map(label_value, value)) for name, value in pairs if isinstance(value, list)}
    except ValueError as error:
        raise ValueError(f"{folder / 'dataset.json'}: labels must be name: value or value: name; {error}") from None
    table: dict[int, str] = {}
    for name, value in single:
        other = table.setdefault(value, name)
        if other != name:
            raise ValueError(f"{folder / 'dataset.json'}: the value {value} is both {other!r} and {name!r}")
    ignored = {value for value, name in table.items() if name.strip().lower() == IGNORE}
    for name, values in regions.items():
        if ignored & set(values) or name.strip().lower() == IGNORE:
            raise ValueError(f"{folder / 'dataset.json'}: ignore must be one value and in no region, got {labels}")
    table.pop(0, None)
    return table, {name: tuple(value for value in values if value) for name, values in regions.items()}


def _description(folder: Path) -> dict[str, Any]:
    content = read_json(folder / "dataset.json")
    if not isinstance(content, dict):
        raise ValueError(f"{folder / 'dataset.json'} must hold an object, got {type(content).__name__}")
    return content


def _check_channels(description: dict[str, Any], folder: Path) -> None:
    channels = description.get("channel_names") or description.get("modality") or {}
    names = [str(name) for name in channels.values()] if isinstance(channels, dict) else [str(channels)]
    if len(names) > 1 or any(re.search(r"\bM(R|RI)\b", name, re.IGNORECASE) for name in names):
        raise ValueError(f"{folder / 'dataset.json'}: one CT per case is needed, the channels are {', '.join(names)}")


def _pairs(folder: Path, description: dict[str, Any]) -> tuple[list[SourceCase], list[LeftOut]]:
    """The cases of every part that has labels, and what has no partner in them.

    Raises:
        ValueError: If the labels cannot be used, or there are two cases of one name.
    """
    names, regions = label_table(description.get("labels"), folder)
    cases: dict[str, SourceCase] = {}
    left_out: list[LeftOut] = []
    for short, part in PARTS.items():
        masks = one_each((stem(path), path) for path in volumes_in(folder / f"labels{short}"))
        scans = one_each((stem(path), path) for path in volumes_in(folder / f"images{short}"))
        if any(f"{name}_0000" in scans for name in masks):  # nnU-Net's number of the channel
            scans = one_each((re.sub(r"_\d{4}$", "", name), path) for name, path in scans.items())
        for name in sorted(scans.keys() & masks.keys()):
            labels, id = (LabelFile(masks[name], names, regions),), safe_id(name)
            if id in cases:
                raise ValueError(f"{folder}: {cases[id].image} and {scans[name]} are two cases of one name, {id}")
            cases[id] = SourceCase(id, subject_of(name), scans[name], labels, masks[name], NAME, part)
        left_out += unpaired(scans, masks) if masks else ()  # labels of a test part are often kept back
    return list(cases.values()), left_out
