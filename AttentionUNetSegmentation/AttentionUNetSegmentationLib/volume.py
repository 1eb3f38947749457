"""The two things that flow through the engine: a scanned volume in, a segmentation out.

Voxels are arrays in KJI order: ``voxels[k, j, i]``, slice first. Geometry is one 4x4 matrix ``ijk_to_ras`` that maps
homogeneous voxel indices (i, j, k) to millimetres, right-anterior-superior; voxel centres lie at whole indices. Any
invertible matrix is valid: flipped, permuted, oblique, left-handed, sheared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

_T = TypeVar("_T")

Triple = tuple[int, int, int]
"""A whole number for each axis: a shape, a position, a stride."""

Box = tuple[slice, slice, slice]
"""A part of a volume along k, j, i; starts and stops are given."""

TERMINOLOGY = "Segmentation category and type - DICOM master list"
ANATOMIC_CODES = "Anatomic codes - DICOM master list"
ORTHOGONAL_TOLERANCE = 1e-3  # cosine between two axes; 0.06 degrees


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: a number of voxels per axis and the matrix from indices to millimetres.

    Attributes:
        shape_kji: Voxels along k, j, i.
        ijk_to_ras: (4, 4) float64, mm.

    Raises:
        ValueError: If the matrix is not a finite, invertible affine, or a size is below 1.
    """

    shape_kji: Triple
    ijk_to_ras: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError(f"ijk_to_ras must be a finite 4x4 matrix, got {matrix.tolist()}")
        if not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise ValueError(f"the last row of ijk_to_ras must be 0 0 0 1, got {matrix[3].tolist()}")
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if (lengths < 1e-6).any() or abs(np.linalg.det(matrix[:3, :3] / np.maximum(lengths, 1e-6))) < 1e-3:
            raise ValueError(f"ijk_to_ras cannot be inverted: {matrix[:3, :3].tolist()}")
        if len(self.shape_kji) != 3 or min(self.shape_kji) < 1:
            raise ValueError(f"a grid needs three sizes of at least 1, got {self.shape_kji}")
        matrix.setflags(write=False)
        object.__setattr__(self, "ijk_to_ras", matrix)
        object.__setattr__(self, "shape_kji", tuple(int(size) for size in self.shape_kji))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j, k, in mm."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml, right for sheared grids too."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    @property
    def directions(self) -> np.ndarray:
        """(3, 3) unit vectors of the axes i, j, k in RAS, one per column."""
        return self.ijk_to_ras[:3, :3] / np.asarray(self.spacing_mm)

    @property
    def is_orthogonal(self) -> bool:
        """Whether the axes are perpendicular (no shear)."""
        cosines = self.directions.T @ self.directions - np.eye(3)
        return bool(np.abs(cosines).max() < ORTHOGONAL_TOLERANCE)

    def ras_of(self, ijk: np.ndarray) -> np.ndarray:
        """Map indices (..., 3) in i, j, k order to RAS in mm."""
        return np.asarray(ijk, dtype=np.float64) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def ijk_of(self, ras_mm: np.ndarray) -> np.ndarray:
        """Map RAS points (..., 3) in mm to continuous indices in i, j, k order."""
        inverse = np.linalg.inv(self.ijk_to_ras)
        return np.asarray(ras_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def corners_ras_mm(self) -> np.ndarray:
        """(8, 3) RAS positions of the outermost voxel centres."""
        k, j, i = (np.array([0, size - 1]) for size in self.shape_kji)
        corners = np.stack(np.meshgrid(i, j, k, indexing="ij"), axis=-1).reshape(-1, 3)
        return self.ras_of(corners)

    def contains(self, other: Grid, margin_vox: float = 0.5) -> np.ndarray:
        """Which voxel centres of another grid lie among this grid's voxels.

        Args:
            other: The other grid.
            margin_vox: How far beyond the outermost voxel centres still counts; 0.5 reaches to the voxels' edges.

        Returns:
            (K, J, I) bool, of the other grid's shape.
        """
        mapping = np.linalg.inv(self.ijk_to_ras) @ other.ijk_to_ras
        _, j, i = (np.arange(size) for size in other.shape_kji)
        inside = np.ones(other.shape_kji, dtype=bool)
        for axis, size in enumerate(self.shape_kji[::-1]):
            plane = mapping[axis, 0] * i + mapping[axis, 1] * j[:, None] + mapping[axis, 3]
            for k, part in enumerate(inside):  # slice by slice, to bound memory
                position = plane + mapping[axis, 2] * k
                part &= (position > -margin_vox) & (position < size - 1 + margin_vox)
        return inside

    def edges_ras_mm(self) -> np.ndarray:
        """(8, 3) RAS positions of the grid's corners, half a voxel beyond the outermost voxel centres."""
        k, j, i = ([-0.5, size - 0.5] for size in self.shape_kji)
        return self.ras_of(np.stack(np.meshgrid(i, j, k, indexing="ij"), axis=-1).reshape(-1, 3))

    def crop(self, start_kji: Triple, shape_kji: Triple) -> Grid:
        """The part of the grid that begins at ``start_kji`` (which may lie outside) with another shape."""
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = self.ras_of(np.array(start_kji[::-1]))
        return Grid(shape_kji, matrix)

    def crop_to(self, box: Box) -> Grid:
        """The part of the grid inside a box."""
        return self.crop(triple(part.start for part in box), triple(part.stop - part.start for part in box))

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same voxels in the same places."""
        return self.shape_kji == other.shape_kji and bool(
            np.abs(self.corners_ras_mm() - other.corners_ras_mm()).max() < tolerance_mm
        )

    def is_on_lattice_of(self, ijk_to_ras: np.ndarray, tolerance_mm: float = 0.01) -> bool:
        """Whether the voxels are some of the endless lattice of a matrix; axes may be flipped and exchanged."""
        steps = (np.linalg.inv(ijk_to_ras) @ self.ijk_to_ras).round()
        if abs(np.linalg.det(steps[:3, :3])).round() != 1:
            return False
        nearest = Grid(self.shape_kji, ijk_to_ras @ steps)
        return bool(np.abs(nearest.corners_ras_mm() - self.corners_ras_mm()).max() < tolerance_mm)


@dataclass(frozen=True)
class Volume:
    """Scalar voxels and where they lie.

    Attributes:
        voxels: (K, J, I) array; HU for CT.
        ijk_to_ras: (4, 4) matrix in mm.
        name: Where it came from, for messages.
        modality: DICOM modality ("CT", "MR", "PT" ...), empty if unknown.
        notes: What was done or noticed on reading, one sentence each.
        valid_region: Where voxels were measured, if not everywhere: a straightened scan repeats its edges beyond.
        series: Of a DICOM folder, every series there and whether it was used (``scans.describe_series``).
        cut_faces: Where a region of interest ends inside the scan: (axis of KJI, 0 or -1) for first or last slice.

    Raises:
        ValueError: If the voxels are not a 3D scalar array or the matrix is unusable.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = "volume"
    modality: str = ""
    notes: tuple[str, ...] = ()
    valid_region: Grid | None = None
    series: tuple[dict[str, Any], ...] = ()
    cut_faces: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3:
            raise ValueError(f"a volume needs 3 axes, got shape {self.voxels.shape}")
        object.__setattr__(self, "ijk_to_ras", self.grid.ijk_to_ras)

    @property
    def grid(self) -> Grid:
        """The volume's grid."""
        return Grid(self.voxels.shape, self.ijk_to_ras)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along i, j, k in mm."""
        return self.grid.spacing_mm

    @cached_property
    def scanned_box(self) -> Box:
        """All but planes of one single value at the faces, with which software fills a grid up."""
        box = []
        for axis, size in enumerate(self.voxels.shape):
            planes = np.moveaxis(self.voxels, axis, 0)
            first = next((n for n in range(size) if planes[n].min() != planes[n].max()), None)
            if first is None:
                return triple(slice(0, size) for size in self.voxels.shape)
            last = next(n for n in reversed(range(size)) if planes[n].min() != planes[n].max())
            box.append(slice(first, last + 1))
        return triple(box)


@dataclass(frozen=True)
class OrganMask:
    """One organ of a segmentation: what its voxels are called and coloured.

    Attributes:
        name: "pancreas", "right kidney" ...
        value: Its value in ``Segmentation.labels``.
        code: SNOMED CT code; empty if none.
        meaning: SNOMED CT meaning ("Pancreas").
        color_rgb: 0-255 each.
        modifier_code: SNOMED code of the side ("24028007" right); empty if none.
        modifier_meaning: "Right" or "Left"; empty if none.
    """

    name: str
    value: int
    code: str
    meaning: str
    color_rgb: tuple[int, int, int]
    modifier_code: str = ""
    modifier_meaning: str = ""

    def terminology_entry(self) -> str:
        """3D Slicer's serialised terminology of the organ (SNOMED CT, anatomical structure)."""
        modifier = f"SCT^{self.modifier_code}^{self.modifier_meaning}" if self.modifier_code else "^^"
        return (
            f"{TERMINOLOGY}~SCT^123037004^Anatomical Structure~SCT^{self.code}^{self.meaning}~{modifier}"
            f"~{ANATOMIC_CODES}~^^~^^"
        )


@dataclass(frozen=True)
class OrganMeasure:
    """What was measured of one organ.

    Attributes:
        organ: Which organ.
        voxels: Number of voxels.
        volume_ml: Volume in ml.
        mean_hu: Mean of the CT inside, None if the organ was not found.
        centroid_ras_mm: Centre of mass in mm, None if not found.
    """

    organ: OrganMask
    voxels: int
    volume_ml: float
    mean_hu: float | None
    centroid_ras_mm: tuple[float, float, float] | None


@dataclass(frozen=True)
class GateMeasure:
    """What was measured of one gate's attention map.

    Attributes:
        mean: Mean coefficient.
        std: Its standard deviation.
        share: Organ name -> share in [0, 1] of the map's attention mass (sum of coefficients) inside the organ.
        volume_share: Organ name -> share of the map's volume that the organ takes: what a flat map would give.
    """

    mean: float
    std: float
    share: dict[str, float]
    volume_share: dict[str, float]


@dataclass
class Segmentation:
    """The result of a run.

    Attributes:
        labels: (K, J, I) uint8 on the input's grid; 0 is background.
        ijk_to_ras: (4, 4) matrix of the input's grid in mm.
        organs: What each value means, in the model's order; an organ that was not found is listed too.
        attention: Gate name -> coefficients in [0, 1] (float32) on the gate's own grid.
        probabilities: Organ name -> probability in [0, 1] (float32) on the input's grid; empty unless asked for.
        organ_measures: What was measured of every organ, in the order of ``organs``.
        gate_measures: What was measured of every attention map, by the gate's name.
        warnings: What the user should know, one sentence each.
        provenance: Model, version, hash, device, backend, seconds per step ...; JSON types only.
    """

    labels: np.ndarray
    ijk_to_ras: np.ndarray
    organs: list[OrganMask]
    attention: dict[str, Volume] = field(default_factory=dict)
    probabilities: dict[str, Volume] = field(default_factory=dict)
    organ_measures: list[OrganMeasure] = field(default_factory=list)
    gate_measures: dict[str, GateMeasure] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    provenance: dict = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """The input's grid."""
        return Grid(self.labels.shape, self.ijk_to_ras)


def triple(values: Iterable[_T]) -> tuple[_T, _T, _T]:
    """Three values, one for each axis, as a tuple that is known to have three.

    Raises:
        ValueError: If there are fewer or more.
    """
    first, second, third = values
    return first, second, third


def nonzero_box(mask: np.ndarray) -> Box | None:
    """The smallest box that holds all nonzero voxels of a (K, J, I) array, or None if there are none."""
    box = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(hits):
            return None
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return triple(box)


def grown(box: Box, margin: int, shape: Triple) -> Box:
    """A box with ``margin`` voxels more to every side, as far as a volume of ``shape`` reaches."""
    sides = zip(box, shape, strict=True)
    return triple(slice(max(side.start - margin, 0), min(side.stop + margin, size)) for side, size in sides)
