"""Images and patients that are in a source twice: they could stand on both sides of a split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .case import CasePreparation
from .patients import STATED
from .records import CaseRecord
from .splits import TEST


def without_copies(outcomes: Sequence[CasePreparation]) -> list[CasePreparation]:
    """Leave out every case whose image is that of an earlier one or of a test case, whatever its name or format."""
    result = []
    for outcome, original in zip(outcomes, _originals(outcomes), strict=True):
        if original is not None and original.id != outcome.id:
            outcome = CasePreparation(outcome.id, reason=f"the same voxels as case {original.id}")
        result.append(outcome)
    return result


def with_shared_patients(cases: Sequence[CaseRecord], outcomes: Sequence[CasePreparation]) -> tuple[CaseRecord, ...]:
    """Two patients who share an image, or a person whom headers, names or the source tell, are one in all their cases.

    Args:
        cases: The cases of the dataset.
        outcomes: How all cases ended, copies included.
    """
    other: dict[str, str] = {}  # patient -> who that is
    why: dict[str, str] = {}
    first: dict[str, str] = {}  # person -> patient

    def name_of(patient: str) -> str:
        while patient in other:
            patient = other[patient]
        return patient

    def join(known: str, patient: str, reason: str) -> None:
        one, two = name_of(known), name_of(patient)
        if one != two:
            other[two], why[two] = one, reason

    ignored = stands_for_nobody(outcomes)
    for outcome, original in zip(outcomes, _originals(outcomes), strict=True):
        if outcome.file is not None and original is not None:
            patient = outcome.file.record.patient
            join(original.patient, patient, "they share an image")
            for person in filter(None, outcome.persons):
                if person != ignored:
                    join(first.setdefault(person, patient), patient, "the DICOM headers or the source name one person")
    return tuple(_named(case, name_of(case.patient), why.get(case.patient, "")) for case in cases)


def stands_for_nobody(outcomes: Sequence[CasePreparation]) -> str:
    """The person whom all headers name though the source states several patients: anonymised; "" if there is none."""
    named = [outcome for outcome in outcomes if outcome.file is not None and outcome.persons[0]]
    records = [outcome.file.record for outcome in named if outcome.file is not None]
    persons = {outcome.persons[0] for outcome in named}
    stated = all(record.patient_from in STATED for record in records)
    return persons.pop() if len(persons) == 1 and stated and len({record.patient for record in records}) > 1 else ""


def _named(case: CaseRecord, patient: str, reason: str) -> CaseRecord:
    if patient == case.patient:
        return case
    note = f"patient {case.patient} is taken as patient {patient}: {reason}"
    return dataclasses.replace(case, patient=patient, notes=(*case.notes, note))


def _originals(outcomes: Sequence[CasePreparation]) -> list[CaseRecord | None]:
    """For each case the first one with the same image, which may be itself; None for a case that failed.

    A test case of the source's own split comes before all others, so that nobody trains on its copy.
    """
    first: dict[str, CaseRecord] = {}
    originals: list[CaseRecord | None] = [None] * len(outcomes)
    done = [(n, outcome.file) for n, outcome in enumerate(outcomes) if outcome.file is not None]
    for number, file in sorted(done, key=lambda entry: entry[1].record.part != TEST):
        original = next((first[mark] for mark in file.image_hashes if mark in first), file.record)
        first |= {mark: original for mark in file.image_hashes if mark not in first}
        originals[number] = original
    return originals
