"""The report of a run, as JSON."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ..models.description import ModelSpec
from ..volume import OrganMeasure, Segmentation, Volume

DISCLAIMER = "Research use only, not for diagnosis."


def build_report(volume: Volume, segmentation: Segmentation, spec: ModelSpec) -> dict[str, Any]:
    """Everything measured in a run, JSON types only.

    Attention shares are the share of a gate's attention mass inside each organ; ``volume_share`` is what a flat map
    would give.
    """
    grid = volume.grid
    return {
        "input": {
            "name": volume.name,
            "shape_kji": list(grid.shape_kji),
            "spacing_mm": [round(length, 5) for length in grid.spacing_mm],
            "ijk_to_ras": grid.ijk_to_ras.tolist(),
            "voxels_sha256": hashlib.sha256(np.ascontiguousarray(volume.voxels).data).hexdigest(),
        }
        | ({"series": list(volume.series)} if volume.series else {}),
        "organs": [_organ_entry(measure) for measure in segmentation.organ_measures],
        "attention": {
            name: {
                "mean": round(gate.mean, 4),
                "std": round(gate.std, 4),
                "share": {organ: round(share, 5) for organ, share in gate.share.items()},
                "volume_share": {organ: round(share, 5) for organ, share in gate.volume_share.items()},
            }
            for name, gate in segmentation.gate_measures.items()
        },
        "warnings": segmentation.warnings,
        "provenance": segmentation.provenance,
        "model_quality": spec.quality(),
        "disclaimer": DISCLAIMER,
    }


def _organ_entry(measure: OrganMeasure) -> dict[str, Any]:
    centroid = measure.centroid_ras_mm
    return {
        "name": measure.organ.name,
        "value": measure.organ.value,
        "found": measure.voxels > 0,
        "voxels": measure.voxels,
        "volume_ml": round(measure.volume_ml, 3),
        "mean_hu": None if measure.mean_hu is None else round(measure.mean_hu, 2),
        "centroid_ras_mm": None if centroid is None else [round(x, 2) for x in centroid],
    }
