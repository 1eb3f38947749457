"""New anatomies from few: organs of one person in the body of another.

Exchanging parts between people is an augmentation that helps where few people are labelled (Liu et al. 2026, "Cut to
the Mix", arXiv:2602.03555; whole organs: Liu et al. 2024, "AnatoMix", arXiv:2403.03326). There CTs are mixed, here
label maps, so that the generator paints the mixture as one body.

Per group of organs: a donor -> affine map between the two skeletons -> the donor's organs, shifted towards where the
recipient has its own -> written where room is: over fat and hollow organs, never over bone, muscle, vessels or other
organs, nor outside the trunk. What does not fit is not taken: the recipient keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from . import structures
from .preparation import PreparedAnatomy

# What moves together, in the order of writing. The first organ of a group says where it goes and whether it fits.
GROUPS = {
    "bowel": ("small_bowel", "colon"),
    "stomach": ("stomach",),
    "pancreas": ("pancreas", "duodenum", "portal_vein_and_splenic_vein"),
    "spleen": ("spleen",),
    "kidney_right": ("kidney_right", "kidney_cyst_right", "adrenal_gland_right"),
    "kidney_left": ("kidney_left", "kidney_cyst_left", "adrenal_gland_left"),
}
YIELDING = ("gallbladder", *structures.HOLLOW_ORGANS)
FILLING = "bowel"  # this group takes the room that is left: neither shifted nor refused
_FEWEST_VOXELS = 20


@dataclass(frozen=True)
class RecombinationConfig:
    """Numbers of the mixture; all judgement.

    Attributes:
        probability: How often each group of organs is asked of another person.
        pull: Share of the way from where the map of the skeletons puts an organ to where the recipient has its own.
        smallest_share: Share of a donor's organ, but for what lies above or below the field, that must find room.
        trunk_depth_mm: How deep inside the trunk's outline organs must lie.
        fewest_landmarks: Whole bones that donor and recipient must both have.
        largest_volume_factor: A map of the skeletons that changes volumes by more, either way, is not used.
    """

    probability: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(GROUPS, 0.6) | {"pancreas": 0.8, "spleen": 0.8}
    )
    pull: tuple[float, float] = (0.3, 1.0)
    smallest_share: float = 0.7
    trunk_depth_mm: float = 2.0
    fewest_landmarks: int = 6
    largest_volume_factor: float = 2.5


def recombine(
    recipient: PreparedAnatomy,
    donors: Sequence[PreparedAnatomy],
    config: RecombinationConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, str]]:
    """Put organs of donors into a recipient.

    Args:
        recipient: Whose body it is.
        donors: Others, at the same spacing.
        config: All numbers.
        rng: What is drawn comes from here.

    Returns:
        Labels (K, J, I) uint8 on the recipient's grid, numbers of `structures.STRUCTURES`, and of each group of organs
        that was exchanged the donor's name.

    Raises:
        ValueError: If a donor has another spacing.
    """
    found = {donor.name: skeleton_map(recipient, donor, config) for donor in donors}
    maps = {name: matrix for name, matrix in found.items() if matrix is not None}
    chosen = _choose_donors(recipient, [donor for donor in donors if donor.name in maps], config, rng)
    in_trunk = recipient.hull_distance_mm <= -config.trunk_depth_mm
    labels = recipient.labels.copy()
    for group in chosen:
        labels[_is_one_of(labels, GROUPS[group])] = 0
    taken = {}
    for group, donor in chosen.items():
        main = structures.number_of(GROUPS[group][0])
        room = labels == 0
        if group != FILLING:
            room |= _is_one_of(labels, YIELDING)
        pull = 0.0 if group == FILLING else rng.uniform(*config.pull)
        moved, wanted_vox = _moved(recipient, donor, maps[donor.name], group, pull)
        found_vox = np.count_nonzero(room & in_trunk & (moved == main))
        if group == FILLING or found_vox >= max(config.smallest_share * wanted_vox, 1):
            taken[group] = donor.name
            written = room & in_trunk & (moved > 0)
        else:
            moved = recipient.labels
            written = room & _is_one_of(moved, GROUPS[group])
        labels[written] = moved[written]
    return labels, taken


def skeleton_map(recipient: PreparedAnatomy, donor: PreparedAnatomy, config: RecombinationConfig) -> np.ndarray | None:
    """Affine map (4, 4) from the recipient's voxel indices (z, y, x, 1) to the donor's, by the centres of their bones.

    Returns:
        The map with the least squared distances; None if too few whole bones are common to both, or volumes change by
        more than the configured factor.

    Raises:
        ValueError: If the spacings differ.
    """
    if donor.spacing_mm != recipient.spacing_mm:
        raise ValueError(
            f"{donor.name} has voxels of {donor.spacing_mm} mm, {recipient.name} of {recipient.spacing_mm}."
        )
    here, there = (_whole_centres(anatomy, structures.BONES) for anatomy in (recipient, donor))
    common = sorted(here.keys() & there.keys())
    if len(common) < config.fewest_landmarks:
        return None
    sources = np.array([[*here[name], 1.0] for name in common])
    solution, _, rank, _ = np.linalg.lstsq(sources, np.array([there[name] for name in common]), rcond=None)
    if rank < 4:  # bones in one plane leave the direction across it open
        return None
    matrix = np.eye(4)
    matrix[:3] = solution.T
    volume_ratio = np.linalg.det(matrix)  # of the donor to the recipient
    limit = config.largest_volume_factor
    return matrix if 1 / limit <= volume_ratio <= limit else None


def _choose_donors(
    recipient: PreparedAnatomy, donors: Sequence[PreparedAnatomy], config: RecombinationConfig, rng: np.random.Generator
) -> dict[str, PreparedAnatomy]:
    """A donor for each group that is exchanged, in the order of writing."""
    own = np.unique(recipient.labels)
    whole = {donor.name: _whole_centres(donor, [organs[0] for organs in GROUPS.values()]) for donor in donors}
    chosen = {}
    for group, (main, *_) in GROUPS.items():
        number = structures.number_of(main)
        able = [donor for donor in donors if main in whole[donor.name] or (group == FILLING and number in donor.labels)]
        if able and number in own and rng.random() < config.probability.get(group, 0.0):
            chosen[group] = able[int(rng.integers(len(able)))]
    return chosen


def _moved(
    recipient: PreparedAnatomy, donor: PreparedAnatomy, to_donor: np.ndarray, group: str, pull: float
) -> tuple[np.ndarray, float]:
    """The donor's organs of a group on the recipient's grid, 0 elsewhere.

    Also the voxels that the first of them would have there if the grid were endless to the sides.
    """
    main = structures.number_of(GROUPS[group][0])
    there = np.argwhere(donor.labels == main)
    mapped = np.linalg.solve(to_donor, np.c_[there, np.ones(len(there))].T)[:3].T
    centre = np.argwhere(recipient.labels == main).mean(axis=0)
    shift = pull * (centre - mapped.mean(axis=0))
    height = mapped[:, 0] + shift[0]
    # a scan that ends within an organ cuts it in the mixture too; that is no lack of room
    in_scan = np.count_nonzero((height > -0.5) & (height < len(recipient.labels) - 0.5))
    organs = np.where(_is_one_of(donor.labels, GROUPS[group]), donor.labels, np.uint8(0))
    # SciPy asks for the map from the result back to the donor: moving the result by `shift` is asking `shift` before
    offset = to_donor[:3, 3] - to_donor[:3, :3] @ shift
    moved = ndimage.affine_transform(organs, to_donor[:3, :3], offset, recipient.labels.shape, order=0)
    return moved, in_scan / np.linalg.det(to_donor)


def _whole_centres(anatomy: PreparedAnatomy, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Centre in voxels of each structure that is there and not cut by the first or last slice."""
    boxes = ndimage.find_objects(anatomy.labels)
    centres = {}
    for name in names:
        number = structures.number_of(name)
        box = boxes[number - 1] if number <= len(boxes) else None
        if box is None or box[0].start == 0 or box[0].stop == len(anatomy.labels):
            continue
        voxels = np.argwhere(anatomy.labels[box] == number)
        if len(voxels) >= _FEWEST_VOXELS:
            centres[name] = voxels.mean(axis=0) + [part.start for part in box]
    return centres


def _is_one_of(labels: np.ndarray, names: Iterable[str]) -> np.ndarray:
    return np.isin(labels, [structures.number_of(name) for name in names])
