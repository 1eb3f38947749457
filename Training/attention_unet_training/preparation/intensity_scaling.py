"""Cases whose intensity rule is measured over all of them: the rule is settled, then every image is scaled by it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.imaging.preprocessing import scale_intensity
from AttentionUNetSegmentationLib.models.description import IntensitySpec

from .case_folder import CASE_FILE, UNSCALED_FOLDER, CaseFile, case_draft
from .intensity import IntensityToMeasure
from .records import (
    CASES_FOLDER,
    DATASET_FILE,
    IMAGE_FILE,
    LABELS_FILE,
    REFERENCE_FILE,
    DatasetRecord,
    read_record,
    write_record,
)


def scale_cases(folder: Path, rule: IntensityToMeasure, cases: Sequence[CaseFile], overwrite: bool) -> IntensitySpec:
    """Measure the rule over the cases, and scale those that are not yet.

    Args:
        folder: The dataset's folder.
        rule: What is given, and what is to be measured.
        cases: All cases of the dataset, with moments.
        overwrite: Whether the dataset in the folder is being replaced.

    Returns:
        The rule with its numbers.

    Raises:
        ValueError: If the standard deviation is 0, or the folder holds cases that were scaled by other numbers; the
            cases that are there stay as they are.
        OSError: If the folder cannot be written.
    """
    try:
        intensity = rule.settle([case.moments for case in cases if case.moments is not None])
        if not overwrite:
            _check_not_mixed(folder, cases, intensity)
    except ValueError:
        shutil.rmtree(folder / UNSCALED_FOLDER, ignore_errors=True)
        raise
    if overwrite:
        (folder / DATASET_FILE).unlink(missing_ok=True)  # it says what the cases that are replaced now were scaled by
    for case in cases:
        if case.intensity is None:
            _scale_case(folder, case, intensity)
    shutil.rmtree(folder / UNSCALED_FOLDER, ignore_errors=True)
    return intensity


def _check_not_mixed(folder: Path, cases: Sequence[CaseFile], intensity: IntensitySpec) -> None:
    scaled = [case.intensity for case in cases if case.intensity is not None]
    if (folder / DATASET_FILE).exists():
        scaled.append(read_record(DatasetRecord, folder / DATASET_FILE).intensity)
    for old in scaled:
        if old != intensity:
            raise ValueError(
                f"{folder} holds cases whose intensities were scaled by {_numbers(old)}, but over the {len(cases)} "
                f"cases that can be used now {_numbers(intensity)} was measured; choose another folder, or --overwrite "
                f"to scale all cases anew"
            )


def _numbers(rule: IntensitySpec) -> str:
    return f"mean {rule.mean_hu} HU, standard deviation {rule.std_hu} HU"


def _scale_case(folder: Path, case: CaseFile, intensity: IntensitySpec) -> None:
    """Put a case that waited in ``UNSCALED_FOLDER`` into the dataset, its image scaled as the engine scales it."""
    waiting = folder / UNSCALED_FOLDER / CASES_FOLDER / case.record.id
    hu = np.load(waiting / IMAGE_FILE, mmap_mode="r", allow_pickle=False)  # (D, H, W) float32
    with case_draft(folder, case.record.id) as scratch:
        np.save(scratch / IMAGE_FILE, scale_intensity(hu, intensity).astype(np.float16))
        for name in (LABELS_FILE, REFERENCE_FILE):
            shutil.copyfile(waiting / name, scratch / name)
        write_record(dataclasses.replace(case, intensity=intensity), scratch / CASE_FILE)
    shutil.rmtree(waiting)
