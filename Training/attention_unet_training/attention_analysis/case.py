"""The case that attention is analysed on: a CT, reference masks of its organs, the position of the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.imaging.components import keep_largest
from AttentionUNetSegmentationLib.imaging.preprocessing import BODY_ABOVE_HU, NetworkInput, preprocess
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.volume import Volume

from ..masks import check_inside, resample_mask
from ..preparation.label_reading import read_label_map

PREFERRED_ORGAN = "pancreas"


@dataclass(frozen=True)
class AttentionCase:
    """A CT with reference labels.

    Attributes:
        ct: The CT in HU.
        reference: Label map, on any grid.
        organs: Organ -> its values in the label map.
        position_organ: The organ whose centre the pictures cut through.
        position_ras_mm: That centre, in mm.
    """

    ct: Volume
    reference: Volume
    organs: dict[str, tuple[int, ...]]
    position_organ: str
    position_ras_mm: tuple[float, float, float]

    def mask(self, organ: str) -> np.ndarray:
        """The organ's voxels on the label map's grid, (K, J, I) bool."""
        return np.isin(self.reference.voxels, self.organs[organ])


@dataclass(frozen=True)
class CaseOnGrid:
    """A case on a network's grid.

    Attributes:
        network_input: The CT as the network sees it.
        body: (D, H, W) bool, the body with what it encloses, and the organs.
        organs: Organ -> (D, H, W) bool.
    """

    network_input: NetworkInput
    body: np.ndarray
    organs: dict[str, np.ndarray]


def read_case(
    ct: Path | str, labels: Path | str, organs: Mapping[str, Sequence[int]], position: str | None = None
) -> AttentionCase:
    """Read a CT and its labels.

    Args:
        ct: CT file or DICOM folder.
        labels: Label map.
        organs: Organ -> its values in the label map.
        position: The organ to cut through; the pancreas, or else the first, if not given.

    Raises:
        ValueError: If a file cannot be used, the label map has no voxel of an organ, or more than a tenth of one lies
            outside the CT.
    """
    if not organs:
        raise ValueError("at least one organ is needed: --organ NAME=VALUES")
    position = position or (PREFERRED_ORGAN if PREFERRED_ORGAN in organs else next(iter(organs)))
    if position not in organs:
        raise ValueError(f"the pictures' position must be one of {', '.join(organs)}, got {position!r}")
    image, reference = read_volume(ct), read_label_map(Path(labels))
    for name, values in organs.items():
        if not np.isin(reference.voxels, list(values)).any():
            found = ", ".join(f"{value:g}" for value in np.unique(reference.voxels)[:20])
            raise ValueError(f"{labels} has no voxel of {name}={','.join(map(str, values))}; its values are {found}")
        mask = np.isin(reference.voxels, list(values))
        check_inside(mask, reference.grid, image.grid, f"{name} of {labels}", str(ct))
    values_of = {name: tuple(values) for name, values in organs.items()}
    part = keep_largest(np.isin(reference.voxels, values_of[position]))
    right, front, up = reference.grid.ras_of(np.argwhere(part).mean(axis=0)[::-1]).tolist()
    return AttentionCase(image, reference, values_of, position, (right, front, up))


def prepare(case: AttentionCase, spacing_mm: tuple[float, float, float], intensity: IntensitySpec) -> CaseOnGrid:
    """Bring a case to a network's grid, as the engine does it.

    Raises:
        ValueError: If the CT cannot be used, or an organ lies outside of it.
    """
    network_input = preprocess(case.ct, spacing_mm, intensity)
    grid = network_input.grid
    organs = {}
    for name in case.organs:
        organs[name] = resample_mask(case.mask(name), case.reference.grid, grid)
        if not organs[name].any():
            raise ValueError(f"no voxel of {name} lies in the CT's body: do the labels belong to this CT?")
    hu = resample(case.ct.voxels, case.ct.grid, grid)
    return CaseOnGrid(network_input, body_mask(hu) | np.logical_or.reduce(list(organs.values())), organs)


def body_mask(hu: np.ndarray) -> np.ndarray:
    """The body: the largest connected region denser than -300 HU, with what each axial slice of it encloses.

    Args:
        hu: (D, H, W), not clipped; D runs along the body.

    Returns:
        (D, H, W) bool; True everywhere if nothing is denser.
    """
    dense = keep_largest(hu > BODY_ABOVE_HU)
    if not dense.any():
        return np.ones(hu.shape, dtype=bool)
    return np.stack([ndimage.binary_fill_holes(part) for part in dense])
