"""One case or many: what to segment, where results go, what is done already, and how they are written.

A case's files are made in a scratch folder beside their destination and moved into place when all exist, the report
last: a folder with a report is complete, and an interrupted batch goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .files import READABLE_ENDINGS, read_volume, write_segmentation, write_volume
from .model import Model
from .monitor import CancelCheck, ProgressCallback
from .pipeline import Options, segment
from .report import build_report, write_overview
from .volume import Segmentation, Volume

REPORT_FILE = "report.json"


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
        ValueError: If nothing is given.
    """
    sources: list[Path] = []
    for entry in map(Path, inputs):
        volumes = sorted(path for path in entry.iterdir() if _is_volume(path)) if entry.is_dir() else []
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
    fingerprint = run_fingerprint(case, model, options)
    volume = read_volume(case.source)
    segmentation = segment(volume, model, options, progress, cancel)
    report = build_report(volume, segmentation, model.spec)
    case.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=case.folder, prefix=".writing-") as scratch:
        _write_files(Path(scratch), volume, segmentation)
        report["files"] = sorted(path.name for path in Path(scratch).iterdir())
        report["run"] = fingerprint
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (Path(scratch) / REPORT_FILE).write_text(text, encoding="utf-8")
        _move_into_place(Path(scratch), case.folder, report["files"])
    return report


def run_fingerprint(case: Case, model: Model, options: Options) -> dict[str, Any]:
    """What determines a result: the input's files, the model's weights, the options."""
    files = [case.source] if case.source.is_file() else [path for path in case.source.rglob("*") if path.is_file()]
    states = [path.stat() for path in files if path.exists()]
    return {
        "input": str(case.source.resolve()),
        "bytes": sum(state.st_size for state in states),
        "modified": max((state.st_mtime_ns for state in states), default=0),
        "model_sha256": model.spec.weights.sha256,
        "options": asdict(options),
    }


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
        with tempfile.TemporaryFile(dir=existing):
            pass
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


def _move_into_place(scratch: Path, folder: Path, names: Sequence[str]) -> None:
    """Move finished files; the old report goes first and the new one comes last."""
    old_report = folder / REPORT_FILE
    stale: list[str] = []
    if old_report.is_file():
        try:
            stale = [Path(name).name for name in json.loads(old_report.read_text(encoding="utf-8"))["files"]]
        except (ValueError, KeyError, TypeError):
            stale = []
        old_report.unlink()
    for name in names:
        os.replace(scratch / name, folder / name)
    for name in set(stale) - set(names):
        (folder / name).unlink(missing_ok=True)
    os.replace(scratch / REPORT_FILE, old_report)


def _is_volume(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(READABLE_ENDINGS)


def _unique_names(sources: Sequence[Path]) -> list[str]:
    """A folder name for each source: its own name, with its parent's where names collide, and a number if need be."""
    names = [_stem(source) for source in sources]
    counts = Counter(name.lower() for name in names)
    names = [
        f"{source.resolve().parent.name}_{name}" if counts[name.lower()] > 1 else name
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
    name = source.resolve().name
    for ending in sorted(READABLE_ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name or "case"


def remove_output(case: Case) -> None:
    """Delete an empty output folder that a failed case may have left."""
    if case.folder.is_dir() and not any(case.folder.iterdir()):
        shutil.rmtree(case.folder)
