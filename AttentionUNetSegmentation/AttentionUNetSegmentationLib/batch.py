"""One case or many: what to segment, where results go, what is done already, and how they are written.

A case's files are made in a scratch folder beside their destination and moved into place when all exist, the report
last: a folder with a report is complete, and an interrupted batch goes on where it stopped.
"""

from __future__ import annotations

import fnmatch
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .dicom import is_dicom_file
from .files import READABLE_ENDINGS, read_volume, write_segmentation, write_volume
from .itk_headers import read_header
from .model import Model
from .monitor import CancelCheck, ProgressCallback
from .pipeline import Options, segment
from .report import build_report, write_overview
from .volume import Segmentation, Volume

REPORT_FILE = "report.json"
RESULT_FILES = (
    REPORT_FILE,
    "labels.nii.gz",
    "segmentation.seg.nrrd",
    "overview.png",
    "attention_*.nrrd",
    "probability_*.nii.gz",
)


@dataclass(frozen=True)
class Case:
    """One input and the folder its results go to."""

    name: str
    source: Path
    folder: Path


def find_cases(inputs: Sequence[str | Path], output_dir: Path) -> list[Case]:
    """Turn the given files and folders into cases.

    A folder that directly holds volumes gives one case for each of them, any other folder is taken as DICOM. A single
    case writes into ``output_dir`` itself, several write into sub-folders with unique names.

    Raises:
        ValueError: If nothing is given, or a folder holds DICOM files and volumes of another kind.
    """
    sources: list[Path] = []
    for entry in map(Path, inputs):
        volumes = _volumes_in(entry) if entry.is_dir() else []
        if volumes and any(is_dicom_file(path) for path in entry.iterdir() if path.is_file()):
            raise ValueError(f"{entry} holds DICOM files and {volumes[0].name}: name that file, or move it elsewhere")
        sources += volumes or [entry]
    if not sources:
        raise ValueError("no input was given")
    names = _unique_names(sources)
    if len(sources) == 1:
        return [Case(names[0], sources[0], output_dir)]
    return [Case(name, source, output_dir / name) for name, source in zip(names, sources, strict=True)]


def is_done(case: Case, model: Model, options: Options) -> bool:
    """Whether the case's folder holds the complete result of the same input, model and options."""
    try:
        report = json.loads((case.folder / REPORT_FILE).read_text(encoding="utf-8"))
        complete = all((case.folder / name).is_file() for name in report["files"])
        return complete and report["run"] == run_fingerprint(case, model, options)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_nothing_is_lost(case: Case) -> None:
    """Make sure that the folder holds neither another input's result nor files of the user's own named like a result.

    Raises:
        ValueError: If it does.
    """
    try:
        report = json.loads((case.folder / REPORT_FILE).read_text(encoding="utf-8"))
        earlier = report["run"]["input"]
    except (OSError, ValueError, KeyError, TypeError):
        foreign = sorted(path.name for path in case.folder.glob("*") if _is_called_like_a_result(path.name))
        if foreign:
            raise ValueError(
                f"{case.folder} holds {foreign[0]}, which is no result of a complete run: "
                "choose another output folder, or replace it with --overwrite"
            ) from None
        return
    if earlier != str(case.source.resolve()):
        raise ValueError(
            f"{case.folder} holds the result of another input, {earlier}: "
            "choose another output folder, or replace it with --overwrite"
        )


def run_case(
    case: Case,
    model: Model,
    options: Options,
    progress: ProgressCallback | None = None,
    cancel: CancelCheck | None = None,
) -> dict[str, Any]:
    """Segment one case, write its files and return its report.

    Raises:
        ValueError: If the input cannot be used.
        OSError: If the results cannot be written; what was there before is untouched.
        Cancelled: When asked to stop.
    """
    if case.source.resolve().parent == case.folder.resolve() and _is_called_like_a_result(case.source.name):
        raise ValueError(f"the result would replace {case.source} itself: choose another output folder")
    fingerprint = run_fingerprint(case, model, options)
    began = time.monotonic()
    volume = read_volume(case.source)
    reading = time.monotonic() - began
    segmentation = segment(volume, model, options, progress, cancel)
    report = build_report(volume, segmentation, model.spec)
    is_new = not case.folder.exists()
    case.folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=case.folder, prefix=".writing-") as scratch:
            began = time.monotonic()
            _write_files(Path(scratch), volume, segmentation)
            report["files"] = sorted(path.name for path in Path(scratch).iterdir())
            report["run"] = fingerprint
            report["seconds_files"] = {"reading": round(reading, 3), "writing": round(time.monotonic() - began, 3)}
            text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
            (Path(scratch) / REPORT_FILE).write_text(text, encoding="utf-8")
            _move_into_place(Path(scratch), case.folder)
    except BaseException:
        if is_new and not any(case.folder.iterdir()):
            case.folder.rmdir()
        raise
    return report


