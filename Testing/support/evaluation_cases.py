"""Tiny CTs with reference labels on disk, as files and as a prepared dataset, and label maps to measure on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from attention_unet_training.preparation.records import REFERENCE_FILE
from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support.tiny_dataset import TinyDataset

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
    voxels: Sequence[Mapping[str, int]] = (),
) -> Path:
    """A prepared dataset of cases c0, c1, ... whose balls grow, with the splits "half" and "folds-2".

    Its record knows of no voxels of organs but those given, case by case.
    """
    people = patients or [f"p{n}" for n in range(count)]
    dataset = TinyDataset(folder, "balls", ORGANS, (2.0, 2.0, 2.0), phantoms.INTENSITY, people, labelled)
    nothing = np.zeros((1, 1, 1))
    for n in range(count):
        reference, place = labels(8.0 + 0.5 * n), dataset.new_case()
        write_volume(reference, place / REFERENCE_FILE)
        write_volume(ct(reference), place / "ct.nrrd")
        dataset.add(place, nothing, nothing, np.eye(4), voxels[n] if voxels else {}, source=str(place / "ct.nrrd"))
    return dataset.finish()


def write_predictions(folder: Path, count: int, shift_vox: int = 0) -> Path:
    """Label maps of ``write_dataset``'s cases, shifted."""
    folder.mkdir(parents=True)
    for n in range(count):
        write_volume(labels(8.0 + 0.5 * n, shift_vox), folder / f"c{n}.nii.gz")
    return folder
