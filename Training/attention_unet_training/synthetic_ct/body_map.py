"""A map from one person's body to another's: a scale and a shift per axis, and a displacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional


@dataclass(frozen=True)
class BodyMap:
    """Where each point of the recipient lies in the donor.

    Points are in mm from the first voxel of either label map, order z, y, x.

    Attributes:
        scale: (3,) mm of the donor per mm of the recipient.
        shift_mm: (3,) added to the scaled point.
        displacement_mm: (3, k, j, i) added too, on a control grid that spans the box, linear between.
        box_mm: (2, 3) first and last point of that grid in the recipient; beyond, the displacement of the border holds.
    """

    scale: torch.Tensor
    shift_mm: torch.Tensor
    displacement_mm: torch.Tensor
    box_mm: torch.Tensor

    def __call__(self, points_mm: torch.Tensor) -> torch.Tensor:
        """Map points (3, K, J, I) of the recipient to the donor."""
        extent_mm = self.box_mm[1] - self.box_mm[0]
        moved_mm = sample(self.displacement_mm, points_mm - _column(self.box_mm[0]), extent_mm)
        return _column(self.scale) * points_mm + _column(self.shift_mm) + moved_mm

    def controls_mm(self) -> torch.Tensor:
        """The points (3, k, j, i) of the control grid in the recipient."""
        ends = zip(self.box_mm[0].tolist(), self.box_mm[1].tolist(), self.displacement_mm.shape[1:], strict=True)
        return torch.stack(torch.meshgrid(*(torch.linspace(*end) for end in ends), indexing="ij"))

    def gradients(self) -> list[torch.Tensor]:
        """Of the displacement along each axis, between neighbours: (3, k, j, i), one shorter along that axis."""
        sizes = torch.tensor(self.displacement_mm.shape[1:])
        steps_mm = (self.box_mm[1] - self.box_mm[0]) / (sizes - 1)
        return [self.displacement_mm.diff(dim=axis + 1) / step_mm for axis, step_mm in enumerate(steps_mm)]

    def relative_volumes(self) -> torch.Tensor:
        """Volume of each cell of the control grid in the donor, by the edges at its first corner, scale apart.

        1 where nothing is displaced, negative where the map folds.
        """
        cells = (slice(None), *[slice(0, size - 1) for size in self.displacement_mm.shape[1:]])
        edges = torch.stack([gradient[cells] for gradient in self.gradients()]).permute(2, 3, 4, 1, 0)
        return torch.linalg.det(edges + torch.diag(self.scale)) / self.scale.prod()


def sample(volume: torch.Tensor, points_mm: torch.Tensor, last_mm: torch.Tensor) -> torch.Tensor:
    """Sample (C, k, j, i), which spans 0 to `last_mm`, at points (3, K, J, I), linearly; beyond, the border counts."""
    unit = points_mm * _column(2 / last_mm) - 1
    grid = torch.stack([unit[2], unit[1], unit[0]], dim=-1)[None]  # grid_sample wants x, y, z
    return functional.grid_sample(volume[None], grid, padding_mode="border", align_corners=True)[0]


def grid_points(axes_mm: Sequence[torch.Tensor]) -> torch.Tensor:
    """All points (3, K, J, I) of a grid with the given positions along each axis."""
    return torch.stack(torch.meshgrid(*axes_mm, indexing="ij"))


def _column(vector: torch.Tensor) -> torch.Tensor:
    return vector.view(3, 1, 1, 1)
