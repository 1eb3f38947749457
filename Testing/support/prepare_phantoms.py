"""A tiny abdomen with labelled organs, and folders of it in the layouts of public datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.volume import Grid, Volume
from support import phantoms
from support.phantom_files import LPS, write_slices

GRID = phantoms.grid((24, 36, 44), (1.5, 1.5, 1.5), LPS, (3, -40, 700))
NAMES = {1: "pancreas", 2: "spleen", 3: "kidney_right", 4: "kidney_left"}
LABEL_OPTIONS = [part for value, name in NAMES.items() for part in ("--label", f"{name}={value}")]

# centres right, front, up of the middle, and radii, in mm; the liver is not labelled
ORGANS = {
    "pancreas": (((6, 6, 3), 4.0), ((0, 5, 4), 4.0), ((-7, 4, 5), 4.0)),
    "spleen": (((-19, -8, 5), 7.0),),
    "kidney_right": (((14, -13, -6), 5.5),),
    "kidney_left": (((-13, -13, -4), 5.5),),
    "liver": (((17, 5, 5), 10.0),),
}
HU = {"liver": 65.0, "pancreas": 45.0, "spleen": 55.0, "kidney_right": 110.0, "kidney_left": 110.0}
FAT_HU, AIR_HU, NOISE_HU = -95.0, -1000.0, 12.0


def abdomen(seed: int = 0, grid: Grid = GRID) -> tuple[Volume, Volume]:
    """A CT in HU and its labels (``NAMES``); the seed moves the organs a little and changes the noise."""
    random = np.random.default_rng(seed)
    middle = grid.corners_ras_mm().mean(axis=0) + random.uniform(-1, 1, 3)
    hu = phantoms.hu_from([(phantoms.ball(grid, middle, 31), FAT_HU)], AIR_HU)
    labels = np.zeros(grid.shape_kji, dtype=np.uint8)
    for name, value in HU.items():
        mask = np.max([phantoms.ball(grid, middle + centre, radius, 1.0) for centre, radius in ORGANS[name]], axis=0)
        hu = hu * (1 - mask) + value * mask
        labels[mask > 0.5] = next((number for number, label in NAMES.items() if label == name), 0)
    hu += random.normal(0, NOISE_HU, hu.shape) * (hu > -500)
    return Volume(np.round(hu).astype(np.int16), grid.ijk_to_ras), Volume(labels, grid.ijk_to_ras)


def save(volume: Volume, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(volume, path)
    return path


def only(labels: Volume, table: Mapping[int, int]) -> Volume:
    """Labels with other values: old value -> new one; the rest becomes background."""
    voxels = np.zeros_like(labels.voxels)
    for old, new in table.items():
        voxels[labels.voxels == old] = new
    return Volume(voxels, labels.ijk_to_ras)


def write_csv(folder: Path, count: int = 2, patients: Mapping[int, str] | None = None) -> Path:
    """Cases ct0, ct1, ... and the table cases.csv; returns the table."""
    lines = ["image,label,patient" if patients else "image,label"]
    for n in range(count):
        ct, labels = abdomen(n)
        save(ct, folder / f"ct{n}.nii.gz")
        save(labels, folder / f"labels{n}.nii.gz")
        lines.append(f"ct{n}.nii.gz,labels{n}.nii.gz" + (f",{patients[n]}" if patients else ""))
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder / "cases.csv"


def write_tcia(folder: Path, numbers=(1, 2), labelled=(1, 2), flip: tuple[int, ...] = ()) -> Path:
    """DICOM series and label maps that carry no geometry, flipped along array axes."""
    for number in {*numbers, *labelled}:
        ct, labels = abdomen(number)
        if number in numbers:
            series = folder / "manifest-1" / "Pancreas-CT" / f"PANCREAS_{number:04}" / "11-24-2015" / "Pancreas-1"
            write_slices(series, ct, series=f"1.2.{number}", patient=f"P{number}")
        if number in labelled:
            pancreas = np.flip(only(labels, {1: 1}).voxels, flip)
            label_file = folder / "TCIA_pancreas_labels-02-05-2017" / f"label{number:04}.nii.gz"
            save(Volume(pancreas, np.diag([1.5, 1.5, 1.5, 1.0])), label_file)
    return folder


def write_nnunet(folder: Path, names: list[str], description: dict, suffix: str = "", part: str = "Tr") -> Path:
    """imagesTr, labelsTr and dataset.json; labels as in ``NAMES``."""
    for n, name in enumerate(names):
        ct, labels = abdomen(n)
        save(ct, folder / f"images{part}" / f"{name}{suffix}.nii.gz")
        save(labels, folder / f"labels{part}" / f"{name}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def write_totalsegmentator(folder: Path, names: list[str], extra: tuple[str, ...] = ("liver",)) -> Path:
    for n, name in enumerate(names):
        ct, labels = abdomen(n)
        save(ct, folder / name / "ct.nii.gz")
        for value, structure in NAMES.items():
            save(only(labels, {value: 1}), folder / name / "segmentations" / f"{structure}.nii.gz")
        for structure in extra:
            save(only(labels, {}), folder / name / "segmentations" / f"{structure}.nii.gz")
    return folder


def write_kits(folder: Path, numbers=(0, 1)) -> Path:
    """Kidneys with a tumour and a cyst in them; the files' first axis runs down the patient, as in the real ones."""
    for number in numbers:
        ct, labels = abdomen(number)
        kits = only(labels, {3: 1, 4: 1})
        kidney = np.argwhere(labels.voxels == 3)
        kits.voxels[tuple(kidney[:8].T)], kits.voxels[tuple(kidney[8:16].T)] = 2, 3
        case = folder / "dataset" / f"case_{number:05}"
        save(as_kits(ct), case / "imaging.nii.gz")
        save(as_kits(kits), case / "segmentation.nii.gz")
    return folder


def as_kits(volume: Volume) -> Volume:
    """The same image with its axes in KiTS's order: along a row of the file down the patient, then back, then left."""
    matrix = volume.ijk_to_ras[:, [2, 1, 0, 3]]
    return Volume(np.ascontiguousarray(volume.voxels.transpose(2, 1, 0)), matrix)


def write_flare(folder: Path, numbers=(1, 2), unlabelled=(1,)) -> Path:
    for number in numbers:
        ct, labels = abdomen(number)
        save(ct, folder / "images" / f"FLARE22_Tr_{number:04}_0000.nii.gz")
        save(only(labels, {1: 4, 2: 3, 3: 2, 4: 13}), folder / "labels" / f"FLARE22_Tr_{number:04}.nii.gz")
    for number in unlabelled:
        save(abdomen(100 + number)[0], folder / "FLARE22_UnlabeledCase1-1000" / f"Case_{number:05}_0000.nii.gz")
    return folder


def write_btcv(folder: Path, numbers=(1, 2)) -> Path:
    for number in numbers:
        ct, labels = abdomen(number)
        save(ct, folder / "img" / f"img{number:04}.nii.gz")
        save(only(labels, {1: 11, 2: 1, 3: 2, 4: 3}), folder / "label" / f"label{number:04}.nii.gz")
    return folder
