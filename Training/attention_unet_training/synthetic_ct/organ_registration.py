"""Maps one person's body onto another's, with the organs that both label maps show as landmarks.

The map minimises squared differences of the organs' signed distances, beside terms that keep a body a body: organs of
the recipient stay out of the donor's bones, muscles and lungs and within the donor's trunk; strain is small, least in
bone; nothing folds. A scale and a shift per axis come first, then displacements on control grids, coarse to fine, all
by Adam. After Leventon et al. 2000 (signed distances) and Rueckert et al. 1999 (free-form deformation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional

from .body_map import BodyMap, sample
from .organ_distances import OrganDistances, organ_distances
from .pairing import scale_and_shift, whole_organs

_OBSTACLE_MM = 2.0  # organs keep this distance from what is in their way
_UNIT_MM = 5.0  # so far inside it costs as much as an organ that matches nowhere


@dataclass(frozen=True)
class RegistrationConfig:
    """Numbers of the registration; all judgement.

    Attributes:
        grid_mm: Voxels of the distances that are compared.
        margin_mm: How far around the landmarks they are compared.
        affine_reach_mm: How far organs attract each other while scale and shift are sought.
        affine_steps: Steps of that.
        levels: Per level of displacements: spacing of the control grid in mm, reach in mm, steps.
        strain: Weight of the squared strain.
        bone_stiffness: How many times more it weighs in bone.
        folding: Weight of cells that shrink below `smallest_volume`.
        smallest_volume: Share of its volume that a cell should keep.
        solid: Weight of organs inside the donor's bones, muscles and lungs.
        soft: Weight of organs inside what yields: bowel, veins.
        trunk: Weight of organs less deep inside the donor's outline than `trunk_depth_mm`.
        trunk_depth_mm: How deep organs should lie.
    """

    grid_mm: float = 4.5
    margin_mm: float = 15.0
    affine_reach_mm: float = 40.0
    affine_steps: int = 60
    levels: tuple[tuple[float, float, int], ...] = ((40.0, 30.0, 60), (20.0, 15.0, 80))
    strain: float = 1.5
    bone_stiffness: float = 8.0
    folding: float = 20.0
    smallest_volume: float = 0.35
    solid: float = 0.5
    soft: float = 0.125
    trunk: float = 0.5
    trunk_depth_mm: float = 8.0


def register(
    recipient: np.ndarray, donor: np.ndarray, landmarks: Sequence[str], spacing_mm: float, config: RegistrationConfig
) -> BodyMap:
    """Find the map from the recipient's body to the donor's.

    Args:
        recipient: (K, J, I) uint8 on RAS+ axes, numbers of `structures.STRUCTURES`.
        donor: The same of another person; another shape.
        landmarks: Structures that both show.
        spacing_mm: Edge of the voxels of both.
        config: All numbers.

    Raises:
        ValueError: If fewer than three landmarks lie wholly inside both fields.
    """
    start = _start(recipient, donor, landmarks, spacing_mm)
    pair = organ_distances(recipient, donor, landmarks, spacing_mm, config.grid_mm, config.margin_mm)
    parts = [pair.every_second(turn) for turn in range(8)]
    body_map = _scaled(start, parts, config)
    for control_mm, reach_mm, steps in config.levels:
        body_map = _bent(body_map, parts, control_mm, reach_mm, steps, config)
    return body_map


def _scaled(start: BodyMap, parts: Sequence[OrganDistances], config: RegistrationConfig) -> BodyMap:
    """Improve scale and shift; the shift learnt is that of the organs' centre, so that scaling does not move them."""
    centre_mm = parts[0].points_mm[:, parts[0].own].mean(1)
    scale = start.scale.clone().requires_grad_()
    centre_there_mm = (start.shift_mm + start.scale * centre_mm).requires_grad_()

    def current() -> BodyMap:
        return replace(start, scale=scale, shift_mm=centre_there_mm - scale * centre_mm)

    def loss(pair: OrganDistances) -> torch.Tensor:
        mapped_mm = current()(pair.points_mm)
        uneven = (scale.log() - scale.log().mean()).square().sum()
        fit = _mismatch(pair, mapped_mm, config.affine_reach_mm) + _collisions(pair, mapped_mm, config)
        return fit + config.strain * uneven

    _descend(
        [{"params": [scale], "lr": 0.005}, {"params": [centre_there_mm], "lr": 1.0}], config.affine_steps, parts, loss
    )
    found = current()
    return replace(found, scale=found.scale.detach(), shift_mm=found.shift_mm.detach())


