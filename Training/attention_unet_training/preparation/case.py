"""One case: CT and labels -> image, labels and reference in the dataset's folder, all at once or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from AttentionUNetSegmentationLib import __version__
from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.formats.dicom.headers import files_below
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.imaging.plausibility import input_warnings
from AttentionUNetSegmentationLib.imaging.preprocessing import check_volume, preprocess
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.volume import Grid, Volume

from .alignment import Lie, OpenLieError, align
from .case_folder import CASE_FILE, CaseFile, case_draft, find_finished
from .label_reading import read_classes
from .patients import DicomPatient, dicom_patient, hashed, patient_of
from .records import (
    CASES_FOLDER,
    DATASET_FILE,
    FORMAT,
    IGNORED,
    IMAGE_FILE,
    LABELS_FILE,
    REFERENCE_FILE,
    CaseRecord,
    write_record,
)
from .source import SourceCase

logger = logging.getLogger("attention_unet")


@dataclass(frozen=True)
class CaseOptions:
    """What determines a prepared case, beside its files.

    Attributes:
        organs: Names of the classes 1, 2, ...
        labelled: Those that the source labels.
        mapping: Label name -> organ.
        spacing_mm: The network's spacing along i, j, k.
        intensity: The network's intensity rule.
        allow_missing: Keep cases in which a labelled organ has no voxels, if another one has.
        ignore_unknown: Take label values without a name as background.
        trust_geometry: Leave labels where their geometry puts them on the CT, whatever content says.
    """

    organs: tuple[str, ...]
    labelled: tuple[str, ...]
    mapping: dict[str, str]
    spacing_mm: tuple[float, float, float]
    intensity: IntensitySpec
    allow_missing: bool = False
    ignore_unknown: bool = False
    trust_geometry: bool = False


@dataclass(frozen=True)
class CaseTask:
    """What one worker process gets; ``agreed``: how the source's labels lie, see ``align``."""

    case: SourceCase
    options: CaseOptions
    dataset: Path
    overwrite: bool = False
    agreed: str = ""


@dataclass(frozen=True)
class CasePreparation:
    """How a case ended: with its file, or the reason why it is left out.

    Attributes:
        id: The case.
        file: Its description; None if it is left out.
        reason: Why it is left out.
        reused: Whether it was there from an earlier run.
        lie: How its labels lie on the CT; None if that was not asked.
        persons: Hashes of the patient whom the DICOM headers name, and of the source's; "" for nobody. Never written.
    """

    id: str
    file: CaseFile | None = None
    reason: str = ""
    reused: bool = False
    lie: Lie | None = None
    persons: tuple[str, str] = ("", "")


def prepare_case(task: CaseTask) -> CasePreparation:
    """Prepare a case, unless it is there already; whatever goes wrong with it ends here."""
    case = task.case
    try:
        mark = fingerprint(task)
        finished = None if task.overwrite or task.agreed else find_finished(task.dataset, case.id, mark)
        named = dicom_patient(case.image)
        persons = (named.mark, hashed(case.patient) if case.patient else "")
        if finished is not None:
            return CasePreparation(case.id, finished, reused=True, lie=finished.lie, persons=persons)
        file = _prepare(task, mark, named)
        return CasePreparation(case.id, file, lie=file.lie, persons=persons)
    except Exception as error:
        known = isinstance(error, ValueError | OSError | RuntimeError | MemoryError)
        logger.log(logging.DEBUG if known else logging.ERROR, "case %s failed", case.id, exc_info=True)
        message = one_sentence(error)
        lie = error.lie if isinstance(error, OpenLieError) else None
        return CasePreparation(case.id, reason=message if known else f"{type(error).__name__}: {message}", lie=lie)


