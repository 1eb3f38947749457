"""Running a case: whether it is done already, and how its files are written.

A case's files are made in a scratch folder beside their destination and moved into place when all exist, the report
last: a folder with a report is complete, and an interrupted batch goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..atomic import SCRATCH, move_into_place, scratch_folder, sha256_of
from ..errors import one_sentence, sentence_on
from ..formats.dicom.results import write_dicom
from ..formats.files import read_volume, write_segmentation, write_volume
from ..models.description import ModelSpec
from ..models.loading import Model
from ..monitor import ProgressCallback
from ..pipeline import Options, segment
from ..volume import Segmentation, Volume
from .cases import (
    REPORT_FILE,
    Case,
    files_of_input,
    files_of_result,
    is_called_like_a_result,
    read_report,
    unfinished_results,
)
from .overview import write_overview
from .report import build_report

logger = logging.getLogger("attention_unet")
ABANDONED_SECONDS = 3600.0  # a scratch folder that is older was left by a run that was killed


@dataclass(frozen=True)
class CaseResult:
    """How one case ended: a report, or an error, or nothing to do."""

    case: Case
    report: dict[str, Any] | None = None
    error: str = ""
    skipped: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the case's results are complete."""
        return not self.error

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        status = "skipped" if self.skipped else "done" if self.succeeded else "failed"
        base = {
            "case": self.case.name,
            "source": str(self.case.source),
            "folder": str(self.case.folder),
            "status": status,
        }
        return base | ({"error": self.error} if self.error else {}) | ({"report": self.report} if self.report else {})


def run_cases(
    cases: Sequence[Case],
    model: Model,
    options: Options,
    overwrite: bool,
    begin: Callable[[int, Case], ProgressCallback],
) -> Iterator[CaseResult]:
    """Run cases one after the other, each when asked for; a failing one does not stop the others.

    Args:
        cases: What to segment.
        model: Network and description.
        options: What to do.
        overwrite: Whether to segment again what is done already, and to replace what is in the way.
        begin: Called with the number of a case, from 1, before it runs; gives the function to report progress to.
    """
    for number, case in enumerate(cases, start=1):
        yield result_of(case, model, options, overwrite, begin(number, case))


def is_done(case: Case, model: Model, options: Options) -> bool:
    """Whether the case's folder holds the complete result of the same input, model and options."""
    report = read_report(case.folder)
    if not report or report["run"] != run_fingerprint(case, model, options):
        return False
    files = [case.folder / str(name) for name in report["files"]]
    return all(path.is_file() and path.stat().st_size for path in files)


def check_nothing_is_lost(case: Case) -> None:
    """Make sure that nothing is in the folder but an earlier result of the same input, as it was written.

    Raises:
        ValueError: If another input's result is there, one that was edited, or files of the user's own named like one.
    """
    advice = "choose another output folder, or replace it with --overwrite"
    report = read_report(case.folder)
    if report and report["run"]["input"] != case.input_id:
        raise ValueError(f"{case.folder} holds the result of another input, {report['run']['input']}: {advice}")
    for name, written in (report.get("sha256") or {}).items():
        path = case.folder / name
        if is_called_like_a_result(name) and path.is_file() and sha256_of(path) != written:
            raise ValueError(f"{path} was changed since it was written: {advice}")
    ours = {*files_of_result(case.folder), *unfinished_results(case.folder, case.input_id)}
    found = {path.name for path in case.folder.glob("*") if is_called_like_a_result(path.name)}
    if foreign := sorted(found - ours):
        raise ValueError(f"{case.folder} holds {foreign[0]}, which no complete run wrote: {advice}")


