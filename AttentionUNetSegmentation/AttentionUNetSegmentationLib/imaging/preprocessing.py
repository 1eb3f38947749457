"""From a scanned volume to the network's grid: resample, crop to the body, scale intensities.

The network's grid is aligned with the patient: i runs to the right, j to the front, k upwards, at the model's spacing.
Training uses the same functions, so that training and inference cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..models.description import IntensitySpec
from ..volume import Grid, Triple, Volume, triple
from .resampling import Check, resample

MIN_VOXELS = 4  # along every axis; fewer cannot hold an organ
BODY_ABOVE_HU = -300.0
BODY_MARGIN_MM = 10.0
MAX_HU = 1e6  # of either sign: averaged with its neighbours, one voxel beyond would wipe out all around it
MAX_LENGTH_MM, MAX_WIDTH_MM = 2500.0, 1200.0  # of a scan; a wrong spacing would take gigabytes
MAX_GRID_VOXELS = 1_000_000_000  # a network grid beyond this comes from a wrong spacing, not from a patient


@dataclass(frozen=True)
class NetworkInput:
    """A volume on the network's grid, and where that grid lies.

    Attributes:
        hu: (D, H, W) float32, HU clipped to the intensity rule's range.
        grid: The network's grid, cropped to the body.
        intensity: The intensity rule.
    """

    hu: np.ndarray
    grid: Grid
    intensity: IntensitySpec

    @property
    def image(self) -> np.ndarray:
        """(D, H, W) float32, scaled by the intensity rule; made anew each time, as a long scan's is large."""
        return scale_intensity(self.hu, self.intensity)


def preprocess(
    volume: Volume,
    spacing_mm: tuple[float, float, float],
    intensity: IntensitySpec,
    check: Check = lambda: None,
) -> NetworkInput:
    """Bring a CT to the network's grid.

    Args:
        volume: The CT.
        spacing_mm: The network's spacing along i, j, k.
        intensity: The intensity rule.
        check: Called now and then; may raise to stop.

    Raises:
        ValueError: If the volume cannot be segmented (``check_volume``).
    """
    check_volume(volume)
    grid = network_grid(volume.grid, spacing_mm)
    hu = resample(volume.voxels, volume.grid, grid, check=check)
    check()
    start, shape = body_box(hu, grid.spacing_mm)
    hu = hu[tuple(slice(first, first + size) for first, size in zip(start, shape, strict=True))]
    hu = np.clip(hu, *intensity.clip_hu)
    return NetworkInput(hu, grid.crop(start, shape), intensity)


def check_volume(volume: Volume) -> None:
    """Refuse what cannot be a CT volume.

    Raises:
        ValueError: Too few slices, voxels that are not real numbers, NaN, infinite or absurdly large voxels, a constant
            image, or an extent that cannot be a patient's.
    """
    voxels = volume.voxels
    extent_mm = np.multiply(voxels.shape[::-1], volume.grid.spacing_mm)
    if extent_mm.max() > MAX_LENGTH_MM or sorted(extent_mm)[1] > MAX_WIDTH_MM:
        found = " x ".join(f"{length:.0f}" for length in extent_mm)
        raise ValueError(f"{volume.name}: {found} mm is larger than a patient; its spacing is wrong")
    if min(voxels.shape) < MIN_VOXELS:
        k, j, i = voxels.shape
        raise ValueError(f"{volume.name}: at least {MIN_VOXELS} voxels are needed along each axis, got {i} x {j} x {k}")
    if voxels.dtype.kind not in "iuf":
        raise ValueError(f"{volume.name}: voxels must be real numbers, got {voxels.dtype}")
    low, high = voxels.min(), voxels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{volume.name}: has voxels that are NaN or infinite")
    furthest = max(float(low), float(high), key=abs)
    if abs(furthest) > MAX_HU:
        raise ValueError(
            f"{volume.name}: has voxels of {furthest:.3g} HU, beyond {MAX_HU:g}; if they fill up what was not scanned, "
            "set them to -1024"
        )
    if low == high:
        raise ValueError(f"{volume.name}: all voxels have the value {low:g}; there is nothing to segment")


def network_grid(source: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The patient-aligned grid at ``spacing_mm`` that covers the source from voxel edge to voxel edge.

    It is centred on the source, so flipped and permuted copies of a volume get the same grid.

    Raises:
        ValueError: If the grid would have an absurd number of voxels.
    """
    edges = source.edges_ras_mm()
    low, high = edges.min(axis=0), edges.max(axis=0)
    sizes = np.maximum(1, np.round((high - low) / spacing_mm - 1e-6)).astype(int)
    if np.prod(sizes.astype(float)) > MAX_GRID_VOXELS:
        extent = " x ".join(f"{length:.0f}" for length in high - low)
        finest = min(spacing_mm)
        raise ValueError(f"{extent} mm is too large for {finest:g} mm voxels; the CT's or the model's spacing is wrong")
    matrix = np.diag([*spacing_mm, 1.0])
    matrix[:3, 3] = (low + high) / 2 - (sizes - 1) / 2 * np.asarray(spacing_mm)
    return Grid(triple(int(size) for size in sizes[::-1]), matrix)


def body_box(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[Triple, Triple]:
    """Box around the body, with a margin: first voxel and shape in K, J, I order.

    The body is the largest connected region denser than ``BODY_ABOVE_HU``; without any, the box is the whole volume.
    """
    whole = (0, 0, 0), triple(hu.shape)
    dense = sitk.GetImageFromArray((hu > BODY_ABOVE_HU).astype(np.uint8))
    components = sitk.RelabelComponent(sitk.ConnectedComponent(dense), sortByObjectSize=True)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(components)
    if not statistics.HasLabel(1):
        return whole
    box = statistics.GetBoundingBox(1)  # i, j, k, then the sizes
    start, shape = [], []
    for axis in range(3):
        index = 2 - axis
        margin = int(np.ceil(BODY_MARGIN_MM / spacing_mm[index]))
        low = max(0, box[index] - margin)
        high = min(hu.shape[axis], box[index] + box[index + 3] + margin)
        start.append(low)
        shape.append(high - low)
    return triple(start), triple(shape)


def scale_intensity(hu: np.ndarray, intensity: IntensitySpec) -> np.ndarray:
    """Clip to ``clip_hu`` and scale to zero mean and unit variance: float32, same shape."""
    clipped = np.clip(hu, *intensity.clip_hu).astype(np.float32)
    return (clipped - np.float32(intensity.mean_hu)) / np.float32(intensity.std_hu)
