"""What to segment, where the results of each case go, and what lies there already."""

from __future__ import annotations

import fnmatch
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..atomic import BACKUP, SCRATCH
from ..formats.dicom.headers import files_below, is_dicom_file
from ..formats.files import READABLE_ENDINGS
from ..formats.nrrd_mha import read_header

REPORT_FILE = "report.json"
RESULT_FILES = (
    REPORT_FILE,
    "labels.nii.gz",
    "segmentation.seg.nrrd",
    "overview.png",
    "segmentation.dcm",
    "measurements.dcm",
    "attention_*.nrrd",
    "probability_*.nii.gz",
)


@dataclass(frozen=True)
class Case:
    """One input and the folder its results go to.

    Attributes:
        name: Of the case, and of its folder among several.
        source: File, or folder of DICOM files.
        folder: Where its results go.
        taken: Why the folder does not have the input's own name, if another input's result is the reason.
        dicom: Whether to write DICOM files too, which refer to the input's images.
        called: What the report calls the input, if not by its path: one in a cohort keeps its name on any computer.
    """

    name: str
    source: Path
    folder: Path
    taken: str = ""
    dicom: bool = False
    called: str = ""

    @property
    def input_id(self) -> str:
        """What a report knows the input by."""
        return self.called or str(self.source.resolve())


def find_cases(inputs: Sequence[str | Path], output_dir: Path, overwrite: bool = False) -> list[Case]:
    """Turn the given files and folders into cases.

    A single case writes into ``output_dir`` itself; several, and those of a folder of volumes, write into sub-folders
    with unique names. A case that has its results in one already, whatever it was given with, keeps its folder.

    Args:
        inputs: Files and folders.
        output_dir: Where results go, and earlier ones are.
        overwrite: Whether folders with results of other inputs may be taken.

    Raises:
        ValueError: See ``find_sources``.
    """
    sources = find_sources(inputs)
    alone = len(sources) == 1 and sources[0] == Path(inputs[0])
    if alone and str(sources[0].resolve()) not in _earlier_results(output_dir):
        return [Case(case_name(sources[0]), sources[0], output_dir)]
    return _named_cases(sources, output_dir, overwrite)


def check_dicom(cases: Sequence[Case]) -> None:
    """Make sure that DICOM files can be written for the inputs, before anything is computed.

    Raises:
        ValueError: If not: they refer to DICOM images, so each input has to be a folder of these.
    """
    check_highdicom()
    for case in cases:
        if not case.source.is_dir():
            raise ValueError(f"{case.source} is no DICOM folder: --dicom writes files that refer to DICOM images")


def check_highdicom() -> None:
    """Make sure that what writes DICOM files is installed.

    Raises:
        ValueError: If not.
    """
    if find_spec("highdicom") is None:
        raise ValueError("--dicom needs one more package: pip install 'slicer-attention-unet[dicom]'")


def find_sources(inputs: Sequence[str | Path]) -> list[Path]:
    """The CTs among files and folders: a folder that directly holds volumes stands for them, any other is DICOM.

    A folder that cannot be read is a source too, whose case will say so.

    Raises:
        ValueError: If nothing is given, a name is empty, or a folder holds DICOM files and volumes of another kind.
    """
    if "" in map(str, inputs):
        raise ValueError("the name of an input is empty")
    sources: list[Path] = []
    for entry in map(Path, inputs):
        volumes: list[Path] = []
        with suppress(OSError):
            volumes = volumes_in(entry) if entry.is_dir() else []
        if volumes and _holds_dicom(entry):
            raise ValueError(f"{entry} holds DICOM files and {volumes[0].name}: name what is to be segmented")
        sources += volumes or [entry]
    if not sources:
        raise ValueError("no input was given")
    return sources


def volumes_in(folder: Path) -> list[Path]:
    """The volumes that lie directly in a folder, dead links too, but for those that a report there names as results."""
    names = [path.name for path in folder.iterdir() if path.is_file() or not path.exists()]
    return sorted(path for path in no_results(folder, names) if is_called_like_a_volume(path.name))


def files_of_input(source: Path) -> list[Path]:
    """Everything that an input's voxels come from: the file, its data file too, or a folder's files but results."""
    if source.is_dir():
        names: dict[Path, list[str]] = defaultdict(list)
        for path in files_below(source):
            names[path.parent].append(path.name)
        return [path for folder, found in names.items() for path in no_results(folder, found)]
    if not source.is_file():
        return []
    header = read_header(source)
    if header.is_spread:  # over files that lie beside it
        return no_results(source.parent, [path.name for path in source.parent.iterdir() if path.is_file()])
    return list(dict.fromkeys([source, header.data_file]))


