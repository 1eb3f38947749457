"""What lies around the body: the table and arms at the sides."""

from __future__ import annotations

import torch

from .config_body import SurroundingsConfig
from .contrast import TissueValues
from .scene import Scene


def paint_table(scene: Scene, config: SurroundingsConfig) -> None:
    """Paint a curved table behind the body: a solid plate, or two shells with or without foam between them."""
    randomness = scene.randomness
    rows = scene.inside.any(2).any(0).nonzero().flatten()
    if not len(rows) or int(rows[0]) == 0 or not randomness.chance(config.table_probability):
        return
    back_mm = float(rows[0]) * scene.spacing_mm - config.table_gap_mm.draw(randomness)
    _, j, i = (torch.arange(size) * scene.spacing_mm for size in scene.shape)
    middle_mm = i[-1] / 2 + config.table_off_centre_mm.draw(randomness)
    curve_mm = config.table_curvature_per_mm.draw(randomness) * (i - middle_mm) ** 2  # the sides of the cradle rise
    below_mm = (back_mm + curve_mm)[None] - j[:, None]  # (J, I), depth under the surface of the table
    thickness_mm = config.table_thickness_mm.draw(randomness)
    plate = (below_mm > 0) & (below_mm < thickness_mm)
    outside = ~scene.inside
    if randomness.chance(config.table_shell_probability):
        depth_mm = config.table_depth_mm.draw(randomness)
        plate |= (below_mm > depth_mm) & (below_mm < depth_mm + thickness_mm)
        if randomness.chance(config.table_foam_probability):
            foam = (below_mm > thickness_mm) & (below_mm < depth_mm)
            scene.paint(outside & foam, config.table_foam_hu.draw(randomness))
    scene.paint(outside & plate, config.table_hu.draw(randomness), 8)


def paint_arms(scene: Scene, values: TissueValues, config: SurroundingsConfig) -> None:
    """Paint arms beside the body: fat, muscle, and a bone with marrow."""
    randomness = scene.randomness
    columns = scene.inside.any(1).any(0).nonzero().flatten()
    if not len(columns) or not randomness.chance(config.arms_probability):
        return
    _, j, i = (torch.arange(size) * scene.spacing_mm for size in scene.shape)
    outside = ~scene.inside
    layers = (
        (1.0, values.hu["fat"]),
        (0.8, values.hu["muscle"]),
        (0.28, values.hu["bone_cortex"]),
        (0.16, config.arm_marrow_hu.draw(randomness)),
    )
    for side, edge in ((-1, columns[0]), (1, columns[-1])):
        radius_mm = config.arm_radius_mm.draw(randomness)
        centre_i = float(edge) * scene.spacing_mm + side * (radius_mm + config.arm_gap_mm.draw(randomness))
        offset_j = (j - float(j[-1]) * config.arm_height_share.draw(randomness)) * config.arm_flattening.draw(
            randomness
        )
        distance_mm = torch.hypot(offset_j[:, None], i[None] - centre_i)
        for share, value_hu in layers:
            scene.paint(outside & (distance_mm < share * radius_mm), value_hu, 6)