def fingerprint(task: CaseTask) -> str:
    """Hash of what determines the result: the sources' files (name, size, time), options, version."""
    case = task.case
    content: dict[str, Any] = {
        "format": FORMAT,
        "engine": __version__,
        "patient": [case.patient, case.patient_from, case.part],
        "labelled": case.labelled,
        "options": dataclasses.asdict(task.options),
        "image": _states(case.image),
        "labels": [
            (_states(entry.path), sorted(entry.table.items()))
            for entry in case.labels
            if {name for names in entry.table.values() for name in names} & set(task.options.mapping)
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def resample_classes(classes: np.ndarray, source: Grid, target: Grid, count: int) -> np.ndarray:
    """Bring class numbers to another grid: every class's share of a voxel is interpolated, the largest wins.

    Args:
        classes: (K, J, I) on ``source``, 0 background, up to ``count``, and ``IGNORED``, which is kept likewise.
        source: Where they lie.
        target: Where they are wanted.
        count: Number of classes but background.

    Returns:
        uint8 of ``target.shape_kji``.
    """
    best = resample((classes == 0).astype(np.uint8), source, target)
    result = np.zeros(target.shape_kji, dtype=np.uint8)
    for number in (*range(1, count + 1), IGNORED):
        mask = classes == number
        if mask.any():
            share = resample(mask.astype(np.uint8), source, target)
            better = share > best
            best[better], result[better] = share[better], number
    return result


def _prepare(task: CaseTask, mark: str, named: DicomPatient) -> CaseFile:
    case, options = task.case, task.options
    ct = read_volume(case.image)
    check_volume(dataclasses.replace(ct, name=str(case.image)))  # a refusal names the path, as names may recur
    patient, patient_from = patient_of(case, named)
    labels = read_classes(case, options.mapping, options.organs, options.ignore_unknown)
    labelled = tuple(organ for organ in options.labelled if not case.labelled or organ in case.labelled)
    absent = _absent(labels.voxels, options, labelled)
    aligned = align(labels, ct, task.agreed, options.trust_geometry)
    prepared = preprocess(ct, options.spacing_mm, options.intensity)
    classes = resample_classes(aligned.classes, ct.grid, prepared.grid, len(options.organs))
    image = prepared.image.astype(np.float16)
    voxels = {organ: int(np.count_nonzero(classes == n)) for n, organ in enumerate(options.organs, start=1)}
    if not any(voxels.values()):
        raise ValueError("empty labels: no voxel is left on the network's grid")
    notes = dict.fromkeys((*ct.notes, *input_warnings(ct), *labels.notes, *aligned.notes, *absent))
    record = CaseRecord(
        id=case.id,
        patient=patient,
        folder=f"{CASES_FOLDER}/{case.id}",
        shape_kji=image.shape,
        ijk_to_ras=tuple(map(tuple, prepared.grid.ijk_to_ras.tolist())),
        image_source=str(case.image.resolve()),
        labels_source=str(case.labels_source.resolve()),
        voxels=voxels,
        labelled=labelled,
        notes=tuple(notes),
        patient_from=patient_from,
        part=case.part,
    )
    hashes = (hashlib.sha256(image.tobytes()).hexdigest(), _voxel_hash(ct))
    file = CaseFile(mark, hashes, aligned.lie, record)
    with case_draft(task.dataset, case.id) as scratch:
        np.save(scratch / IMAGE_FILE, image)
        np.save(scratch / LABELS_FILE, classes)
        write_volume(Volume(aligned.classes, ct.ijk_to_ras, name=REFERENCE_FILE), scratch / REFERENCE_FILE)
        write_record(file, scratch / CASE_FILE)
        if task.overwrite:  # its classes may be others than those of the cases that are not yet replaced
            (task.dataset / DATASET_FILE).unlink(missing_ok=True)
    return file


def _voxel_hash(ct: Volume) -> str:
    """Hash of a CT's own voxels, whatever the file's order of axes and type of numbers, and wherever it lies."""
    axes = [int(np.abs(row).argmax()) for row in ct.grid.directions]  # to the right, front, up -> i, j, k
    voxels = ct.voxels
    if sorted(axes) == [0, 1, 2]:
        voxels = voxels.transpose([2 - axis for axis in reversed(axes)])
        backwards = [2 - n for n, axis in enumerate(axes) if ct.grid.directions[n, axis] < 0]
        voxels = np.flip(voxels, tuple(backwards))
    digest = hashlib.sha256(str(voxels.shape).encode())
    for plane in voxels:
        digest.update(np.ascontiguousarray(np.rint(np.clip(plane, -32768, 32767)), dtype=np.int16).tobytes())
    return digest.hexdigest()


def _absent(classes: np.ndarray, options: CaseOptions, labelled: tuple[str, ...]) -> tuple[str, ...]:
    """Notes on labelled organs without voxels.

    Raises:
        ValueError: If there are no labels at all, or an organ is missing and that is not allowed.
    """
    missing = [organ for organ in labelled if not (classes == options.organs.index(organ) + 1).any()]
    if not ((classes != 0) & (classes != IGNORED)).any():
        raise ValueError("empty labels: no voxel is labelled")
    if missing and not options.allow_missing:
        raise ValueError(
            f"missing organ: {', '.join(missing)} (if the scan lacks it, --allow-missing keeps such cases; "
            "if it was not labelled, give a table with a column labelled)"
        )
    return tuple(f"{organ} is not in this scan" for organ in missing)


def _states(path: Path) -> list[tuple[str, int, int]]:
    """Path, size and time of change of a file, or of all files of a folder."""
    files = files_below(path) if path.is_dir() else [path]
    found = [(str(file.resolve()), file.stat()) for file in files if file.is_file()]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in found]
