"""A folder tree, or a table of paths -> the cases of a cohort, each with a name of its own that does not change."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from ..command.cases import Case, case_name, volumes_in
from ..formats.dicom.headers import files_below, is_dicom_file, study_of

CASES = "cases"  # the folder, within the output, of the cases' own folders
TABLE_ENDINGS = (".csv", ".parquet")


def find_cohort(source: Path, output_dir: Path, dicom: bool = False) -> list[Case]:
    """The cases of a cohort, sorted by name.

    In a tree, each NIfTI, NRRD or MHA file is a case. So is each DICOM study whose series lie in a folder each, side by
    side in one that holds nothing else; any other folder of DICOM files is a case by itself. A case is named by its
    path in the tree, without ending.

    Args:
        source: A folder, or a CSV or Parquet table with a column "source", paths relative to the table's folder, and
            perhaps a column "case", their names.
        output_dir: Where results go.
        dicom: Whether to write DICOM files too, for cases that are DICOM.

    Raises:
        ValueError: If there are no cases, two would have the same name, or the output lies within the input.
    """
    if not source.exists():
        raise ValueError(f"{source} does not exist")
    if source.is_dir():
        if output_dir.resolve().is_relative_to(source.resolve()):
            raise ValueError(f"the output folder {output_dir} lies within {source}: choose one outside")
        named = [(_name_in_tree(path, source), path, _relative(path, source)) for path in _inputs_below(source)]
    else:
        named = list(_inputs_of_table(source))
    if not named:
        raise ValueError(f"{source} holds no CT: no NIfTI, NRRD, MHA or DICOM file")
    taken: dict[str, Path] = {}
    for name, path, _ in named:
        if other := taken.get(name.lower()):
            raise ValueError(f"{other} and {path} would both be case {name}: rename one, or name both in a table")
        taken[name.lower()] = path
    return [
        Case(name, path, output_dir / CASES / name, dicom=dicom and path.is_dir(), called=called)
        for name, path, called in sorted(named)
    ]


def _inputs_below(root: Path) -> Iterator[Path]:
    studies: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for folder, files in groupby(files_below(root), key=lambda path: path.parent):
        yield from volumes_in(folder)
        if (study := _study_in(files)) is not None:
            studies[folder.parent, study].append(folder)
    dicom_folders = {folder for folders in studies.values() for folder in folders}
    below = Counter(place for folder in dicom_folders for place in folder.parents)
    for (parent, study), folders in studies.items():
        is_study = study and len(folders) > 1 and below[parent] == len(folders) and parent not in dicom_folders
        yield from [parent] if is_study else folders


def _study_in(files: Iterable[Path]) -> str | None:
    """Which study the first DICOM image among files is of, empty if it does not say; None without any."""
    for path in files:
        with suppress(OSError):  # the case says what is wrong with it
            if path.name.upper() != "DICOMDIR" and is_dicom_file(path):
                try:
                    return study_of(path)
                except ValueError:
                    return ""
    return None


def _relative(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return root.resolve().name if relative == "." else relative


def _name_in_tree(path: Path, root: Path) -> str:
    name = PurePosixPath(_relative(path, root))
    return (name if path.is_dir() else name.with_name(case_name(path))).as_posix()


def _inputs_of_table(table: Path) -> Iterator[tuple[str, Path, str]]:
    for row in _read_table(table):
        source, name = str(row.get("source") or ""), str(row.get("case") or "")
        if not source:
            raise ValueError(f'{table} needs a column "source" with a path in every row, and may have a column "case"')
        path = table.absolute().parent / source
        parts = PurePosixPath(name or source)
        if parts.is_absolute() or ".." in parts.parts or not parts.name or "\\" in str(parts):
            what = f"the case name {name!r}" if name else f"the path {source!r} leads out of its folder and"
            raise ValueError(f'{table}: {what} is no name for a folder of results: give one in the column "case"')
        yield name or _ending_removed(parts), path, source


def _ending_removed(path: PurePosixPath) -> str:
    return path.with_name(case_name(Path(path.name))).as_posix()


def _read_table(table: Path) -> list[dict[str, Any]]:
    if table.suffix.lower() == ".csv":
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))
    if table.suffix.lower() == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(table).to_pylist()
    raise ValueError(f"{table} is neither a folder nor a table ({', '.join(TABLE_ENDINGS)})")
