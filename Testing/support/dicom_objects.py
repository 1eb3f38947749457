"""Made-up results on DICOM series, and what highdicom, dcmqi and dciodvfy make of the DICOM files written of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.imaging.measures import measure_organs
from AttentionUNetSegmentationLib.volume import Grid, OrganMask, Segmentation
from support.phantom_files import LPS

PROVENANCE = {"model": "abdomen-ct", "model_version": "0.8.0", "model_sha256": "a" * 64, "engine_version": "0.1.0"}
ORGANS = [
    OrganMask("pancreas", 1, "15776009", "Pancreas", (249, 180, 111)),
    OrganMask("spleen", 2, "78961009", "Spleen", (157, 108, 162)),
    OrganMask("right kidney", 3, "64033007", "Kidney", (185, 102, 83), "24028007", "Right"),
    OrganMask("left kidney", 4, "64033007", "Kidney", (185, 102, 83), "7771000", "Left"),
]
FOUND = [ORGANS[0], ORGANS[2], ORGANS[3]]  # no spleen: labels and segments have other numbers


def made_up(folder: Path) -> Segmentation:
    """A result on the CT of a folder: noise in some slices, a box whose corners tell directions apart, one voxel."""
    volume = read_volume(folder)
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[3:9] = np.random.default_rng(0).random(labels[3:9].shape) < 0.3
    labels[12:-1, 2:9, 1:-3] = 3
    labels[-1, -1, 0] = 4
    result = Segmentation(labels, volume.ijk_to_ras, ORGANS, provenance=dict(PROVENANCE))
    result.organ_measures = measure_organs(result, volume)
    return result


def by_highdicom(path: Path) -> dict[str, tuple[np.ndarray, Grid]]:
    """Segment label -> mask (K, J, I) and its grid."""
    import highdicom as hd

    seg, found = hd.seg.segread(path), {}
    for number in seg.segment_numbers:
        volume = seg.get_volume(segment_numbers=[number], combine_segments=True)
        matrix = np.diag([-1.0, -1, 1, 1]) @ volume.affine[:, [2, 1, 0, 3]]
        found[seg.get_segment_description(number).SegmentLabel] = (volume.array > 0, Grid(volume.array.shape, matrix))
    return found


def by_dcmqi(path: Path, folder: Path) -> dict[str, tuple[np.ndarray, Grid]]:
    """Segment label -> mask (K, J, I) and its grid; skips where dcmqi is not installed."""
    folder.mkdir()
    _run_dcmqi("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd", "-p", "seg")
    meta = json.loads((folder / "seg-meta.json").read_text())
    found = {}
    for (segment,) in meta["segmentAttributes"]:
        image = sitk.ReadImage(str(folder / f"seg-{segment['labelID']}.nrrd"))
        matrix = np.eye(4)
        matrix[:3, :3] = LPS @ np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        matrix[:3, 3] = LPS @ image.GetOrigin()
        mask = sitk.GetArrayFromImage(image) > 0
        found[segment["SegmentLabel"]] = (mask, Grid(mask.shape, matrix))
    return found


def measurements_by_dcmqi(path: Path, folder: Path) -> list[dict]:
    """What dcmqi reads of each segment; skips where it is not installed."""
    _run_dcmqi("tid1500reader", "--inputDICOM", path, "--outputMetadata", folder / "measurements.json")
    return json.loads((folder / "measurements.json").read_text())["Measurements"]


def _run_dcmqi(name: str, *arguments: object) -> None:
    program = shutil.which(name, path=sysconfig.get_path("scripts"))
    if not program:
        pytest.skip("needs dcmqi: pip install dcmqi")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)


def labels_from(found: dict[str, tuple[np.ndarray, Grid]], grid: Grid) -> np.ndarray:
    """Labels (K, J, I) on a grid, of voxels that lie where its own do; fails for one that lies between them."""
    labels = np.zeros(grid.shape_kji, np.uint8)
    for organ in ORGANS:
        if organ.name in found:
            mask, where = found[organ.name]
            ijk = grid.ijk_of(where.ras_of(np.argwhere(mask)[:, ::-1]))
            assert np.abs(ijk - np.round(ijk)).max() < 0.1
            i, j, k = np.round(ijk).astype(int).T
            labels[k, j, i] = organ.value
    return labels


def faults(path: Path) -> list[str]:
    """The errors that dciodvfy finds; skips where it is not installed."""
    if not shutil.which("dciodvfy"):
        pytest.skip("needs dciodvfy: Debian's package dicom3tools")
    result = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False)
    lines = (result.stdout + result.stderr).splitlines()
    assert {"Segmentation", "EnhancedSR"} & set(lines), lines  # it says what it took the file for
    return [line for line in lines if line.startswith("Error")]