def run_fingerprint(case: Case, model: Model, options: Options) -> dict[str, Any]:
    """What determines a result: the input's files, the model's weights, the options."""
    states = [path.stat() for path in _files_of_input(case.source) if path.exists()]
    return {
        "input": str(case.source.resolve()),
        "bytes": sum(state.st_size for state in states),
        "modified": max((state.st_mtime_ns for state in states), default=0),
        "engine_version": __version__,
        "model_sha256": model.spec.weights.sha256,
        "options": asdict(options),
    }


def _files_of_input(source: Path) -> list[Path]:
    """Everything that the voxels of an input come from: the file, its data file too, or a folder's files."""
    if source.is_dir():
        return [path for path in source.rglob("*") if path.is_file()]
    return sorted({source, read_header(source).data_file}) if source.is_file() else []


def check_writable(folder: Path) -> None:
    """Make sure that results can be written, before anything is computed.

    Raises:
        OSError: If not, with the reason.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise NotADirectoryError(f"the output folder {folder} cannot be made: {existing} is a file")
    try:
        str(folder).encode("utf-8")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except UnicodeEncodeError:
        raise OSError(f"the output folder {str(folder)!a} is not valid UTF-8; rename it") from None
    except OSError as error:
        raise OSError(f"the output folder {folder} is not writable: {error.strerror or error}") from error


def _write_files(folder: Path, volume: Volume, segmentation: Segmentation) -> None:
    write_segmentation(segmentation, folder / "segmentation.seg.nrrd")
    labels = Volume(segmentation.labels, segmentation.ijk_to_ras, name="labels.nii.gz")
    write_volume(labels, folder / "labels.nii.gz")
    for gate, attention in segmentation.attention.items():
        write_volume(attention, folder / f"attention_{gate}.nrrd")
    for organ, probability in segmentation.probabilities.items():
        write_volume(probability, folder / f"probability_{organ.replace(' ', '_')}.nii.gz")
    write_overview(volume, segmentation, folder / "overview.png")


def _move_into_place(scratch: Path, folder: Path) -> None:
    """Exchange an older result for the new one: the old report goes first, the new one comes last.

    If a file cannot be moved (open in another program, say), or the run is interrupted, everything is put back.
    """
    new = sorted((path.name for path in scratch.iterdir()), key=lambda name: name == REPORT_FILE)
    old = sorted({*_files_of_report(folder), *new}, key=lambda name: name != REPORT_FILE)
    backup = scratch / "backup"
    backup.mkdir()
    try:
        for name in old:
            if (folder / name).is_file():
                os.replace(folder / name, backup / name)
        for name in new:
            os.replace(scratch / name, folder / name)
    except BaseException:
        for path in backup.iterdir():
            os.replace(path, folder / path.name)
        raise


def _files_of_report(folder: Path) -> list[str]:
    """The files that the report in a folder names, itself included; none without a readable report."""
    try:
        names = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))["files"]
        return [REPORT_FILE, *(name for name in names if _is_called_like_a_result(name))]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _is_called_like_a_result(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in RESULT_FILES)


def _volumes_in(folder: Path) -> list[Path]:
    """The volumes that lie directly in a folder, but for those that a report there names as its results."""
    results = set(_files_of_report(folder))
    return sorted(path for path in folder.iterdir() if _is_volume(path) and path.name not in results)


def _is_volume(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(READABLE_ENDINGS)


def _unique_names(sources: Sequence[Path]) -> list[str]:
    """A folder name for each source: its own name, with its parent's where names collide, and a number if need be."""
    names = [_stem(source) for source in sources]
    counts = Counter(name.lower() for name in names)
    names = [
        f"{source.absolute().parent.name}_{name}" if counts[name.lower()] > 1 else name
        for name, source in zip(names, sources, strict=True)
    ]
    used: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate.lower() in used:
            candidate, number = f"{name}_{number}", number + 1
        used.add(candidate.lower())
        unique.append(candidate)
    return unique


def _stem(source: Path) -> str:
    name = source.absolute().name
    for ending in sorted(READABLE_ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name or "case"
