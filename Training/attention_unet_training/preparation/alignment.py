"""Labels -> the CT's own voxels, by geometry and content; labels that cannot be placed for sure are refused.

The files' geometry comes first: labels that lie on the CT's voxels, in whatever order of axes, are put there. Content
then judges, because label files are known to lie flipped against their CT (TCIA Pancreas-CT), or with x and y
exchanged. One small or cropped organ may fit elsewhere by chance: agreement.py asks the source's other cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from AttentionUNetSegmentationLib.volume import Grid, Volume

from .label_fit import AS_IS, TURNS, Turn, fits

SAME_PLACE_VOX = 0.25  # by which a label voxel may lie beside the CT's
# Of the CTs at hand, one organ in its place had a fit (label_fit.py) of 0.14 to 0.48, its flips mostly below 0.02 and
# at most 0.41 of the right one; labels moved at random, whose place is no flip at all, mostly below 0.08, at most 0.22.
GOOD_FIT = 0.08  # from which a turn can be believed
LEAD, LEAD_FACTOR = 0.05, 1.5  # by which a turn has to fit better than any other, to be called better
NOT_TURNED = "not flipped"
AXIS_ENDS = ("left-right", "front-back", "up-down")  # along R, A, S


@dataclass(frozen=True)
class Lie:
    """How labels lie on their CT.

    Attributes:
        placed: Whether their geometry puts them on the CT's voxels.
        turn: How they are turned against that, or against the order of the file, as ``turn_name``; "" if it is open.
        sure: Whether content says so.
    """

    placed: bool
    turn: str
    sure: bool


@dataclass(frozen=True)
class AlignedLabels:
    """Labels on the CT's voxels.

    Attributes:
        classes: (K, J, I) uint8 class numbers on the CT's grid.
        lie: How they lie.
        notes: What was done, one sentence each.
    """

    classes: np.ndarray
    lie: Lie
    notes: tuple[str, ...] = ()


class OpenLieError(ValueError):
    """It stays open how labels lie; ``lie`` says what is known."""

    def __init__(self, message: str, placed: bool) -> None:
        super().__init__(message)
        self.lie = Lie(placed, "", False)


def align(labels: Volume, ct: Volume, agreed: str = "", trust_geometry: bool = False) -> AlignedLabels:
    """Place labels on a CT.

    Args:
        labels: Class numbers, on the file's own grid.
        ct: The CT in HU.
        agreed: The turn on which the source's cases agree, as ``turn_name``; content is not asked then.
        trust_geometry: Leave labels where their geometry puts them on the CT; content is not asked then.

    Raises:
        OpenLieError: If it stays open how they lie.
        ValueError: If the labels have other voxels than the CT.
    """
    placed = on_same_places(labels, ct.grid)
    if placed is not None and trust_geometry:
        return AlignedLabels(_tidy(placed), Lie(True, NOT_TURNED, False))
    if placed is not None:
        return _as_agreed(placed, ct, agreed) if agreed else _checked(placed, ct)
    if ct.voxels.shape not in (labels.voxels.shape, labels.voxels.swapaxes(1, 2).shape):
        raise ValueError(
            f"geometry mismatch: the labels have {_size(labels)} voxels, the CT has {_size(ct)}, "
            f"and they lie up to {_distance_mm(labels.grid, ct.grid):.1f} mm apart"
        )
    return _by_content(labels, ct)


def on_same_places(labels: Volume, target: Grid) -> np.ndarray | None:
    """The labels' array in the target's order of axes, or None if the voxels do not lie in the same places."""
    mapping = np.linalg.inv(target.ijk_to_ras) @ labels.ijk_to_ras
    turn = np.round(mapping[:3, :3])
    # only axes that change places or direction leave voxels where they are: one 1 per column, orthogonal
    if not np.array_equal(np.abs(turn).sum(axis=0), np.ones(3)) or not np.array_equal(turn @ turn.T, np.eye(3)):
        return None
    source = [int(np.flatnonzero(turn[axis])[0]) for axis in range(3)]  # target axis i, j, k -> axis of the labels
    # arrays are (k, j, i), matrices (i, j, k): axis a of one is axis 2 - a of the other
    array = labels.voxels.transpose([2 - source[2 - axis] for axis in range(3)])
    if array.shape != target.shape_kji:
        return None
    backwards = np.array([turn[axis, source[axis]] < 0 for axis in range(3)])
    start = np.where(backwards, np.array(target.shape_kji[::-1]) - 1, 0)
    corners = labels.grid.ijk_of(labels.grid.corners_ras_mm())
    stray = corners @ (mapping[:3, :3] - turn).T + mapping[:3, 3] - start
    if np.abs(stray).max() > SAME_PLACE_VOX:
        return None
    return np.flip(array, tuple(2 - axis for axis in range(3) if backwards[axis]))


def turn_name(turn: Turn, grid: Grid) -> str:
    """A turn in words, with the patient's directions: "flipped front-back and up-down", "with x and y exchanged"."""
    patient_axes = [int(np.abs(grid.directions[:, 2 - axis]).argmax()) for axis in turn.flip]
    flipped = " and ".join(AXIS_ENDS[axis] for axis in sorted(patient_axes))
    parts = ["with x and y exchanged"] * turn.transposed + [f"flipped {flipped}"] * bool(flipped)
    return " and ".join(parts) or NOT_TURNED


