"""Reads label maps: one multi-label file, or a TotalSegmentator folder of one binary mask per structure."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.nrrd_mha import matrix_of

from . import structures

_LOGGER = logging.getLogger(__name__)
PACKED = ".labels.npz"  # label map and ijk_to_ras, for a machine without SimpleITK (scripts/pack_for_gpu.py)
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", PACKED)
LABEL_TABLE = "labels.json"


@dataclass(frozen=True)
class LabelSource:
    """One subject on disk.

    Attributes:
        name: Name of the subject.
        files: One multi-label file, or the binary masks.
        names: Structure of each number in the multi-label file; None for a folder of binary masks.
    """

    name: str
    files: tuple[Path, ...]
    names: Mapping[int, str] | None


def find_label_sources(folder: Path) -> list[LabelSource]:
    """List the subjects in a folder, sorted by name.

    Three layouts are read, also mixed: files `<subject>.nii.gz` beside `labels.json` (number -> structure name);
    TotalSegmentator's data set, `<subject>/segmentations/<structure>.nii.gz`; `<subject>/<structure>.nii.gz`, as the
    TotalSegmentator command writes it.

    Raises:
        ValueError: If the folder does not exist or holds none of these.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"The atlas must be a folder, got {folder}.")
    sources = []
    table = folder / LABEL_TABLE
    if table.is_file():
        names = _read_table(table)
        sources += [LabelSource(_stem(path), (path,), names) for path in _images(folder)]
    for subject in sorted(path for path in folder.iterdir() if path.is_dir()):
        masks = _images(subject / "segmentations") or _images(subject)
        known = tuple(path for path in masks if structures.is_known(_stem(path)))
        if known:
            sources.append(LabelSource(subject.name, known, None))
    if not sources:
        raise ValueError(
            f"{folder} holds neither label maps beside {LABEL_TABLE} nor folders of TotalSegmentator masks."
        )
    return sorted(sources, key=lambda source: source.name)


def _read_table(path: Path) -> dict[int, str]:
    try:
        names = {int(number): str(name) for number, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} must be a JSON object of numbers and names of structures: {error}") from error
    return {number: name for number, name in names.items() if number > 0}


def read_labels(source: LabelSource) -> tuple[np.ndarray, dict[int, str], np.ndarray]:
    """Read a subject.

    Returns:
        Labels (K, J, I) uint8, structure name of each number, and ijk_to_ras (4, 4) in mm.

    Raises:
        ValueError: If the masks of a subject differ in shape.
    """
    if source.names is not None:
        unknown = sorted(name for name in source.names.values() if not structures.is_known(name))
        if unknown:
            _LOGGER.warning("%s: unknown structures are taken as background: %s", source.name, ", ".join(unknown))
        if source.files[0].name.endswith(PACKED):
            with np.load(source.files[0], allow_pickle=False) as archive:
                return archive["labels"], dict(source.names), archive["ijk_to_ras"]
        image = sitk.ReadImage(str(source.files[0]))
        return sitk.GetArrayFromImage(image), dict(source.names), matrix_of(image)
    return _merge_masks(source)


def _merge_masks(source: LabelSource) -> tuple[np.ndarray, dict[int, str], np.ndarray]:
    """Merge binary masks; where two overlap the one later in `structures.STRUCTURES` order stays, targets last."""

    def rank(path: Path) -> tuple[bool, int]:
        name = _stem(path)
        return name in structures.TARGET_OF_STRUCTURE, structures.number_of(name)

    merged: np.ndarray | None = None
    matrix, names = np.eye(4), {}
    for path in sorted(source.files, key=rank):
        image = sitk.ReadImage(str(path))
        mask = sitk.GetArrayFromImage(image) > 0
        if merged is None:
            merged, matrix = np.zeros(mask.shape, dtype=np.uint8), matrix_of(image)
        if mask.shape != merged.shape:
            raise ValueError(
                f"The masks of {source.name} must share one shape, got {merged.shape} and {mask.shape} ({path.name})."
            )
        number = structures.number_of(_stem(path))
        merged[mask] = number
        names[number] = structures.STRUCTURES[number - 1]
    if merged is None:
        raise ValueError(f"{source.name} has no masks.")
    return merged, names, matrix


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith(_SUFFIXES))


def _stem(path: Path) -> str:
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name
