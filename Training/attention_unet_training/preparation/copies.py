"""Images that are in a source twice: one of them is left out, as they could stand on both sides of a split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .case import CasePreparation
from .records import CaseRecord


def without_copies(outcomes: Sequence[CasePreparation]) -> list[CasePreparation]:
    """Leave out every case whose image is that of an earlier one, under whatever name, place or format."""
    result = []
    for outcome, original in zip(outcomes, _originals(outcomes), strict=True):
        if original is not None and original.id != outcome.id:
            outcome = CasePreparation(outcome.id, reason=f"the same voxels as case {original.id}")
        result.append(outcome)
    return result


def with_shared_patients(cases: Sequence[CaseRecord], outcomes: Sequence[CasePreparation]) -> tuple[CaseRecord, ...]:
    """Two patients who share an image are one: all their cases get the same patient.

    Args:
        cases: The cases of the dataset.
        outcomes: How all cases ended, copies included.
    """
    other: dict[str, str] = {}  # patient -> who that is

    def name_of(patient: str) -> str:
        while patient in other:
            patient = other[patient]
        return patient

    for outcome, original in zip(outcomes, _originals(outcomes), strict=True):
        if outcome.file is not None and original is not None:
            first, second = name_of(original.patient), name_of(outcome.file.record.patient)
            if first != second:
                other[second] = first
    return tuple(_named(case, name_of(case.patient)) for case in cases)


def _named(case: CaseRecord, patient: str) -> CaseRecord:
    if patient == case.patient:
        return case
    note = f"patient {case.patient} is taken as patient {patient}: they share an image"
    return dataclasses.replace(case, patient=patient, notes=(*case.notes, note))


def _originals(outcomes: Sequence[CasePreparation]) -> list[CaseRecord | None]:
    """For each case the first one with the same image, which may be itself; None for a case that failed."""
    first: dict[str, CaseRecord] = {}
    originals: list[CaseRecord | None] = []
    for outcome in outcomes:
        original = None
        if outcome.file is not None:
            hashes = outcome.file.image_hashes
            original = next((first[mark] for mark in hashes if mark in first), outcome.file.record)
            first |= {mark: original for mark in hashes if mark not in first}
        originals.append(original)
    return originals
