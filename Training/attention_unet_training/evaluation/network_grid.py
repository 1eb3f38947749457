"""Cases on the network's grid (the paper's 2 mm), where the paper's figures were measured, instead of the CT's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.volume import Volume

from ..preparation.prepared import PreparedDataset
from ..preparation.records import IMAGE_FILE, LABELS_FILE
from ..preparation.volume_scaling import scaled_volume
from .cases import EvaluationCase

CT_GRID, NETWORK_GRID, PUBLIC_CODE = GRIDS = ("ct", "network", "public-code")
CROP_KJI = (96, 160, 160)  # of the public code, whose transformations pad, scale and crop at the centre
TITLES = {NETWORK_GRID: "the network's grid", PUBLIC_CODE: "the centre of the network's grid"}


@dataclass(frozen=True)
class NetworkGridCase(EvaluationCase):
    """A case as it was prepared.

    Attributes:
        where: One of ``GRIDS``, not the CT's.
        spacing_mm: That it was prepared with, (I, J, K).
        intensity: Rule that it was prepared with.
        read_scaled: Reads the image with mean 0 and standard deviation 1 of the whole volume, as the public code does.
    """

    where: str = NETWORK_GRID
    spacing_mm: tuple[float, float, float] | None = None
    intensity: IntensitySpec | None = None
    read_scaled: Callable[[], Volume] | None = None

    def fingerprint(self) -> dict[str, Any]:
        """See ``EvaluationCase``."""
        return super().fingerprint() | {"grid": self.where}


def on_network_grid(cases: Sequence[EvaluationCase], folder: Path, where: str) -> list[EvaluationCase]:
    """The same cases on the network's grid.

    Args:
        cases: Of a prepared dataset.
        folder: The dataset.
        where: "network", or "public-code": the part of 160 x 160 x 96 voxels (I x J x K) at the centre.
    """
    dataset = PreparedDataset.open(folder)
    return [_moved(case, dataset, where) for case in cases]


def centre(shape: Sequence[int]) -> tuple[slice, ...]:
    """The public code's part of a volume (D, H, W); all of an axis that is shorter."""
    starts = [max(0, -(-(size - length) // 2)) for size, length in zip(shape, CROP_KJI, strict=True)]
    return tuple(slice(start, start + length) for start, length in zip(starts, CROP_KJI, strict=True))


def _moved(case: EvaluationCase, dataset: PreparedDataset, where: str) -> NetworkGridCase:
    prepared, rule = dataset.case(case.id), dataset.intensity
    part = centre(prepared.record.shape_kji) if where == PUBLIC_CODE else (slice(None),) * 3

    def volume(voxels: np.ndarray) -> Volume:
        matrix = np.array(prepared.record.ijk_to_ras)
        matrix[:3, 3] += matrix[:3, :3] @ [piece.start or 0 for piece in part[::-1]]
        return Volume(np.ascontiguousarray(voxels[part]), matrix, name=case.id)

    kept = {field.name: getattr(case, field.name) for field in dataclasses.fields(case)}
    return NetworkGridCase(
        **kept
        | {
            "ct_source": prepared.folder / IMAGE_FILE,
            "reference_source": prepared.folder / LABELS_FILE,
            "read_ct": lambda: volume(prepared.image() * np.float32(rule.std_hu) + np.float32(rule.mean_hu)),
            "read_reference": lambda: volume(prepared.labels()),
            "where": where,
            "spacing_mm": dataset.spacing_mm,
            "intensity": rule,
            "read_scaled": lambda: volume(scaled_volume(prepared.image())),
        }
    )
