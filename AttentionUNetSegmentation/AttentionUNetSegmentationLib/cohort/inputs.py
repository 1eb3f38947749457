"""A folder tree, or a table of paths -> the cases of a cohort, each with a name of its own."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..command.cases import Case, case_name, no_results, volumes_in
from ..formats.dicom.headers import files_below, has_preamble, is_dicom_file, study_of
from ..formats.dicom.series import DICOM_ENDINGS

CASES = "cases"  # the folder, within the output, of the cases' own folders
COLUMNS = ("source", "case")
TABLE_ENDINGS = (".csv", ".parquet")


def find_cohort(source: Path, output_dir: Path, dicom: bool = False) -> list[Case]:
    """The cases of a cohort, sorted by name.

    In a tree, each NIfTI, NRRD or MHA file is a case. So is each DICOM study whose series lie in a folder each, side by
    side and without other DICOM files in the folder above; any other folder of DICOM files is a case with all that lies
    below. A case is named by its path in the tree, without ending. Folders whose names begin with a dot are left out.

    Args:
        source: A folder, or a CSV or Parquet table with a column "source", paths relative to the table's folder, and
            perhaps a column "case", their names.
        output_dir: Where results go.
        dicom: Whether to write DICOM files too, for cases that are DICOM.

    Raises:
        ValueError: If there are no cases, two would have the same name, or the output lies within the input.
        OSError: If a folder of the tree must not be read.
    """
    if not source.exists():
        raise ValueError(f"{source} does not exist")
    if source.is_dir():
        if output_dir.resolve().is_relative_to(source.resolve()):
            raise ValueError(f"the output folder {output_dir} lies within {source}: choose one outside")
        named = [_named_in_tree(path, source) for path in _inputs_below(source)]
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
    first: dict[Path, _Image] = {}  # folder -> its first DICOM image
    for folder, found in groupby(files_below(root), key=lambda path: path.parent):
        files = list(found)
        if any(part.startswith(".") for part in folder.relative_to(root).parts):
            continue
        yield from volumes_in(folder)
        if image := _first_image(no_results(folder, [path.name for path in files])):
            first[folder] = image
    above = {place for folder in first for place in folder.parents}
    first = {folder: image for folder, image in first.items() if image.is_sure or folder not in above}
    for folder in first.keys() & above:
        _check_above(first[folder], [image for other, image in first.items() if folder in other.parents])
    studies: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for folder, image in first.items():
        studies[folder.parent, image.study].append(folder)
    below = Counter(place for folder in first for place in folder.parents)
    for (parent, study), folders in studies.items():
        if not first.keys().isdisjoint((parent, *parent.parents)):
            continue  # what lies above is read with all that is below
        is_study = study and len(folders) > 1 and below[parent] == len(folders)
        yield from [parent] if is_study else folders


def _check_above(image: _Image, below: list[_Image]) -> None:
    """Refuse an image above several studies that are not known to be one patient's: all would be read as one case.

    Raises:
        ValueError: If there are such.
    """
    others = {each.study for each in below} - {image.study}
    patients = {each.study.partition(" ")[2] for each in [image, *below]}
    if len(others) > 1 and (len(patients) > 1 or "" in patients):
        raise ValueError(f"{image.path} lies above folders of {len(others)} other studies: move it into one of its own")


class _Image(NamedTuple):
    """A DICOM image, the study it is of (empty if that cannot be told), and whether it is one for sure."""

    path: Path
    study: str
    is_sure: bool


def _first_image(files: Iterable[Path]) -> _Image | None:
    """The first DICOM image among files; one without preamble, name or study may be any file that begins like one."""
    for path in files:
        study, is_sure = "", True
        try:
            if not path.exists() or path.name.upper() == "DICOMDIR" or not is_dicom_file(path):
                continue
            is_sure = has_preamble(path) or path.suffix.lower() in DICOM_ENDINGS
            study = study_of(path)
        except (OSError, ValueError):
            pass  # the case says what is wrong with it
        return _Image(path, study, is_sure or bool(study))
    return None


def _named_in_tree(path: Path, root: Path) -> tuple[str, Path, str]:
    """Name of the case, input, and what the report calls it: the tree's own name keeps results of two trees apart."""
    top, relative = root.resolve().name, PurePosixPath(path.relative_to(root).as_posix())
    if not relative.name:
        return top, path, top
    return _without_ending(relative, path), path, f"{top}/{relative}"


def _without_ending(name: PurePosixPath, path: Path) -> str:
    return (name if path.is_dir() else name.with_name(case_name(Path(name.name)))).as_posix()


def _inputs_of_table(table: Path) -> Iterator[tuple[str, Path, str]]:
    for number, row in enumerate(_read_table(table), start=1):
        where = f"{table}, row {number}"
        if near := [name for name in row if (column := str(name).strip().lower()) in COLUMNS and column not in row]:
            raise ValueError(f'{table} has a column "{near[0]}": call it "{near[0].strip().lower()}"')
        source, given = (_text(row.get(column), f"{where}, column {column}") for column in COLUMNS)
        if not source:
            columns = ", ".join(f'"{column}"' for column in row)
            raise ValueError(
                f'{where} has no "source": the table has {columns}; it needs "source" (paths), optionally "case"'
            )
        path = table.parent / source
        parts = PurePosixPath(given or source)
        if parts.is_absolute() or ".." in parts.parts or not parts.name or "\\" in str(parts):
            what = (
                f'"{given}" is no name for a case'
                if given
                else f'"{source}" leads out of the table\'s folder or holds a backslash'
            )
            raise ValueError(f'{where}: {what}; give one like "site/patient" in the column "case"')
        called = source if Path(source).is_absolute() else f"{table.resolve().parent.name}/{source}"
        try:
            name = parts.as_posix() if given else _without_ending(parts, path)
        except OSError as error:  # too long a name
            raise ValueError(f"{where}: {error.strerror}: {source}") from error
        yield name, path, called


def _text(value: object, where: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise ValueError(f"{where} must be text, got {value!r}")


def _read_table(table: Path) -> list[dict[str, Any]]:
    if table.suffix.lower() not in TABLE_ENDINGS:
        raise ValueError(f"{table} is neither a folder nor a table ({', '.join(TABLE_ENDINGS)})")
    try:
        if table.suffix.lower() == ".csv":
            with table.open(encoding="utf-8-sig", newline="") as stream:
                return list(csv.DictReader(stream, strict=True))
        from pyarrow import parquet

        return parquet.read_table(table).to_pylist()
    except (OSError, ValueError, csv.Error) as error:  # of damage pyarrow tells with either of the first two
        kind = "CSV in UTF-8" if table.suffix.lower() == ".csv" else "Parquet"
        raise ValueError(f"{table} cannot be read as {kind}: {error}") from error
