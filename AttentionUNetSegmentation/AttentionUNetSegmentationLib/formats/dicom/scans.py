"""Images of a folder -> those of one scan: of the largest CT series, in one phase, without copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import replace

import numpy as np

from .headers import Slice
from .pixels import pixel_digest

SAME_PLACE_MM = 0.01
PHASE_OVERLAP = 0.5  # of the shorter one's range, by which scans have to overlap to be phases of one place


def choose_scan(slices: list[Slice]) -> tuple[list[Slice], list[str]]:
    """The images of the largest CT in the order of their places, and what is to be said of the choice.

    Raises:
        ValueError: If there is no CT, or it is not clear which images form one.
    """
    images, notes = _ct_images(slices), []
    count = len(images)
    images = _without_copies(images)
    if len(images) < count:
        notes.append(f"copies of images, equal in place and pixels, were left out ({count - len(images)})")
    if len({entry.series for entry in images}) == len(images) > 1:
        images = [replace(entry, series=entry.study) for entry in images]
        notes.append("every image has a series UID of its own; images of one study were taken for a series")
    stacks: list[list[Slice]] = []
    for entry in images:
        if (stack := next((stack for stack in stacks if stack[0].belongs_with(entry)), None)) is None:
            stacks.append(stack := [])
        stack.append(entry)
    largest = min(stacks, key=lambda stack: (-_place_count(stack), stack[0].series))
    phases = _phases(largest)
    scan = min(phases, key=lambda phase: (-_place_count(phase), phase[0].marks))
    if (total := len(stacks) - 1 + len(phases)) > 1:
        described = f" ({scan[0].description})" if scan[0].description else ""
        notes.append(f"{total} CT stacks in the folder; took the largest, {len(scan)} images{described}")
    return sorted(scan, key=lambda entry: float(entry.position @ scan[0].normal)), notes


def _ct_images(slices: list[Slice]) -> list[Slice]:
    images = [entry for entry in slices if entry.modality == "CT" and not entry.is_scout]
    if not images:
        counts = Counter("scout" if entry.is_scout else entry.modality or "unknown" for entry in slices)
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        raise ValueError(f"no CT series (found: {found} images)")
    placed = [entry for entry in images if entry.is_placed]  # screenshots and movies of a CT are not
    if not placed:
        raise ValueError("images lack position, orientation or pixel spacing, so their geometry is unknown")
    patients = {entry.patient for entry in placed} - {""}
    if len(patients) > 1:
        raise ValueError(f"CTs of {len(patients)} patients; give each patient's folder")
    return placed


def _without_copies(images: list[Slice]) -> list[Slice]:
    """Images without those sent twice, under a new UID or the same: anonymisers give one UID to all images."""

    def key(entry: Slice) -> Hashable:
        return entry.series, entry.marks, entry.size, entry.rescale, entry.position.tobytes(), entry.frame

    counts = Counter(map(key, images))
    digests = {entry.path: b"" for entry in images}
    digests |= {path: pixel_digest(path) for path in {entry.path for entry in images if counts[key(entry)] > 1}}
    return list({(key(entry), digests[entry.path]): entry for entry in reversed(images)}.values())[::-1]


def _place_count(stack: list[Slice]) -> int:
    return 1 + int((np.diff(np.sort(_heights(stack, stack[0].normal))) >= SAME_PLACE_MM).sum())


def _heights(stack: list[Slice], normal: np.ndarray) -> np.ndarray:
    return np.array([entry.position for entry in stack]) @ normal


def _phases(stack: list[Slice]) -> list[list[Slice]]:
    """Split a stack of several scans of one place (contrast phases) by the first mark that tells them apart.

    A part whose images all lie at one place is of contrast tracking.
    """
    one_by_one = zip(*(entry.marks for entry in stack), strict=True)
    all_but_the_file = [entry.marks[:-1] for entry in stack]
    divisions = [parts for mark in (*one_by_one, all_but_the_file) if len(parts := _parted(stack, mark)) > 1]
    if _place_count(stack) == len(stack):
        if any(_overlaps(parts).max() >= 0 for parts in divisions):
            raise ValueError("acquisitions lie between each other's slices, so whether they are phases is unclear")
        return [stack]
    phases = next((parts for parts in divisions if all(_place_count(part) in (1, len(part)) for part in parts)), None)
    if phases is None:
        raise ValueError("several images of one series lie at the same position, so phases cannot be told apart")
    if _overlaps(phases).min() < PHASE_OVERLAP:
        raise ValueError("acquisitions share only some of their slices, so whether they are phases is unclear")
    return phases


def _parted(stack: list[Slice], mark: Iterable[Hashable]) -> list[list[Slice]]:
    parts: dict[Hashable, list[Slice]] = defaultdict(list)
    for entry, value in zip(stack, mark, strict=True):
        parts[value].append(entry)
    return list(parts.values())


def _overlaps(parts: list[list[Slice]]) -> np.ndarray:
    """By how much of the shorter one's range any two of the parts overlap; negative if they lie apart."""
    heights = [_heights(part, parts[0][0].normal) for part in parts]
    low = np.array([part.min() for part in heights]) - SAME_PLACE_MM / 2
    high = np.array([part.max() for part in heights]) + SAME_PLACE_MM / 2
    shared = np.minimum.outer(high, high) - np.maximum.outer(low, low)
    return (shared / np.minimum.outer(high - low, high - low))[np.triu_indices(len(parts), 1)]