def read_report(folder: Path) -> dict[str, Any]:
    """The report of the result in a folder; empty without a readable one that names its files and its run."""
    if not (folder / REPORT_FILE).is_file():
        return {}
    try:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        is_ours = isinstance(report["files"], list) and isinstance(report["run"]["input"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return report if is_ours else {}


def files_of_result(folder: Path) -> list[str]:
    """Names of the files that belong to the result in a folder, the report first; none without a result."""
    report = read_report(folder)
    return [REPORT_FILE, *(name for name in report["files"] if is_called_like_a_result(name))] if report else []


def unfinished_results(folder: Path, input_id: str = "") -> set[str]:
    """Names of files that a run which was killed may have left in a folder, while it moved them there.

    Args:
        folder: Where the results go.
        input_id: What that run's report knows its input by; any if not given.
    """
    scratches = [scratch for found in folder.glob(f"{SCRATCH}*") for scratch in (found, found / BACKUP)]
    return {
        name
        for scratch in scratches
        if not input_id or read_report(scratch).get("run", {}).get("input") == input_id
        for name in files_of_result(scratch)
    }


def is_called_like_a_result(name: str) -> bool:
    """Whether a file of this name could be one that a run writes."""
    return any(fnmatch.fnmatchcase(str(name), pattern) for pattern in RESULT_FILES)


def no_results(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of a folder, but for those that a report there names as its results."""
    results = {*files_of_result(folder), *unfinished_results(folder)}
    return [folder / name for name in names if name not in results]


def _holds_dicom(folder: Path) -> bool:
    """Whether DICOM files lie in a folder, or one is the first in a folder there."""
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            _, _, names = next(os.walk(path), (path, [], []))  # nothing of a folder that must not be read
            path = path / min(names) if names else path
        with suppress(OSError):  # the case that needs it says so
            if path.is_file() and is_dicom_file(path):
                return True
    return False


def is_called_like_a_volume(name: str) -> bool:
    """Whether a file of this name could be a CT."""
    return not name.startswith(".") and name.lower().endswith(READABLE_ENDINGS)


def _earlier_results(output_dir: Path) -> dict[str, list[str]]:
    """Input -> names of the sub-folders that hold its results."""
    earlier: dict[str, list[str]] = defaultdict(list)
    for report in sorted(output_dir.glob(f"*/{REPORT_FILE}")):
        if not report.parent.name.startswith(SCRATCH) and (found := read_report(report.parent)):
            earlier[found["run"]["input"]].append(report.parent.name)
    return earlier


def _named_cases(sources: Sequence[Path], output_dir: Path, overwrite: bool) -> list[Case]:
    """A folder for each source: that of its earlier result, or its own name, with its parent's where names collide."""
    earlier = _earlier_results(output_dir)
    given = {str(source.resolve()) for source in sources}
    others = {name.lower(): path for path, names in earlier.items() if path not in given for name in names}
    used = {name.lower() for path in given for name in earlier.get(path, ())} | (set() if overwrite else set(others))
    counts = Counter(case_name(source).lower() for source in sources)
    cases = []
    for source in sources:
        short, long = case_name(source), f"{_absolute(source).parent.name}_{case_name(source)}"
        if kept := earlier.get(str(source.resolve())):
            name = next((own for own in (short, long) if own in kept), kept[0])  # not that of a copy
            kept.remove(name)
            cases.append(Case(name, source, output_dir / name))
            continue
        names = [short, long] if counts[short.lower()] == 1 else [long]
        names += [f"{long}_{number}" for number in range(2, len(sources) + len(used) + 3)]
        name = next(name for name in names if name.lower() not in used)
        used.add(name.lower())
        other = "" if overwrite else others.get(names[0].lower(), "")
        taken = f"because {output_dir / names[0]} holds the result of another input, {other}" if other else ""
        cases.append(Case(name, source, output_dir / name, taken))
    return cases


def case_name(source: Path) -> str:
    """What a case is called: its file or folder, without what tells the kind of file."""
    name = _absolute(source).name
    for ending in sorted(READABLE_ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name or "case"


def _absolute(source: Path) -> Path:
    """The path without "." and ".."; links are kept, as their names may be what tells cases apart."""
    return Path(os.path.abspath(source))