def _bent(
    start: BodyMap,
    parts: Sequence[OrganDistances],
    control_mm: float,
    reach_mm: float,
    steps: int,
    config: RegistrationConfig,
) -> BodyMap:
    """Improve the displacement, on a control grid of the given spacing."""
    shape = [int(n) + 1 for n in ((start.box_mm[1] - start.box_mm[0]) / control_mm).ceil().clamp(min=1)]
    finer = functional.interpolate(start.displacement_mm[None], size=shape, mode="trilinear", align_corners=True)
    body_map = replace(start, displacement_mm=finer[0].requires_grad_())
    controls_mm = body_map.controls_mm()

    def loss(pair: OrganDistances) -> torch.Tensor:
        mapped_mm = body_map(pair.points_mm)
        bone = sample(pair.there[-1:], body_map(controls_mm).detach(), pair.there_last_mm)[0]
        strain = _strain(body_map, 1 + config.bone_stiffness * bone)
        folding = (config.smallest_volume - body_map.relative_volumes()).clamp(min=0).square().mean()
        fit = _mismatch(pair, mapped_mm, reach_mm) + _collisions(pair, mapped_mm, config)
        return fit + config.strain * strain + config.folding * folding

    _descend([{"params": [body_map.displacement_mm], "lr": 0.8}], steps, parts, loss)
    return replace(body_map, displacement_mm=body_map.displacement_mm.detach())


def _descend(
    parameters: list[dict],
    steps: int,
    parts: Sequence[OrganDistances],
    loss: Callable[[OrganDistances], torch.Tensor],
) -> None:
    """Each step sees one part of the points; they take turns."""
    optimiser = torch.optim.Adam(parameters)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        optimiser.zero_grad()
        loss(parts[step % len(parts)]).backward()
        optimiser.step()
        schedule.step()


def _mismatch(pair: OrganDistances, mapped_mm: torch.Tensor, reach_mm: float) -> torch.Tensor:
    """Mean over the landmarks of the squared difference of distances, within reach of either surface."""
    there_mm = sample(pair.there[: len(pair.weights)], mapped_mm, pair.there_last_mm)
    near = ((pair.here_mm.abs() < reach_mm) | (there_mm.abs() < reach_mm)) & pair.in_field(mapped_mm)
    squared = (there_mm.clamp(-reach_mm, reach_mm) - pair.here_mm.clamp(-reach_mm, reach_mm)).square() / reach_mm**2
    per_organ = (squared * near).flatten(1).sum(1) / near.flatten(1).sum(1).clamp(min=1)
    return (per_organ * pair.weights).sum() / pair.weights.sum()


def _collisions(pair: OrganDistances, mapped_mm: torch.Tensor, config: RegistrationConfig) -> torch.Tensor:
    """Mean over the recipient's organs of how far they lie inside structures of the donor, or outside its trunk."""
    solid_mm, soft_mm, trunk_mm, _ = sample(pair.there[len(pair.weights) :], mapped_mm, pair.there_last_mm)
    total = (
        config.solid * (_OBSTACLE_MM - solid_mm).clamp(0, 20).square()
        + config.soft * (_OBSTACLE_MM - soft_mm).clamp(0, 20).square()
        + config.trunk * (trunk_mm + config.trunk_depth_mm).clamp(0, 40).square()
    )
    own = pair.own & pair.in_field(mapped_mm)
    return (own * total).sum() / own.sum().clamp(min=1) / _UNIT_MM**2


def _strain(body_map: BodyMap, stiffness: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(())
    for axis, gradient in enumerate(body_map.gradients()):
        size = gradient.shape[axis + 1]
        between = (stiffness.narrow(axis, 0, size) + stiffness.narrow(axis, 1, size)) / 2
        total = total + (gradient.square().sum(0) * between).mean()
    return total


def _start(recipient: np.ndarray, donor: np.ndarray, landmarks: Sequence[str], spacing_mm: float) -> BodyMap:
    """One scale and a shift by the centres of whole organs, and the box that holds recipient and donor so scaled."""
    here, there = (whole_organs(labels, landmarks, spacing_mm) for labels in (recipient, donor))
    scale, shift = scale_and_shift(here, there)
    shift_mm = torch.from_numpy(shift).float()
    here_last_mm, there_last_mm = ((torch.tensor(labels.shape) - 1) * spacing_mm for labels in (recipient, donor))
    lows_mm = torch.minimum(-shift_mm / scale, torch.zeros(3))
    highs_mm = torch.maximum((there_last_mm - shift_mm) / scale, here_last_mm)
    lows_mm[0], highs_mm[0] = 0.0, here_last_mm[0]  # a completed map ends where the recipient's scan does
    return BodyMap(torch.full((3,), scale), shift_mm, torch.zeros(3, 2, 2, 2), torch.stack([lows_mm, highs_mm]))
