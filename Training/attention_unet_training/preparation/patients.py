"""Whose image a case is, and how that is known: all images of a patient have to be on one side of a split."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from AttentionUNetSegmentationLib.formats.dicom.headers import damage_named, files_below, read_slices

from .records import CaseRecord
from .source import SourceCase

COLUMN = "the table's column patient"
PATIENT_ID = "the DICOM PatientID"
NAME = "the subject in the file's name"
NAME_AND_BIRTH = "the DICOM patient's name and birth date"
PUBLISHED = "the data set's description"
ASSUMED = ""
BIRTH_DATE_TAG = 0x00100030
BIDS_SUBJECT = re.compile(r"(sub-[A-Za-z0-9]+)(?![A-Za-z0-9-])")
NUMBERED_SUBJECT = re.compile(r"(s\d{4})[_-]\d+")  # as TotalSegmentator's subjects, with the number of the scan
STATED = (COLUMN, PUBLISHED)  # by people, who may know better than headers without names
MAX_FOLDERS = 3  # above a file, in which a subject's name is looked for: sub-01/ses-02/anat/


def subject_of(name: PurePath | str) -> str:
    """The subject that a file's name or a folder above it names: BIDS's ``sub-01``, ``s0001`` of ``s0001_1``; or ""."""
    for part in PurePath(name).parts[: -MAX_FOLDERS - 2 : -1]:
        part = part.split(".", 1)[0]
        match = BIDS_SUBJECT.match(part) or NUMBERED_SUBJECT.fullmatch(part)
        if match:
            return match[1]
    return ""


@dataclass(frozen=True)
class DicomPatient:
    """Whom the headers of a CT name. Names and birth dates are compared only: a hash stands for them.

    Attributes:
        id: The PatientID.
        mark: Hash of the PatientID, else of name and birth date; "" without.
    """

    id: str = ""
    mark: str = ""


def patient_of(case: SourceCase, named: DicomPatient) -> tuple[str, str]:
    """The patient of a case, and how it is known: what the source states, PatientID, the file's name, or its own."""
    if case.patient and case.patient_from != NAME:
        return case.patient, case.patient_from
    if named.id:
        return named.id, PATIENT_ID
    return (case.patient, NAME) if case.patient else (case.id, NAME_AND_BIRTH if named.mark else ASSUMED)


def told(cases: Sequence[CaseRecord], is_table: bool) -> str:
    """One sentence: how the patients are known, and what was assumed where nothing says it."""
    counts = Counter(case.patient_from for case in cases)
    parts = [f"{how} identifies the patients of {count} images" for how, count in counts.items() if how != ASSUMED]
    if counts[ASSUMED]:
        why = "no patient column was given" if is_table else "nothing says whose they are"
        parts.append(f"each of {counts[ASSUMED]} images is counted as a separate patient, because {why}")
    return "; ".join(parts)


def dicom_patient(image: Path) -> DicomPatient:
    """Whom the headers of a folder's CT name; nobody's for a file. The folder is one patient's, or it is refused."""
    from pydicom.filereader import read_partial

    for path in files_below(image) if image.is_dir() else ():
        try:
            if read_slices(path)[0].modality != "CT":
                continue
            with damage_named(path), path.open("rb") as stream:
                header = read_partial(stream, lambda tag, vr, length: tag > BIRTH_DATE_TAG, force=True)
                texts = (header.get(key) for key in ("PatientID", "PatientName", "PatientBirthDate"))
                patient, name, birth = (str(text or "").strip(" ^\0") for text in texts)
        except ValueError:
            continue  # reading the CT tells which files are damaged
        if patient:
            return DicomPatient(patient, hashed(PATIENT_ID, patient))
        if name and birth:
            return DicomPatient("", hashed(NAME_AND_BIRTH, name.casefold(), birth))
    return DicomPatient()


def hashed(*texts: str) -> str:
    """What stands for texts that are only compared."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).hexdigest()
