"""A table of CTs and label maps: columns image, label, perhaps id, patient, split, labelled; paths relative to it.

"labelled" names the organs that a label map shows, separated by semicolons, where it lacks some of the others'.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..patients import COLUMN, NAME, subject_of
from ..source import DatasetSource, LabelFile, SourceCase, label_value, safe_id, stem
from ..splits import TEST, TRAIN, VALIDATION

LAYOUT = "CSV table"
NEEDED, ALLOWED = ("image", "label"), ("image", "label", "id", "patient", "split", "labelled")
PART_WORDS = {"train": TRAIN, "training": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST}


def matches(path: Path) -> bool:
    """Whether it is a .csv file."""
    return path.is_file() and path.suffix.lower() == ".csv"


def load(path: Path, values: Mapping[int, str]) -> DatasetSource:
    """Read the table.

    Args:
        path: The CSV file, with a header line.
        values: What the values in the label maps are called.

    Raises:
        ValueError: If a column is missing or unknown, a row incomplete, its split unknown, an id given twice, or no
            value has a name.
    """
    if not values:
        raise ValueError("a CSV table needs --label NAME=VALUE for every value of its label maps, got none")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a readable CSV table ({error})") from error
    if set(NEEDED) - set(columns) or set(columns) - set(ALLOWED):
        raise ValueError(
            f"{path}: columns must be image, label, perhaps id, patient, split, labelled; got {', '.join(columns)}"
        )
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(f"{path}: line {number} must have {len(columns)} entries")
        if empty := [name for name in columns if not row[name].strip()]:
            raise ValueError(f"{path}: line {number} has no {empty[0]}")
        if "\0" in "".join(row.values()):
            raise ValueError(f"{path}: line {number} has a null byte")
        if "split" in columns and row["split"].strip().lower() not in PART_WORDS:
            raise ValueError(f"{path}: line {number}: split must be train, validation or test, got {row['split']!r}")
    names = _ids(path, rows)
    return DatasetSource(LAYOUT, tuple(_case(path, row, name, values) for row, name in zip(rows, names, strict=True)))


def parse_values(texts: Iterable[str]) -> dict[int, str]:
    """Value -> name from options NAME=VALUE[,VALUE].

    Raises:
        ValueError: If one has another form, or a value gets two names.
    """
    table: dict[int, str] = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            parts = [label_value(part.strip()) for part in numbers.split(",")]
        except ValueError as error:
            raise ValueError(f"--label must look like kidney=3,4, got {text!r:.60}: {error}") from None
        if not name.strip() or not all(parts):
            raise ValueError(f"--label must look like kidney=3,4, got {text!r}")
        for value in parts:
            if value in table:
                raise ValueError(f"--label gives the value {value} to {table[value]!r} and to {name.strip()!r}")
            table[value] = name.strip()
    return table


def _case(path: Path, row: dict[str, str], name: str, values: Mapping[int, str]) -> SourceCase:
    image, label = (path.parent / row[column].strip() for column in NEEDED)
    patient, known = row.get("patient", "").strip(), COLUMN
    if not patient:
        patient, known = subject_of(row.get("id", "").strip()) or subject_of(row["image"].strip()), NAME
    part = PART_WORDS.get(row.get("split", "").strip().lower(), "")
    labelled = tuple(organ.strip() for organ in row.get("labelled", "").split(";") if organ.strip())
    return SourceCase(name, patient, image, (LabelFile(label, dict(values)),), label, known, part, labelled)


def _ids(path: Path, rows: list[dict[str, str]]) -> list[str]:
    """The ids given, or the images' names, with their folders' names where these repeat."""
    if rows and "id" in rows[0]:
        names = [safe_id(row["id"].strip()) for row in rows]
    else:
        images = [path.parent / row["image"].strip() for row in rows]
        counts = Counter(stem(image) for image in images)
        names = [
            safe_id(f"{image.resolve().parent.name}_{stem(image)}" if counts[stem(image)] > 1 else stem(image))
            for image in images
        ]
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"{path}: {repeated[0]} stands for two cases; give the cases an id column")
    return names
