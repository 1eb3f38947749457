"""Label map -> prepared anatomy: RAS+ axes, isotropic voxels, and the distance maps the painters need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage.draw import polygon

from . import structures

# Change it when `prepare_anatomy` computes something else: older caches are then rebuilt.
PREPARATION_VERSION = 3
PREPARED_SPACING_MM = 2.0
MAX_DEPTH_MM = 40.0
MAX_HULL_MM = 120.0
MAX_DISTANCE_MM = 60.0  # to bones and organs
POINTS_PER_ORGAN = 300
_POINTS_SEED = 20240229


@dataclass(frozen=True)
class OrganPosition:
    """Where an organ lies: centroid and standard deviation of its voxels, in mm, order z, y, x."""

    centroid_mm: tuple[float, float, float]
    spread_mm: tuple[float, float, float]


@dataclass(frozen=True)
class PreparedAnatomy:
    """One label map on an isotropic RAS+ grid with its distance maps.

    Coordinates in mm are voxel index times `spacing_mm`, order z, y, x; x grows to the patient's right (R), y to the
    front (A), z to the head (S).

    Attributes:
        name: Name of the subject.
        labels: (K, J, I) uint8, numbers of `structures.STRUCTURES`, 0 for unlabelled.
        hull_distance_mm: (K, J, I) float16, signed distance to the convex outline of the trunk, negative inside.
        border_depth_mm: (K, J, I) float16, distance to the nearest border between two labels.
        bone_distance_mm: (K, J, I) float16, distance to the nearest bone.
        organ_distance_mm: (K, J, I) float16 each, distance to each of `structures.TARGET_ORGANS`, 0 inside it.
        organs: Position of each movable organ that is present.
        organ_points_mm: Random points inside organs, (N, 3) float32, of the organs that can carry a mass.
        spacing_mm: Edge of a voxel.
    """

    name: str
    labels: np.ndarray
    hull_distance_mm: np.ndarray
    border_depth_mm: np.ndarray
    bone_distance_mm: np.ndarray
    organ_distance_mm: Mapping[str, np.ndarray]
    organs: Mapping[str, OrganPosition]
    organ_points_mm: Mapping[str, np.ndarray]
    spacing_mm: float

    @property
    def nbytes(self) -> int:
        """Memory that the volumes take, in bytes."""
        volumes = (self.labels, self.hull_distance_mm, self.border_depth_mm, self.bone_distance_mm)
        return sum(volume.nbytes for volume in (*volumes, *self.organ_distance_mm.values()))


def prepare_anatomy(
    labels: np.ndarray,
    names: Mapping[int, str],
    ijk_to_ras: np.ndarray,
    name: str = "anatomy",
    spacing_mm: float = PREPARED_SPACING_MM,
) -> PreparedAnatomy:
    """Prepare a label map for the generator.

    Args:
        labels: (K, J, I) integers.
        names: Structure name of each number; 0 and unknown names are background.
        ijk_to_ras: (4, 4) matrix from voxel index (i, j, k) to mm. A rotation is dropped, only the nearest axes count:
            the random rotation of the generator is larger than that of a tilted scan.
        name: Name of the subject.
        spacing_mm: Edge of a voxel of the result.

    Raises:
        ValueError: If the array is not three-dimensional, the matrix is singular, or no known structure is present.
    """
    volume = ras_labels(labels, names, ijk_to_ras, name, spacing_mm)
    return PreparedAnatomy(
        name=name,
        labels=volume,
        spacing_mm=spacing_mm,
        hull_distance_mm=hull_distance_mm(volume, spacing_mm),
        border_depth_mm=_border_depth_mm(volume, spacing_mm),
        bone_distance_mm=_distance_mm(volume, structures.BONES, spacing_mm),
        organ_distance_mm={
            organ: _distance_mm(volume, parts, spacing_mm) for organ, parts in structures.TARGET_ORGANS.items()
        },
        organs=_organ_positions(volume, spacing_mm),
        organ_points_mm=_organ_points(volume, spacing_mm),
    )


def ras_labels(
    labels: np.ndarray, names: Mapping[int, str], ijk_to_ras: np.ndarray, name: str, spacing_mm: float
) -> np.ndarray:
    """A label map on RAS+ axes with isotropic voxels, cropped in plane; arguments and errors of `prepare_anatomy`.

    Returns:
        (K, J, I) uint8, numbers of `structures.STRUCTURES`.
    """
    if labels.ndim != 3:
        raise ValueError(f"A label map has three axes, got {labels.ndim}.")
    renumbered = _renumber(labels, names)
    if not renumbered.any():
        raise ValueError(f"A label map needs at least one known structure, {name} has none.")
    axis_aligned, source_spacing_mm = _to_ras_axes(renumbered, np.asarray(ijk_to_ras, dtype=float))
    return _crop_in_plane(_resample(axis_aligned, source_spacing_mm, spacing_mm))


def _renumber(labels: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    table = np.zeros(int(max(labels.max(), max(names, default=0))) + 1, dtype=np.uint8)
    for number, structure in names.items():
        if number > 0 and structures.is_known(structure):
            table[number] = structures.number_of(structure)
    return table[labels.astype(np.intp)]


def _to_ras_axes(labels: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip to the nearest RAS+ axes; also return the spacing in mm, order z, y, x."""
    directions = ijk_to_ras[:3, :3]
    spacing_ijk = np.linalg.norm(directions, axis=0)
    if abs(np.linalg.det(directions)) < 1e-6 * max(spacing_ijk.prod(), 1e-12):
        raise ValueError(f"ijk_to_ras must not be singular, got {directions.tolist()}.")
    cosines = directions / spacing_ijk
    remaining = np.abs(cosines)
    voxel_axis_of_world = [0, 0, 0]
    for _ in range(3):
        world, voxel = np.unravel_index(np.argmax(remaining), (3, 3))
        voxel_axis_of_world[world] = int(voxel)
        remaining[world], remaining[:, voxel] = -1, -1
    ijk = labels.transpose(2, 1, 0).transpose(voxel_axis_of_world)
    flips = tuple(
        slice(None, None, -1) if cosines[world, voxel] < 0 else slice(None)
        for world, voxel in enumerate(voxel_axis_of_world)
    )
    kji = ijk[flips].transpose(2, 1, 0)
    return np.ascontiguousarray(kji), spacing_ijk[voxel_axis_of_world][::-1]