def _checked(placed: np.ndarray, ct: Volume) -> AlignedLabels:
    """Labels whose geometry is right: content may only overrule it clearly."""
    found = fits(placed, ct)
    if not found:
        note = "the labelled organs are too small to check that they fit the CT"
        return AlignedLabels(_tidy(placed), Lie(True, NOT_TURNED, False), (note,))
    best, second = _ranked(found)
    own = found[AS_IS]
    if not _clearly_better(found[best], own):
        weak = f"the labels fit the CT weakly ({own:.2f}), though no turn of them fits clearly better"
        sure = own >= GOOD_FIT
        return AlignedLabels(_tidy(placed), Lie(True, NOT_TURNED, sure), () if sure else (weak,))
    name = turn_name(best, ct.grid)
    if found[best] < GOOD_FIT or not _clearly_better(found[best], found[second]):
        raise OpenLieError(
            f"the labels do not fit the CT where their geometry puts them (fit {own:.2f}), and no turn clearly fits: "
            f"{name} {found[best]:.2f}, next {found[second]:.2f}",
            placed=True,
        )
    note = (
        f"labels {name}: they do not fit the CT where their geometry puts them (fit {own:.2f}), but do this way "
        f"({found[best]:.2f}, next best {found[second]:.2f})"
    )
    return AlignedLabels(_tidy(best.applied(placed)), Lie(True, name, True), (note,))


def _by_content(labels: Volume, ct: Volume) -> AlignedLabels:
    """Labels with as many voxels as the CT but elsewhere: only content can tell how they lie."""
    apart = f"the labels' geometry places them up to {_distance_mm(labels.grid, ct.grid):.1f} mm off the CT"
    found = fits(labels.voxels, ct)
    if not found:
        reason = f"geometry mismatch: {apart}, and the labelled organs are too small to tell how they lie"
        raise OpenLieError(reason, placed=False)
    best, second = _ranked(found)
    name = turn_name(best, ct.grid)
    overlaps = f"fit {found[best]:.2f}, next best turn {found[second]:.2f}"
    if found[best] < GOOD_FIT or not _clearly_better(found[best], found[second]):
        reason = f"geometry mismatch: {apart}, and content does not tell how they lie ({name}: {overlaps})"
        raise OpenLieError(reason, placed=False)
    note = f"{apart}; taken voxel by voxel, {name}, by content ({overlaps})"
    return AlignedLabels(_tidy(best.applied(labels.voxels)), Lie(False, name, True), (note,))


def _as_agreed(placed: np.ndarray, ct: Volume, agreed: str) -> AlignedLabels:
    """Labels turned as most of their source's: in themselves they do not tell."""
    turns = [turn for turn in TURNS if turn_name(turn, ct.grid) == agreed]
    turned = turns[0].applied(placed) if turns else None
    if turned is None or turned.shape != ct.voxels.shape:
        raise ValueError(
            f"the labels cannot lie as most of their source's do, {agreed}: their CT has another shape or other axes"
        )
    note = f"labels taken as most of this source's lie, {agreed}; in themselves they do not tell"
    return AlignedLabels(_tidy(turned), Lie(True, agreed, False), (note,))


def _clearly_better(fit: float, other: float) -> bool:
    return fit >= other + LEAD and fit >= LEAD_FACTOR * other


def _ranked(found: dict[Turn, float]) -> tuple[Turn, Turn]:
    first, second, *_ = sorted(found, key=lambda turn: found[turn], reverse=True)
    return first, second


def _tidy(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.uint8)


def _size(volume: Volume) -> str:
    k, j, i = volume.voxels.shape
    return f"{i} x {j} x {k}"


def _distance_mm(first: Grid, second: Grid) -> float:
    """How far the farthest corner of each grid's box is from the other's, whatever the order of axes."""
    boxes = [grid.corners_ras_mm() for grid in (first, second)]
    ends = [np.stack([corners.min(axis=0), corners.max(axis=0)]) for corners in boxes]
    return float(np.linalg.norm(ends[0] - ends[1], axis=1).max())
