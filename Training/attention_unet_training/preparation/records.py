"""What stands in a prepared dataset's JSON files, typed and validated on load."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from AttentionUNetSegmentationLib.atomic import write_text
from AttentionUNetSegmentationLib.models.description import IntensitySpec, build_typed

FORMAT = 1
DATASET_FILE = "dataset.json"
CASES_FOLDER = "cases"
SPLITS_FOLDER = "splits"
IMAGE_FILE, LABELS_FILE, REFERENCE_FILE = "image.npy", "labels.npy", "reference.nii.gz"
IGNORED = 255  # in prepared labels and references: voxels of which nothing is known, left out of training and measuring
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Record = TypeVar("Record")


@dataclass(frozen=True)
class CaseRecord:
    """One case of ``dataset.json``.

    Attributes:
        id: Unique; also the name of its folder.
        patient: All scans of one patient share it.
        folder: "cases/<id>".
        shape_kji: Voxels of image and labels.
        ijk_to_ras: (4, 4) rows, mm, of their grid.
        image_source: The CT it was made from: a file or a DICOM folder, absolute.
        labels_source: The label map, or the folder of masks, absolute.
        voxels: Organ -> voxels of ``labels.npy``.
        labelled: Organs that the source labels; of the others nothing is known in this case.
        notes: What was noticed or done, one sentence each.
        patient_from: How the patient is known; "" if every image is taken as one patient.
        part: Of the source's own split, "train", "validation" or "test"; "" if it has none.
    """

    id: str
    patient: str
    folder: str
    shape_kji: tuple[int, int, int]
    ijk_to_ras: tuple[tuple[float, ...], ...]
    image_source: str
    labels_source: str
    voxels: dict[str, int]
    labelled: tuple[str, ...]
    notes: tuple[str, ...] = ()
    patient_from: str = ""
    part: str = ""

    def __post_init__(self) -> None:
        if not SAFE_ID.fullmatch(self.id):
            raise ValueError(f"a case's id must consist of letters, digits, '.', '_' and '-', got {self.id!r}")
        if self.folder != f"{CASES_FOLDER}/{self.id}":
            raise ValueError(f"case {self.id}: folder must be {CASES_FOLDER}/{self.id}, got {self.folder!r}")


@dataclass(frozen=True)
class LeftOut:
    """A case that is not in the dataset, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class DatasetRecord:
    """``dataset.json``: classes are numbered in the order of ``organs``, from 1.

    ``patients`` says how they are known, ``labelled_by`` which model made the labels; "" for people.
    """

    format: int
    name: str
    organs: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    intensity: IntensitySpec
    cases: tuple[CaseRecord, ...]
    left_out: tuple[LeftOut, ...] = ()
    patients: str = ""
    labelled_by: str = ""

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format must be {FORMAT}, got {self.format}")
        if not 0 < len(self.organs) < IGNORED or len(set(self.organs)) != len(self.organs):
            raise ValueError(f"organs must be distinct names, fewer than {IGNORED}, got {list(self.organs)}")
        ids = [case.id for case in self.cases]
        if len(set(ids)) != len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise ValueError(f"case {twice} is listed twice")
        strangers = {organ for case in self.cases for organ in case.labelled} - set(self.organs)
        if strangers:
            raise ValueError(f"cases are labelled for organs that are not listed: {', '.join(sorted(strangers))}")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: If it is none, is nested too deeply or has numbers of too many digits; the message names the file.
        OSError: If it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from error


def read_record(kind: type[Record], path: Path) -> Record:
    """Read a JSON file as a typed record.

    Raises:
        ValueError: If the file is missing, no JSON, or breaks a rule; the message names the file.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    try:
        return build_typed(kind, content, path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_record(record: Any, path: Path) -> None:
    """Write a record as JSON; the file is replaced at once or not at all."""
    write_text(path, json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False) + "\n")
