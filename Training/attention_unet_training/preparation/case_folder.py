"""A case's folder: found again by what its files were made from, and written all at once or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from AttentionUNetSegmentationLib.atomic import move_into_place, scratch_folder

from .alignment import Lie
from .records import CASES_FOLDER, IMAGE_FILE, LABELS_FILE, REFERENCE_FILE, CaseRecord, read_record

CASE_FILE = "case.json"


@dataclass(frozen=True)
class CaseFile:
    """``case.json``: a finished case, what it was made from, and a hash of its image to recognise copies.

    Attributes:
        fingerprint: Hash of what it was made from.
        image_hashes: Of its image, and of the CT's own voxels in the patient's order of axes.
        lie: How its labels lie on the CT.
        record: What ``dataset.json`` says about it.
    """

    fingerprint: str
    image_hashes: tuple[str, ...]
    lie: Lie
    record: CaseRecord


def find_finished(dataset: Path, id: str, mark: str) -> CaseFile | None:
    """A finished case with this fingerprint, or None."""
    folder = dataset / CASES_FOLDER / id
    if not all((folder / name).is_file() for name in (CASE_FILE, IMAGE_FILE, LABELS_FILE, REFERENCE_FILE)):
        return None
    with contextlib.suppress(ValueError):
        found = read_record(CaseFile, folder / CASE_FILE)
        return found if found.fingerprint == mark else None
    return None


@contextlib.contextmanager
def case_draft(dataset: Path, id: str) -> Iterator[Path]:
    """A folder that takes the case's place when all its files are written."""
    cases = dataset / CASES_FOLDER
    cases.mkdir(parents=True, exist_ok=True)
    with scratch_folder(cases) as scratch:
        (scratch / id).mkdir()
        yield scratch / id
        move_into_place(scratch, cases)
