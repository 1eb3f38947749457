"""A left liver lobe that reaches the spleen and wraps it, without fat between the two."""

from __future__ import annotations

import torch

from .config import SolidOrganConfig
from .scene import Scene
from .structures import membership, number_of
from .tubes import tube_mask

# What the lobe may take the place of, besides unlabelled tissue.
_GIVES_WAY = ("stomach", "colon")


def extend_left_lobe(scene: Scene, config: SolidOrganConfig) -> None:
    """Give liver's label to a layer on the front and top of the spleen, and to a bridge from the liver to it."""
    randomness = scene.randomness.branch("left lobe")
    spleen = scene.where("spleen").nonzero().float()
    if not len(spleen) or not randomness.chance(config.left_lobe_probability):
        return
    thickness_mm = config.left_lobe_thickness_mm.draw(randomness)
    direction = torch.tensor([randomness.uniform(0, 1), randomness.uniform(0.2, 1)])
    k, j = ((torch.arange(size).float()) for size in scene.shape[:2])
    middle = spleen.mean(0)
    forward_mm = direction[0] * (k[:, None] - middle[0]) + direction[1] * (j[None] - middle[1])
    forward_mm = forward_mm * scene.spacing_mm / direction.norm()  # (K, J)
    start_mm = config.left_lobe_start_mm.draw(randomness)
    room = (scene.labels == 0) | membership(_GIVES_WAY)[scene.labels]
    room &= (scene.hull_mm < -config.left_lobe_wall_mm) & (scene.mass_index == 0)
    uneven_mm = thickness_mm * (1 + 0.3 * randomness.smooth_noise(scene.shape, 15 / scene.spacing_mm))
    layer = room & (scene.organ_mm["spleen"] < uneven_mm) & (forward_mm > start_mm)[:, :, None]
    liver = scene.where("liver").nonzero().float()
    if len(liver) and layer.any():
        # x grows to the right: the tip of the left lobe has the lowest columns
        tip = liver[liver[:, 2] <= liver[:, 2].min() + 8 / scene.spacing_mm].mean(0)
        ends = layer.nonzero().float()
        nearest = ends[(ends - tip).norm(dim=1).argmin()]
        layer |= room & tube_mask(scene.shape, [tip, nearest], thickness_mm / scene.spacing_mm)
    scene.labels[layer] = number_of("liver")
