"""Tiny CTs with reference labels on disk, as files and as a prepared dataset, and label maps to measure on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import phantoms
from attention_unet_training.dataset.records import (
    DATASET_FILE,
    FORMAT,
    IMAGE_FILE,
    LABELS_FILE,
    REFERENCE_FILE,
    SPLITS_FOLDER,
    CaseRecord,
    DatasetRecord,
    write_record,
)
from attention_unet_training.dataset.splits import Fold, Split
from AttentionUNetSegmentationLib.files import write_volume
from AttentionUNetSegmentationLib.volume import Volume

ORGANS = ("pancreas", "spleen")
GRID = phantoms.grid((20, 22, 40), (2, 2, 2), np.diag([-1.0, -1, 1]))
CENTRES = {"pancreas": (12, 0, 0), "spleen": (-20, 0, 0)}


def labels(radius_mm: float = 10.0, shift_vox: int = 0, satellite: bool = False) -> Volume:
    """Pancreas and spleen as balls, shifted along i; a satellite is a speck of pancreas far from it."""
    voxels = np.zeros(GRID.shape_kji, np.uint8)
    for value, centre in enumerate(CENTRES.values(), start=1):
        voxels[phantoms.ball(GRID, centre, radius_mm) > 0.5] = value
    if satellite:
        voxels[2:5, 2:5, 15:18] = 1
    return Volume(np.roll(voxels, shift_vox, axis=2), GRID.ijk_to_ras)


def ct(reference: Volume) -> Volume:
    """HU by which ``phantoms.ThresholdNetwork((-100, 60, 180))`` finds the labels."""
    return Volume(np.array([-100, 60, 180], np.int16)[reference.voxels], reference.ijk_to_ras, name="ct")


def write_dataset(
    folder: Path,
    count: int,
    patients: Sequence[str] = (),
    labelled: Sequence[Sequence[str]] = (),
) -> Path:
    """A prepared dataset of cases c0, c1, ... whose balls grow, with the splits "half" and "folds-2"."""
    records = []
    for n in range(count):
        reference = labels(8.0 + 0.5 * n)
        place = folder / "cases" / f"c{n}"
        place.mkdir(parents=True)
        for name in (IMAGE_FILE, LABELS_FILE):
            np.save(place / name, np.zeros((1, 1, 1)))
        write_volume(reference, place / REFERENCE_FILE)
        write_volume(ct(reference), place / "ct.nrrd")
        matrix = tuple(tuple(float(x) for x in row) for row in np.eye(4))
        source = str(place / "ct.nrrd")
        patient = patients[n] if patients else f"p{n}"
        known = tuple(labelled[n]) if labelled else ORGANS
        records.append(CaseRecord(f"c{n}", patient, f"cases/c{n}", (1, 1, 1), matrix, source, source, {}, known))
    record = DatasetRecord(FORMAT, "balls", ORGANS, (2.0, 2.0, 2.0), phantoms.INTENSITY, tuple(records))
    write_record(record, folder / DATASET_FILE)
    ids = tuple(entry.id for entry in records)
    if count > 1:
        first, second = Fold(ids[: count // 2], ids[count // 2 :]), Fold(ids[count // 2 :], ids[: count // 2])
        write_record(Split("holdout", 0, (first,)), folder / SPLITS_FOLDER / "half.json")
        write_record(Split("folds", 0, (first, second)), folder / SPLITS_FOLDER / "folds-2.json")
    return folder


def write_predictions(folder: Path, count: int, shift_vox: int = 0) -> Path:
    """Label maps of ``write_dataset``'s cases, shifted."""
    folder.mkdir(parents=True)
    for n in range(count):
        write_volume(labels(8.0 + 0.5 * n, shift_vox), folder / f"c{n}.nii.gz")
    return folder
