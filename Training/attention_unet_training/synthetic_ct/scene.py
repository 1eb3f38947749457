"""The sample while it is being painted: warped anatomy, noise fields, and the image so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from . import structures
from .masses import Mass
from .preparation import PreparedAnatomy
from .randomness import Randomness
from .warping import warp_distances, warp_labels

# Correlation lengths of the noise fields shared by the painters, in mm; the ratio to the mean is drawn per sample.
_NOISE_MM = {"fine": 7.5, "medium": 15.0, "coarse": 34.0, "broad": 60.0}


@dataclass
class Scene:
    """Everything the painters read and write; all fields are (K, J, I) unless said otherwise.

    Attributes:
        labels: int64 numbers of structures after the deformation.
        hull_mm: Signed distance to the outline of the trunk, negative inside.
        depth_mm: Distance to the nearest border between labels.
        bone_mm: Distance to the nearest bone.
        organ_mm: Distance to each of `structures.TARGET_ORGANS` in the label map, 0 inside it.
        mass_index: uint8, 1 + index into `masses`.
        masses: Masses in the field.
        source_mm: (3, K, J, I) coordinates in the anatomy.
        spacing_mm: Voxel size of the sample.
        randomness: Source of all draws.
        image_hu: The image, written by the painters in order.
        inside: bool, inside the skin; set by the body painter.
    """

    labels: torch.Tensor
    hull_mm: torch.Tensor
    depth_mm: torch.Tensor
    bone_mm: torch.Tensor
    organ_mm: dict[str, torch.Tensor]
    mass_index: torch.Tensor
    masses: list[Mass]
    source_mm: torch.Tensor
    spacing_mm: float
    randomness: Randomness
    image_hu: torch.Tensor
    inside: torch.Tensor
    _noise: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (K, J, I)."""
        k, j, i = self.labels.shape
        return k, j, i

    def noise(self, name: str) -> torch.Tensor:
        """Return the shared unit-variance noise field "grain", "fine", "medium", "coarse" or "broad"."""
        if name not in self._noise:
            if name == "grain":
                self._noise[name] = self.randomness.white_noise(self.shape)
            elif name == "texture":
                self._noise[name] = self._texture()
            else:
                length_mm = _NOISE_MM[name] * self.randomness.uniform(0.8, 1.25)
                self._noise[name] = self.fresh_noise(length_mm)
        return self._noise[name]

    def fresh_noise(self, correlation_mm: float) -> torch.Tensor:
        """Return a new smooth field of the given correlation length."""
        return self.randomness.smooth_noise(self.shape, correlation_mm / self.spacing_mm)

    def _texture(self) -> torch.Tensor:
        """Tissue texture of about unit variance: mostly fine, a little of everything."""
        return 0.45 * self.noise("grain") + 0.6 * self.noise("fine") + 0.6 * self.noise("medium")

    def where(self, *names: str) -> torch.Tensor:
        """Return the mask of the named structures."""
        if len(names) == 1:
            return self.labels == structures.number_of(names[0])
        return structures.membership(names)[self.labels]

    def paint(self, mask: torch.Tensor, value_hu: float | torch.Tensor, texture_hu: float = 0.0) -> None:
        """Set a mask to a value, with texture; a tensor value has the shape of the volume."""
        if texture_hu:
            value_hu = self.noise("texture") * texture_hu + value_hu
        if isinstance(value_hu, torch.Tensor):
            self.image_hu = torch.where(mask, value_hu, self.image_hu)
        else:
            self.image_hu.masked_fill_(mask, value_hu)


def gaussian_quantile(share_above: float) -> float:
    """Return the level that a field of mean 0 and standard deviation 1 exceeds in the given share of its voxels."""
    share = min(max(share_above, 1e-6), 1 - 1e-6)
    return math.sqrt(2) * float(torch.erfinv(torch.tensor(1 - 2 * share)))


def build_scene(
    anatomy: PreparedAnatomy,
    source_mm: torch.Tensor,
    mass_index: torch.Tensor,
    masses: list[Mass],
    spacing_mm: float,
    randomness: Randomness,
    label_jitter_mm: float,
) -> Scene:
    """Warp the anatomy into the sample and give the masses their labels; the image is still empty."""
    jitter_mm = randomness.smooth_noise(source_mm.shape[1:], 2.5) * label_jitter_mm
    labels = warp_labels(anatomy, source_mm + jitter_mm if label_jitter_mm else source_mm)
    for number, mass in enumerate(masses, start=1):
        labels[mass_index == number] = mass.owner
    hull_mm, depth_mm, bone_mm, organ_mm = warp_distances(anatomy, source_mm)
    return Scene(
        labels=labels,
        hull_mm=hull_mm,
        depth_mm=depth_mm,
        bone_mm=bone_mm,
        organ_mm=organ_mm,
        mass_index=mass_index,
        masses=masses,
        source_mm=source_mm,
        spacing_mm=spacing_mm,
        randomness=randomness,
        image_hu=torch.empty(labels.shape),
        inside=torch.zeros(labels.shape, dtype=torch.bool),
    )


def empty_scene(shape_kji: tuple[int, int, int], spacing_mm: float, randomness: Randomness) -> Scene:
    """A scene without any structure: nothing is labelled, and all distances are infinite."""
    far = torch.full(shape_kji, math.inf)
    return Scene(
        labels=torch.zeros(shape_kji, dtype=torch.int64),
        hull_mm=far,
        depth_mm=far,
        bone_mm=far,
        organ_mm=dict.fromkeys(structures.TARGET_ORGANS, far),
        mass_index=torch.zeros(shape_kji, dtype=torch.uint8),
        masses=[],
        source_mm=torch.zeros((3, *shape_kji)),
        spacing_mm=spacing_mm,
        randomness=randomness,
        image_hu=torch.empty(shape_kji),
        inside=torch.zeros(shape_kji, dtype=torch.bool),
    )
