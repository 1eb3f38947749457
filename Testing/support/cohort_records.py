"""Records of a cohort, with reports as the engine builds them, of organs that are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from AttentionUNetSegmentationLib.cohort.record import Record
from AttentionUNetSegmentationLib.command.report import build_report
from AttentionUNetSegmentationLib.volume import GateMeasure, OrganMask, OrganMeasure, Segmentation, Volume
from support import phantoms

ORGANS = {organ.name: organ for label in phantoms.LABELS for split in (True, False) for organ in label.organs(split)}
VOLUME = Volume(np.zeros((2, 3, 4), np.int16), phantoms.grid((2, 3, 4), (0.7, 0.7, 2.5)).ijk_to_ras, "ct")
SPEC = phantoms.spec()
PROVENANCE = {
    "engine_version": "0.1.0",
    "model": "test-model",
    "model_version": "1",
    "model_sha256": "0" * 64,
    "device": "cpu",
    "backend": "openvino",
    "seconds": {"running the network": 56.823, "total": 60.684},
    "date": "2026-01-02T03:04:05+00:00",
}


def done(
    case: str,
    organs: Mapping[str, tuple[float, float] | None],
    warnings: Sequence[str] = (),
    gates: Sequence[str] = ("s2-1",),
    series: Sequence[dict[str, Any]] = (),
) -> Record:
    """A case that is done; ``organs`` are name -> (ml, mean HU), or None if not found."""
    measures = [_measure(ORGANS[name], measured) for name, measured in organs.items()]
    gate = GateMeasure(0.1, 0.2, dict.fromkeys(organs, 0.12345), dict.fromkeys(organs, 0.00123))
    result = Segmentation(
        np.zeros((2, 3, 4), np.uint8),
        VOLUME.ijk_to_ras,
        [ORGANS[name] for name in organs],
        organ_measures=measures,
        gate_measures=dict.fromkeys(gates, gate),
        warnings=list(warnings),
        provenance=PROVENANCE,
    )
    report = build_report(VOLUME, result, SPEC) | {
        "sha256": {"labels.nii.gz": "1" * 64},
        "seconds_files": {"reading": 0.068, "writing": 2.862},
    }
    return Record(
        case=case, source=f"{case}.nii.gz", status="done", error="", attempts=1, report=report, series=list(series)
    )


def failed(case: str, error: str, attempts: int = 1, series: Sequence[dict[str, Any]] = ()) -> Record:
    """A case that failed."""
    return Record(
        case=case,
        source=f"{case}.nii.gz",
        status="failed",
        error=error,
        attempts=attempts,
        report=None,
        series=list(series),
    )


def series(uid: str, used: bool, reason: str = "", **changes: Any) -> dict[str, Any]:
    """A DICOM series."""
    entry = {"series_uid": uid, "modality": "CT", "description": "abdomen", "images": 90}
    return entry | {"used": used, "reason": reason} | changes


def _measure(organ: OrganMask, measured: tuple[float, float] | None) -> OrganMeasure:
    if measured is None:
        return OrganMeasure(organ, 0, 0.0, None, None)
    return OrganMeasure(organ, round(measured[0] * 816), measured[0], measured[1], (-24.67, 38.27, 20.56))
