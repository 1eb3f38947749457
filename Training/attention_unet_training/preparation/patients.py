"""Whose image a case is, and how that is known: all images of a patient have to be on one side of a split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from AttentionUNetSegmentationLib.formats.dicom.headers import damage_named, is_dicom_file

from .records import CaseRecord
from .source import SourceCase

COLUMN = "the table's column patient"
PATIENT_ID = "the DICOM PatientID"
NAME = "the subject in the file's name"
PUBLISHED = "the data set's description"
ASSUMED = ""
PATIENT_ID_TAG = 0x00100020
BIDS_SUBJECT = re.compile(r"(sub-[A-Za-z0-9]+)(?![A-Za-z0-9-])")
NUMBERED_SUBJECT = re.compile(r"(s\d{4})[_-]\d+")  # as TotalSegmentator's subjects, with the number of the scan
MAX_FOLDERS = 3  # above a file, in which a subject's name is looked for: sub-01/ses-02/anat/


def subject_of(name: PurePath | str) -> str:
    """The subject that a file's name or a folder above it names: BIDS's ``sub-01``, ``s0001`` of ``s0001_1``; or ""."""
    for part in PurePath(name).parts[: -MAX_FOLDERS - 2 : -1]:
        part = part.split(".", 1)[0]
        match = BIDS_SUBJECT.match(part) or NUMBERED_SUBJECT.fullmatch(part)
        if match:
            return match[1]
    return ""


def patient_of(case: SourceCase) -> tuple[str, str]:
    """The patient of a case, and how it is known: what the source states, PatientID, the file's name, or its own."""
    if case.patient and case.patient_from != NAME:
        return case.patient, case.patient_from
    if case.image.is_dir() and (patient := _dicom_patient(case.image)):
        return patient, PATIENT_ID
    return (case.patient, NAME) if case.patient else (case.id, ASSUMED)


def told(cases: Sequence[CaseRecord], is_table: bool) -> str:
    """One sentence: how the patients are known, and what was assumed where nothing says it."""
    counts = Counter(case.patient_from for case in cases)
    parts = [f"{how} tells the patients of {count} images" for how, count in counts.items() if how != ASSUMED]
    if counts[ASSUMED]:
        why = "no patient column was given" if is_table else "nothing says whose they are"
        parts.append(f"each of {counts[ASSUMED]} images is taken as one patient, as {why}")
    return "; ".join(parts)


def _dicom_patient(folder: Path) -> str:
    """The PatientID of a folder's CT, which is one patient's; "" if none is there. Headers are read no further."""
    from pydicom.filereader import read_partial

    for path in sorted(path for path in folder.rglob("*") if path.is_file() and is_dicom_file(path)):
        try:
            with damage_named(path), path.open("rb") as stream:
                header = read_partial(stream, lambda tag, vr, length: tag > PATIENT_ID_TAG, force=True)
                patient = str(header.get("PatientID") or "").strip()
        except ValueError:
            continue  # reading the CT tells which files are damaged
        if patient and header.get("Modality") == "CT":
            return patient
    return ""