def _resample(labels: np.ndarray, source_spacing_mm: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Resample so that each voxel takes the label with the largest linearly interpolated share."""
    scales = source_spacing_mm / spacing_mm
    shape = np.maximum(1, np.floor(np.array(labels.shape) * scales + 1e-6)).astype(int)
    if tuple(shape) == labels.shape and np.allclose(scales, 1):
        return labels.copy()
    positions = [
        np.clip((np.arange(n) + 0.5) / f - 0.5, 0, size - 1)
        for n, f, size in zip(shape, scales, labels.shape, strict=True)
    ]
    result = np.zeros(shape, dtype=np.uint8)
    best_share = _interpolate((labels == 0).astype(np.float32), positions)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        inside = [np.flatnonzero((p > s.start - 1) & (p < s.stop)) for p, s in zip(positions, box, strict=True)]
        padded = np.pad((labels[box] == number).astype(np.float32), 1)
        share = _interpolate(
            padded, [p[index] - s.start + 1 for p, index, s in zip(positions, inside, box, strict=True)]
        )
        target = np.ix_(*inside)
        wins = share >= best_share[target]
        result[target] = np.where(wins, number, result[target])
        best_share[target] = np.maximum(share, best_share[target])
    return result


def _interpolate(volume: np.ndarray, positions: list[np.ndarray]) -> np.ndarray:
    for axis, position in enumerate(positions):
        low = np.clip(np.floor(position).astype(int), 0, max(volume.shape[axis] - 2, 0))
        high = np.minimum(low + 1, volume.shape[axis] - 1)
        weight = (position - low).reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
        volume = np.take(volume, low, axis) * (1 - weight) + np.take(volume, high, axis) * weight
    return volume


def _crop_in_plane(labels: np.ndarray, margin_vox: int = 4) -> np.ndarray:
    """Cut the empty borders in plane; along z the field of the scan is kept."""
    rows = np.flatnonzero(labels.any(axis=(0, 2)))
    columns = np.flatnonzero(labels.any(axis=(0, 1)))
    if not len(rows):
        raise ValueError("No structure is large enough to survive the resampling.")
    box_j, box_i = (slice(max(0, hits[0] - margin_vox), hits[-1] + 1 + margin_vox) for hits in (rows, columns))
    return np.ascontiguousarray(labels[:, box_j, box_i])


def _numbers(names: tuple[str, ...]) -> list[int]:
    return [structures.number_of(name) for name in names]


def hull_distance_mm(labels: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Signed distance to the convex outline of the trunk's structures, slice by slice and smoothed along z."""
    trunk = (labels > 0) & ~np.isin(labels, _numbers(structures.OUTSIDE_TRUNK))
    hull = np.zeros(labels.shape, dtype=np.float32)
    for k, slice_mask in enumerate(trunk):
        hull[k] = _convex_slice(slice_mask)
    sigma_vox = np.array([12.0, 6.0, 6.0]) / spacing_mm
    smooth = ndimage.gaussian_filter(hull, sigma_vox, mode="nearest") > 0.5
    smooth |= trunk
    outside = ndimage.distance_transform_edt(~smooth) if smooth.any() else np.full(labels.shape, MAX_HULL_MM)
    inside = ndimage.distance_transform_edt(np.pad(smooth, ((0, 0), (1, 1), (1, 1))))[:, 1:-1, 1:-1]
    return np.clip((outside - inside) * spacing_mm, -MAX_HULL_MM, MAX_HULL_MM).astype(np.float16)


def _convex_slice(mask: np.ndarray, smallest_vox: int = 25) -> np.ndarray:
    opened = ndimage.binary_opening(mask) if mask.sum() > 400 else mask
    points = np.argwhere(opened)
    if len(points) < smallest_vox:
        return mask.astype(np.float32)
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # all points on one line
        return mask.astype(np.float32)
    hull = np.zeros(mask.shape, dtype=np.float32)
    hull[polygon(corners[:, 0], corners[:, 1], mask.shape)] = 1
    return hull


def _border_depth_mm(labels: np.ndarray, spacing_mm: float) -> np.ndarray:
    border = np.zeros(labels.shape, dtype=bool)
    for axis in range(3):
        first, second = [slice(None)] * 3, [slice(None)] * 3
        first[axis], second[axis] = slice(0, -1), slice(1, None)
        change = labels[tuple(first)] != labels[tuple(second)]
        border[tuple(first)] |= change
        border[tuple(second)] |= change
    if not border.any():
        return np.full(labels.shape, MAX_DEPTH_MM, dtype=np.float16)
    depth = ndimage.distance_transform_edt(~border) * spacing_mm + spacing_mm / 2
    return np.clip(depth, 0, MAX_DEPTH_MM).astype(np.float16)


def _distance_mm(labels: np.ndarray, names: tuple[str, ...], spacing_mm: float) -> np.ndarray:
    """Distance to the nearest of some structures, 0 inside them."""
    structure = np.isin(labels, _numbers(names))
    if not structure.any():
        return np.full(labels.shape, MAX_DISTANCE_MM, dtype=np.float16)
    return np.clip(ndimage.distance_transform_edt(~structure) * spacing_mm, 0, MAX_DISTANCE_MM).astype(np.float16)


def _organ_positions(labels: np.ndarray, spacing_mm: float) -> dict[str, OrganPosition]:
    positions = {}
    for name in structures.MOVABLE_ORGANS:
        points_mm = np.argwhere(labels == structures.number_of(name)) * spacing_mm
        if len(points_mm) > 20:
            positions[name] = OrganPosition(tuple(points_mm.mean(0).tolist()), tuple(points_mm.std(0).tolist()))
    return positions


def _organ_points(labels: np.ndarray, spacing_mm: float) -> dict[str, np.ndarray]:
    chooser = np.random.default_rng(_POINTS_SEED)
    points = {}
    for name in ("liver", *structures.TARGET_OF_STRUCTURE):
        voxels = np.argwhere(labels == structures.number_of(name))
        if len(voxels) > 20:
            chosen = chooser.choice(len(voxels), size=min(POINTS_PER_ORGAN, len(voxels)), replace=False)
            points[name] = (voxels[chosen] * spacing_mm).astype(np.float32)
    return points
