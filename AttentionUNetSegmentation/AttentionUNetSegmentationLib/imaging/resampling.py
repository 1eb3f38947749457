"""Linear resampling from one grid to another, with anti-aliasing where the target is coarser.

Two ways, chosen by geometry. Grids whose axes are parallel, whatever their order and sign, are resampled axis by axis
with small weight matrices: exact, fast, and the same for every flipped or permuted copy of a volume. All others
(oblique, sheared) are first smoothed and thinned along their own axes, then interpolated linearly through the full
affine. Positions outside the source take the nearest edge value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from ..volume import Box, Grid, Triple, triple

PARALLEL_TOLERANCE_VOX = 0.02  # largest displacement that may be ignored when axes are called parallel
CHUNK_ELEMENTS = 32 << 20  # working memory of one step, 128 MB as float32

Check = Callable[[], None]
"""Called between chunks; may raise to stop."""


def resample(
    voxels: np.ndarray, source: Grid, target: Grid, antialias: bool = True, check: Check = lambda: None
) -> np.ndarray:
    """Resample a scalar volume.

    Args:
        voxels: (K, J, I) array on ``source``, any numeric type.
        source: Where the voxels lie.
        target: Where values are wanted.
        antialias: Average over the target's spacing where the target is coarser than the source.
        check: Called between chunks.

    Returns:
        float32 array of ``target.shape_kji``.

    Raises:
        ValueError: If ``voxels`` does not have the source's shape.
    """
    if voxels.shape != source.shape_kji:
        raise ValueError(f"voxels of shape {voxels.shape} do not fit a grid of {source.shape_kji}")
    mapping = np.linalg.inv(source.ijk_to_ras) @ target.ijk_to_ras
    order = _parallel_axes(mapping[:3, :3], target.shape_kji)
    if order is None:
        return _resample_oblique(voxels, source, target, antialias, check)
    return _resample_parallel(voxels, mapping, order, target.shape_kji, antialias, check)


def reach(source: Grid, target: Grid) -> Box:
    """The part of the source that resampling to the target can look at; at least one voxel along each axis."""
    ijk = source.ijk_of(target.edges_ras_mm())
    steps = np.abs(np.linalg.inv(source.ijk_to_ras)[:3, :3] @ target.ijk_to_ras[:3, :3]).max(axis=1)
    box = []
    for axis, size in enumerate(source.shape_kji):
        along, margin = ijk[:, 2 - axis], int(np.ceil(max(1.0, steps[2 - axis]))) + 1
        start = int(np.clip(np.floor(along.min()) - margin, 0, size - 1))
        stop = int(np.clip(np.ceil(along.max()) + margin + 1, start + 1, size))
        box.append(slice(start, stop))
    return triple(box)


def _parallel_axes(linear: np.ndarray, target_shape_kji: Triple) -> Triple | None:
    """For each target axis i, j, k the source axis it runs along, or None if the axes are not parallel."""
    order = triple(int(axis) for axis in np.abs(linear).argmax(axis=0))
    if sorted(order) != [0, 1, 2]:
        return None
    rest = linear.copy()
    rest[order, range(3)] = 0
    displacement = np.abs(rest) @ np.array(target_shape_kji[::-1])
    return order if displacement.max() < PARALLEL_TOLERANCE_VOX else None


def _resample_parallel(
    voxels: np.ndarray,
    mapping: np.ndarray,
    order: Triple,
    shape_kji: Triple,
    antialias: bool,
    check: Check,
) -> np.ndarray:
    # Bring the source's array axes into the target's order: array axis a holds index axis 2 - a.
    array = voxels.transpose([2 - order[2 - axis] for axis in range(3)])
    steps = []
    for axis in range(3):
        target_axis = 2 - axis
        scale, shift = mapping[order[target_axis], target_axis], mapping[order[target_axis], 3]
        first, weights = linear_weights(array.shape[axis], shape_kji[axis], scale, shift, antialias)
        steps.append((shape_kji[axis] / array.shape[axis], axis, first, weights))
    for _, axis, first, weights in sorted(steps, key=lambda step: step[0]):  # strongest reduction first
        array = _apply_along(array, axis, first, weights, check)
    return np.ascontiguousarray(array, dtype=np.float32)


def linear_weights(
    source_size: int, target_size: int, scale: float, shift: float, antialias: bool
) -> tuple[int, np.ndarray]:
    """Weights of a one-dimensional linear resampling, ``target[n] = sum_m weights[n, m] source[first + m]``.

    Target index n lies at source index ``scale * n + shift``. The filter is a triangle whose half width is one source
    voxel, or one target step if that is larger and ``antialias`` is set. Outside, the edge value is repeated.

    Returns:
        The first source index that is used, and weights (target_size, m) float32 whose rows sum to 1.
    """
    positions = scale * np.arange(target_size) + shift
    half_width = max(1.0, abs(scale)) if antialias else 1.0
    taps = np.floor(positions)[:, None] + np.arange(-int(np.ceil(half_width)), int(np.ceil(half_width)) + 2)
    values = np.maximum(0.0, 1.0 - np.abs(taps - positions[:, None]) / half_width)
    values /= values.sum(axis=1, keepdims=True)
    # A widened triangle on whole indices misses its centre by a fraction of a voxel: tilt it back, so that linear
    # functions are returned exactly and nothing is shifted.
    mean = (values * taps).sum(axis=1, keepdims=True)
    variance = (values * (taps - mean) ** 2).sum(axis=1, keepdims=True)
    tilt = np.divide(positions[:, None] - mean, variance, out=np.zeros_like(mean), where=variance > 1e-9)
    values *= 1 + tilt * (taps - mean)
    columns = np.clip(taps, 0, source_size - 1).astype(int)
    first, last = int(columns.min()), int(columns.max())
    weights = np.zeros((target_size, last - first + 1))
    np.add.at(weights, (np.arange(target_size)[:, None], columns - first), values)
    return first, weights.astype(np.float32)


def _apply_along(array: np.ndarray, axis: int, first: int, weights: np.ndarray, check: Check) -> np.ndarray:
    """Multiply ``weights`` onto one axis of a 3D array, in chunks of another axis to bound memory."""
    array = array[(slice(None),) * axis + (slice(first, first + weights.shape[1]),)]
    if weights.shape[0] == weights.shape[1] and np.array_equal(weights, np.eye(len(weights), dtype=np.float32)):
        return array
    shape = list(array.shape)
    shape[axis] = weights.shape[0]
    result = np.empty(shape, dtype=np.float32)
    along = 1 if axis == 0 else 0
    per_entry = max(array.size // array.shape[along], result.size // array.shape[along])
    step = max(1, CHUNK_ELEMENTS // max(1, per_entry))
    for start in range(0, array.shape[along], step):
        check()
        part = (slice(None),) * along + (slice(start, start + step),)
        chunk = np.ascontiguousarray(array[part], dtype=np.float32)
        if axis == 2:
            result[part] = (chunk.reshape(-1, chunk.shape[2]) @ weights.T).reshape(*chunk.shape[:2], -1)
        elif axis == 1:
            result[part] = np.moveaxis(np.tensordot(weights, chunk, (1, 1)), 0, 1)
        else:
            result[part] = (weights @ chunk.reshape(len(chunk), -1)).reshape(-1, *chunk.shape[1:])
    return result


def _resample_oblique(voxels: np.ndarray, source: Grid, target: Grid, antialias: bool, check: Check) -> np.ndarray:
    if antialias:
        thinned = _thinned_grid(source, target)  # of the whole source, so that each part of a target sees the same
        if thinned.shape_kji != source.shape_kji:
            thinned = thinned.crop_to(reach(thinned, target))
            voxels, source = resample(voxels, source, thinned, check=check), thinned
    box = reach(source, target)
    voxels, source = voxels[box], source.crop_to(box)
    mapping = np.linalg.inv(source.ijk_to_ras) @ target.ijk_to_ras
    transform = sitk.AffineTransform(mapping[:3, :3].ravel().tolist(), mapping[:3, 3].tolist())
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels, dtype=np.float32))
    result = sitk.Resample(
        image,
        tuple(int(size) for size in target.shape_kji[::-1]),
        transform,
        sitk.sitkLinear,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        0.0,
        sitk.sitkFloat32,
        True,  # outside the source: the nearest voxel
    )
    return sitk.GetArrayFromImage(result)


def _thinned_grid(source: Grid, target: Grid) -> Grid:
    """The source's own axes at no finer spacing than that of the target axis each runs along most."""
    alignment = np.abs(target.directions.T @ source.directions)  # target axis x source axis
    shape_kji, matrix = list(source.shape_kji), source.ijk_to_ras.copy()
    for axis in range(3):
        wanted_mm = target.spacing_mm[int(alignment[:, axis].argmax())]
        size = source.shape_kji[2 - axis]
        coarser = max(1, round(size * source.spacing_mm[axis] / wanted_mm))
        if coarser < size:
            factor = size / coarser
            matrix[:3, 3] += source.ijk_to_ras[:3, axis] * (factor - 1) / 2
            matrix[:3, axis] = source.ijk_to_ras[:3, axis] * factor
            shape_kji[2 - axis] = coarser
    return Grid(triple(shape_kji), matrix)
