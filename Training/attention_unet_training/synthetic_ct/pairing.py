"""Which whole label maps complete which incomplete ones: those whose organs have like places and sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from . import structures

TUBES = (*structures.ARTERIES, *structures.VEINS)  # they leave the field: their centres say nothing
FEWEST_ORGANS = 3
UNEVENNESS = 1.3  # a donor completes at most so many times its even share of the maps; judgement
_SAME_PLACE_MM = 30.0  # organs that lie so far apart fit no better than none; neither do e times larger or smaller ones


@dataclass(frozen=True)
class WholeOrgan:
    """An organ that neither end of the scan cuts: its centre in mm, order z, y, x, and its volume."""

    centre_mm: np.ndarray
    volume_mm3: float


def whole_organs(labels: np.ndarray, names: Sequence[str], spacing_mm: float) -> dict[str, WholeOrgan]:
    """The named organs, but tubes, that a label map (K, J, I), numbers of `structures.STRUCTURES`, shows whole."""
    boxes = ndimage.find_objects(labels, max_label=len(structures.STRUCTURES))
    organs = {}
    for name in names:
        number = structures.number_of(name)
        box = boxes[number - 1]
        if box is None or name in TUBES or box[0].start == 0 or box[0].stop == len(labels):
            continue
        voxels = np.argwhere(labels[box] == number)
        centre_mm = (voxels.mean(0) + [part.start for part in box]) * spacing_mm
        organs[name] = WholeOrgan(centre_mm, len(voxels) * spacing_mm**3)
    return organs


def scale_and_shift(here: Mapping[str, WholeOrgan], there: Mapping[str, WholeOrgan]) -> tuple[float, np.ndarray]:
    """The scale and the shift (3,) in mm that bring one person's organs to another's.

    Raises:
        ValueError: If fewer than three organs are whole in both.
    """
    common = sorted(here.keys() & there.keys())
    if len(common) < FEWEST_ORGANS:
        raise ValueError(f"{FEWEST_ORGANS} organs must lie wholly inside both fields, {len(common)} do")
    here_mm, there_mm = (np.array([organs[name].centre_mm for name in common]) for organs in (here, there))
    spreads_mm = [np.linalg.norm(centres_mm - centres_mm.mean(0)) for centres_mm in (here_mm, there_mm)]
    scale = float(spreads_mm[1] / spreads_mm[0])
    return scale, there_mm.mean(0) - scale * here_mm.mean(0)


def misfit(here: Mapping[str, WholeOrgan], there: Mapping[str, WholeOrgan]) -> float:
    """How badly another person's organs fit when scaled and shifted: from 0, the same, to 1, not at all.

    Organs that the other does not show whole do not fit; with fewer than three in common nothing does.
    """
    common = here.keys() & there.keys()
    if len(common) < FEWEST_ORGANS:
        return 1.0
    scale, shift_mm = scale_and_shift(here, there)
    total = float(len(here) - len(common))
    for name in common:
        apart_mm = np.linalg.norm(scale * here[name].centre_mm + shift_mm - there[name].centre_mm) / scale
        larger = math.log(there[name].volume_mm3 / here[name].volume_mm3 / scale**3)
        total += min(1.0, float(apart_mm / _SAME_PLACE_MM) ** 2 + larger**2)
    return total / len(here)


def choose_pairs(misfits: Mapping[tuple[str, str], float], donors_each: int) -> list[tuple[str, str]]:
    """Choose pairs of recipient and donor, those that fit best first, so that no donor has much more than its share.

    Args:
        misfits: How badly each possible pair fits; pairs of misfit 1 are never chosen.
        donors_each: Most donors of a recipient.
    """
    possible = {pair: value for pair, value in misfits.items() if value < 1}
    recipients, donors = ({pair[place] for pair in possible} for place in (0, 1))
    wanted = len(recipients) * min(donors_each, len(donors))
    most = math.ceil(UNEVENNESS * wanted / max(len(donors), 1))
    chosen: list[tuple[str, str]] = []
    for pair in sorted(possible, key=lambda pair: (possible[pair], pair)):
        taken, given = (sum(other[place] == pair[place] for other in chosen) for place in (0, 1))
        if taken < donors_each and given < most:
            chosen.append(pair)
    return chosen
