"""What a loader finds in a folder: which files are a case, what their label values are called, what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from AttentionUNetSegmentationLib.formats.files import READABLE_ENDINGS

from .records import LeftOut

MAX_LABEL = 65535


@dataclass(frozen=True)
class LabelFile:
    """A label map, or the mask of one structure.

    Attributes:
        path: The file.
        names: Value -> name of what it marks; 0 is background, and "ignore" marks voxels of which nothing is known.
        regions: Name -> the values that it marks together; a value may belong to several.
    """

    path: Path
    names: dict[int, str]
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def table(self) -> dict[int, tuple[str, ...]]:
        """Value -> all its names."""
        table: dict[int, tuple[str, ...]] = {value: (name,) for value, name in self.names.items()}
        for name, values in self.regions.items():
            table |= {value: (*table.get(value, ()), name) for value in values}
        return table


@dataclass(frozen=True)
class SourceCase:
    """One CT and its labels.

    Attributes:
        id: Unique within the source; letters, digits, '.', '_', '-'.
        patient: All scans of one patient share it; "" if the source does not say.
        image: File, or folder of DICOM slices.
        labels: One label map, or several masks.
        labels_source: The label map, or the folder of masks.
        patient_from: How the patient is known, see ``patients.py``.
        part: Of the source's own split, "train", "validation" or "test"; "" if it has none.
        labelled: Organs that this case's labels show, where they lack others; none if all that the source labels.
    """

    id: str
    patient: str
    image: Path
    labels: tuple[LabelFile, ...]
    labels_source: Path
    patient_from: str = ""
    part: str = ""
    labelled: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSource:
    """All that was found.

    Attributes:
        layout: Which layout it is, for messages.
        cases: Cases to prepare.
        left_out: Cases that cannot be prepared, with reasons.
        remarks: What to tell the user: counts that differ from the published ones, for example.
        labelled_by: The model that made the labels; "" for people.
    """

    layout: str
    cases: tuple[SourceCase, ...]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    labelled_by: str = ""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of all labels of all cases."""
        files = [entry for case in self.cases for entry in case.labels]
        return tuple(dict.fromkeys(name for entry in files for name in (*entry.names.values(), *entry.regions)))


def stem(path: Path) -> str:
    """A file's name without the ending of its format; a folder's name."""
    for ending in sorted(READABLE_ENDINGS, key=len, reverse=True):
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def volumes_in(folder: Path) -> list[Path]:
    """Volume files directly in a folder, sorted; hidden ones (macOS's "._" files) are not volumes."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.name[0] != "." and path.name.lower().endswith(READABLE_ENDINGS)
    )


def one_each(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Case -> its file.

    Raises:
        ValueError: If a case has two: which of them counted would be chance.
    """
    found: dict[str, Path] = {}
    for case, path in files:
        if case in found:
            raise ValueError(f"{found[case]} and {path} are two files of one case; move one of them away")
        found[case] = path
    return found


def label_value(value: object) -> int:
    """A label value as a description or an option gives it, as a number or in digits.

    Raises:
        ValueError: If it is not a whole number from 0 to ``MAX_LABEL``.
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value):
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_LABEL and value % 1 == 0:
        return int(value)
    raise ValueError(f"a label value must be a whole number from 0 to {MAX_LABEL}, got {value!r:.40}")


def safe_id(text: str) -> str:
    """A name as a case id: other characters than letters, digits, '.', '_', '-' become '_'."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip("._-") or "case"


def unpaired(images: Iterable[str], labels: Iterable[str]) -> tuple[LeftOut, ...]:
    """Names that have an image without labels, or labels without an image."""
    images, labels = set(images), set(labels)
    return tuple(
        LeftOut(safe_id(name), "there are no labels for this image" if name in images else "the CT is not there")
        for name in sorted(images ^ labels)
    )


def count_remark(found: int, published: int, what: str) -> tuple[str, ...]:
    """A remark if fewer or more cases are there than were published."""
    return () if found == published else (f"{found} cases found, {published} are expected: {what}",)