def run_case(
    case: Case,
    model: Model,
    options: Options,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Segment one case, write its files and return its report.

    Raises:
        ValueError: If the input cannot be used, or, unless ``overwrite`` is set, something would be lost
            (``check_nothing_is_lost``), by now.
        OSError: If the results cannot be written; what was there before is untouched.
    """
    if case.source.resolve().parent == case.folder.resolve() and is_called_like_a_result(case.source.name):
        raise ValueError(f"the result would replace {case.source} itself: choose another output folder")
    check_writable(case.folder)
    fingerprint = run_fingerprint(case, model, options)
    began = time.monotonic()
    volume = read_volume(case.source)
    reading = time.monotonic() - began
    segmentation = segment(volume, model, options, progress)
    is_new = not case.folder.exists()
    case.folder.mkdir(parents=True, exist_ok=True)
    try:
        unfinished = unfinished_results(case.folder, case.input_id)
        with scratch_folder(case.folder) as scratch:
            report = write_result(
                scratch, volume, segmentation, model.spec, fingerprint, reading, case.source if case.dicom else None
            )
            if not overwrite:
                check_nothing_is_lost(case)  # another run may have come first
            move_into_place(scratch, case.folder, {*files_of_result(case.folder), *unfinished}, REPORT_FILE)
        remove_abandoned(case.folder)
    except BaseException:
        if is_new and not any(case.folder.iterdir()):
            case.folder.rmdir()
        raise
    return report


def write_result(
    folder: Path,
    volume: Volume,
    segmentation: Segmentation,
    spec: ModelSpec,
    run: dict[str, Any],
    reading: float | None = None,
    dicom_folder: Path | None = None,
) -> dict[str, Any]:
    """Write everything that is kept of a run, the report last.

    Args:
        folder: An empty one.
        volume: The CT.
        segmentation: Its result.
        spec: The model's description.
        run: What determines the result: of ``run_fingerprint``, or at least the "input".
        reading: Seconds that reading the CT took, if known.
        dicom_folder: Where the CT's images are, if DICOM files that refer to them are to be written too. Where they
            cannot be, a warning says why.

    Returns:
        The report.

    Raises:
        OSError: If a file cannot be written.
    """
    began = time.monotonic()
    _write_files(folder, volume, segmentation)
    if dicom_folder is not None:
        try:
            write_dicom(segmentation, dicom_folder, folder)
        except ValueError as error:
            logger.debug("no DICOM files", exc_info=True)
            segmentation.warnings.append(f"no DICOM SEG and SR were written: {one_sentence(error)}")
    report = build_report(volume, segmentation, spec)
    report["files"] = sorted(path.name for path in folder.iterdir())
    report["sha256"] = {name: sha256_of(folder / name) for name in report["files"]}
    report["run"] = run
    seconds = {} if reading is None else {"reading": round(reading, 3)}
    report["seconds_files"] = seconds | {"writing": round(time.monotonic() - began, 3)}
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / REPORT_FILE).write_text(text, encoding="utf-8")
    return report


def result_of(
    case: Case, model: Model, options: Options, overwrite: bool, progress: ProgressCallback | None = None
) -> CaseResult:
    """Run a case unless its result is there; what is wrong with it ends up in the result."""
    try:
        if not overwrite and is_done(case, model, options):
            return CaseResult(case, skipped=True)
        if not overwrite:
            check_nothing_is_lost(case)
        return CaseResult(case, report=run_case(case, model, options, overwrite, progress))
    except Exception as error:
        logger.debug("case %s failed", case.name, exc_info=True)
        known = isinstance(error, ValueError | OSError | RuntimeError | MemoryError)
        told = error if known else RuntimeError(f"{type(error).__name__}: {error}")
        return CaseResult(case, error=sentence_on(case.source, told))


def run_fingerprint(case: Case, model: Model, options: Options) -> dict[str, Any]:
    """What determines a result: the input's files, the model and its description, the options."""
    files = sorted(path for path in files_of_input(case.source) if path.exists())
    states = [(os.path.relpath(path, case.source.parent), path.stat()) for path in files]
    listing = "\n".join(f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states)
    return {
        "input": case.input_id,
        "state": hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest(),
        "engine_version": __version__,
        "model_sha256": model.spec.weights.sha256,
        "description_sha256": hashlib.sha256(model.spec.to_json().encode()).hexdigest(),
        "options": asdict(options),
    } | ({"dicom": True} if case.dicom else {})


def check_writable(folder: Path) -> None:
    """Make sure that results can be written, before anything is computed.

    Raises:
        OSError: If not, with the reason.
    """
    existing = folder
    while not (existing.exists() or existing.is_symlink()):
        existing = existing.parent
    if not existing.is_dir():
        what = "a file" if existing.exists() else "a broken link"
        raise NotADirectoryError(f"the output folder {folder} cannot be made: {existing} is {what}")
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


def remove_abandoned(folder: Path, older_than_seconds: float = ABANDONED_SECONDS) -> None:
    """Delete scratch folders of runs that were killed; what they were about to replace has been replaced by now."""
    for scratch in folder.glob(f"{SCRATCH}*"):
        with suppress(FileNotFoundError):  # another run's, which has ended
            if time.time() - scratch.stat().st_mtime >= older_than_seconds:
                shutil.rmtree(scratch, ignore_errors=True)
