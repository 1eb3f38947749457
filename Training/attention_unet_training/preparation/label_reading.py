"""A case's label files -> class numbers on the labels' own grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.formats.files import NIFTI_ENDINGS, read_volume, straightened
from AttentionUNetSegmentationLib.formats.nifti import read_nifti
from AttentionUNetSegmentationLib.volume import Volume

from .organ_names import BACKGROUND, IGNORE, is_tumour, meaning
from .records import IGNORED
from .source import LabelFile, SourceCase


def read_classes(
    case: SourceCase, mapping: Mapping[str, str], organs: Sequence[str], ignore_unknown: bool = False
) -> Volume:
    """Read a case's labels.

    Args:
        case: The case.
        mapping: Label name -> organ, of the whole source, as ``map_names`` gives it; other names are background.
        organs: Names of the classes 1, 2, ...
        ignore_unknown: Take values that have no name as background.

    Returns:
        Class numbers, uint8, and ``IGNORED``; notes say what was noticed.

    Raises:
        ValueError: If a file is missing or cannot be read, holds other values than its table names, one that belongs to
            two organs, masks of needed structures are missing, or masks lie on different grids.
    """
    _check_complete(case, mapping)
    result: Volume | None = None
    notes: list[str] = []
    for entry in case.labels:
        table = {value: organ for value, names in entry.table.items() if (organ := meaning(value, names, mapping))}
        if not table:
            continue
        labels = _read_values(entry, ignore_unknown)
        if result is None:
            result = dataclasses.replace(labels, voxels=np.zeros(labels.voxels.shape, dtype=np.uint8))
            notes += labels.notes
        elif not labels.grid.same_as(result.grid, tolerance_mm=0.1):
            raise ValueError(f"{entry.path} lies on another grid than the case's other masks")
        notes += _paint(result.voxels, labels.voxels, table, organs)
    if result is None:
        raise ValueError(f"no label of the case means {' or '.join(organs)}")
    ignored = np.mean(result.voxels == IGNORED)
    if ignored:
        notes.append(f"{ignored:.1%} of the voxels are labelled ignore: they are left out of training and measuring")
    return dataclasses.replace(result, notes=tuple(dict.fromkeys(notes)))


def read_label_map(path: Path) -> Volume:
    """Read a label map as it is.

    Raises:
        ValueError: If it cannot be read, holds other than whole numbers, or its grid is sheared.
    """
    volume = _read_upright(path)
    voxels = volume.voxels
    if voxels.dtype.kind == "f":
        if not np.isfinite(voxels).all():
            raise ValueError(f"{path} has labels that are NaN or infinite")
        if not np.array_equal(voxels, np.round(voxels)):
            raise ValueError(f"{path} has labels that are no whole numbers")
    return volume


def _check_complete(case: SourceCase, mapping: Mapping[str, str]) -> None:
    there = {name for entry in case.labels for name in (*entry.names.values(), *entry.regions)}
    needed = {name for name, organ in mapping.items() if organ not in (BACKGROUND, IGNORE) and not is_tumour(name)}
    missing = sorted(needed - there)
    if missing:
        raise ValueError(f"missing organ: there is no mask of {', '.join(missing)}")


def _read_values(entry: LabelFile, ignore_unknown: bool) -> Volume:
    """A label map of whole numbers that all have a name."""
    volume = read_label_map(entry.path)
    values = {int(value) for value in np.unique(volume.voxels)}
    unknown = sorted(values - {0} - set(entry.table))
    if unknown and not ignore_unknown:
        shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        raise ValueError(f"unknown label values in {entry.path}: {shown}")
    if unknown:
        note = f"values without a name taken as background: {', '.join(map(str, unknown[:8]))}"
        volume = dataclasses.replace(volume, notes=(*volume.notes, note))
    return volume


def _read_upright(path: Path) -> Volume:
    """Read labels without the interpolation that straightens a sheared scan: labels cannot be interpolated so."""
    if not (path.is_file() and path.name.lower().endswith(NIFTI_ENDINGS)):
        return read_volume(path)
    volume = read_nifti(path)
    upright = straightened(volume)
    if upright.voxels is not volume.voxels:
        raise ValueError(f"geometry mismatch: the labels' grid in {path} is sheared")
    return upright


def _paint(classes: np.ndarray, values: np.ndarray, table: Mapping[int, str], organs: Sequence[str]) -> list[str]:
    """Write the classes of one file into the case's, the later file above; returns notes."""
    notes = []
    for organ in dict.fromkeys(table.values()):
        number = IGNORED if organ == IGNORE else organs.index(organ) + 1
        marked = np.isin(values, [value for value, name in table.items() if name == organ]) & (classes != IGNORED)
        overlapped = int(np.count_nonzero(marked & (classes != 0) & (classes != number)))
        if overlapped and number != IGNORED:
            notes.append(f"{overlapped} voxels are marked as {organ} and as another organ, and were taken as {organ}")
        classes[marked] = number
    return notes
