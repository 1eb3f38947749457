"""Images of a folder -> those of one scan: of the largest CT series in HU, in one phase, without copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from .headers import Slice
from .pixels import pixel_digest

SAME_PLACE_MM = 0.01
FEW_IMAGES = 4  # a scan has more; series of so few come from anonymisers that give each image a series UID, or nearly
LARGE = 0.5  # share of the largest stack's places or length from which another one may be the scan
PHASE_OVERLAP = 0.5  # of the shorter one's range, by which scans have to overlap to be phases of one place


def choose_scan(slices: list[Slice], notes: list[str]) -> list[Slice]:
    """The images of the largest CT in the order of their places; ``notes`` get what is to be said of the choice.

    Projections, maps of other quantities and pictures are taken only where there are no slices in HU.

    Raises:
        ValueError: If there is no CT, or it is not clear which images form one.
    """
    images = _ct_images(slices)
    names = {entry.name for entry in images} - {""}
    if len(names) > 1:
        notes.append(f"the images come with {len(names)} patient names but one ID; they may be of several patients")
    sizes = Counter(entry.series for entry in images)
    if len(sizes) > 1 and max(sizes.values()) <= FEW_IMAGES:
        images = [replace(entry, series=entry.study) for entry in images]
        notes.append("series UIDs do not tell which images form a scan; each study was treated as one series")
    count = len(images)
    images = _without_copies(images)
    if len(images) < count:
        notes.append(f"copies of images, equal in place and pixels, were left out ({count - len(images)})")
    stacks: list[list[Slice]] = []
    for entry in images:
        if (stack := next((stack for stack in stacks if stack[0].belongs_with(entry)), None)) is None:
            stacks.append(stack := [])
        stack.append(entry)
    largest = min(_large(stacks), key=_rank)
    phases = _phases(largest)
    scan = min(phases, key=lambda phase: (-_place_count(phase), phase[0].marks, phase[0].content))
    if (total := len(stacks) - 1 + len(phases)) > 1:
        described = f" ({scan[0].description})" if scan[0].description else ""
        beaten = max(map(_place_count, stacks)) > _place_count(largest)
        which = "the largest that is no projection, map or picture" if beaten else "the largest"
        notes.append(f"{total} CT stacks in the folder; took {which}, {len(scan)} images{described}")
    return sorted(scan, key=lambda entry: float(entry.position @ scan[0].normal))


def describe_series(slices: list[Slice], scan: list[Slice]) -> list[dict[str, Any]]:
    """Every series among images, for tables: its UID, modality, description, images, and why it was not used.

    Args:
        slices: Images of any number of series.
        scan: Those that were used; none if the case failed.
    """
    used = {entry.path for entry in scan}
    series: dict[str, list[Slice]] = defaultdict(list)
    for entry in slices:
        series[entry.series].append(entry)
    return [
        {
            "series_uid": uid,
            "modality": images[0].modality,
            "description": images[0].description,
            "images": len(images),
            "used": (is_used := any(entry.path in used for entry in images)),
            "reason": "" if is_used else _why_unused(images, scan),
        }
        for uid, images in series.items()
    ]


def _why_unused(images: list[Slice], scan: list[Slice]) -> str:
    if all(entry.modality != "CT" for entry in images):
        return f"of modality {images[0].modality or 'unknown'}, not CT"
    if all(entry.is_scout for entry in images):
        return "a scout"
    if not any(entry.is_placed for entry in images):
        return "images lack position, orientation or pixel spacing"
    if not scan:
        return "its case failed"
    if _flaws(images) > _flaws(scan):
        return "a projection, a map or a picture"
    return "another CT series of the folder is larger"


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
        place = np.floor(entry.position / SAME_PLACE_MM + 0.3141)  # headers hold no numbers where this is uneven
        return entry.series, entry.marks, entry.size, entry.rescale, place.tobytes(), entry.frame

    counts = Counter(map(key, images))
    digests = {entry.path: b"" for entry in images}
    digests |= {path: pixel_digest(path) for path in {entry.path for entry in images if counts[key(entry)] > 1}}
    return list({(key(entry), digests[entry.path]): entry for entry in reversed(images)}.values())[::-1]


def _large(stacks: list[list[Slice]]) -> list[list[Slice]]:
    """Stacks that may be the scan: of half as many places as the largest, or over half of its length, at least."""
    places, lengths = [_place_count(stack) for stack in stacks], [_length_mm(stack) for stack in stacks]
    largest = int(np.argmax(places))
    return [
        stack
        for stack, count, length in zip(stacks, places, lengths, strict=True)
        if count >= LARGE * places[largest] or (count > FEW_IMAGES and length >= LARGE * lengths[largest])
    ]


def _rank(stack: list[Slice]) -> tuple[Any, ...]:
    """What stacks are sorted by, the best first."""
    is_original = stack[0].kind >= {"ORIGINAL", "PRIMARY"}
    return _flaws(stack), -_place_count(stack), not is_original, stack[0].series


def _flaws(images: list[Slice]) -> tuple[bool, ...]:
    """What speaks against most of the images, the worst first; the odd one is for ``series`` to refuse."""
    return tuple(2 * sum(flaw) > len(images) for flaw in zip(*(entry.flaws for entry in images), strict=True))


def _length_mm(stack: list[Slice]) -> float:
    return float(np.ptp(_heights(stack, stack[0].normal)))


def _place_count(stack: list[Slice]) -> int:
    return 1 + int((np.diff(np.sort(_heights(stack, stack[0].normal))) >= SAME_PLACE_MM).sum())


def _heights(stack: list[Slice], normal: np.ndarray) -> np.ndarray:
    return np.array([entry.position for entry in stack]) @ normal


def _phases(stack: list[Slice]) -> list[list[Slice]]:
    """Split a stack of several scans of one place (contrast phases) by the first mark that tells them apart.

    A part whose images all lie at one place is of contrast tracking. Scans between each other's slices are told apart
    by content alone, as an acquisition may fill another's holes.
    """
    one_by_one = zip(*(entry.marks for entry in stack), strict=True)
    all_but_the_file = [entry.marks[:-1] for entry in stack]
    by_mark = _divisions(stack, [*one_by_one, all_but_the_file])
    by_content = _divisions(stack, zip(*(entry.content for entry in stack), strict=True), least=2)
    by_time = _divisions(stack, [[entry.time for entry in stack]], least=2)
    is_single = _place_count(stack) == len(stack)
    divisions = by_content if is_single else by_mark + by_content + by_time
    possible = [parts for parts in divisions if all(_place_count(part) in (1, len(part)) for part in parts)]
    phases = next((parts for parts in possible if _overlaps(parts).min() >= PHASE_OVERLAP), None)
    if phases:
        return phases
    if not is_single and not possible:
        raise ValueError("several images of one series lie at the same position, so phases cannot be told apart")
    if not is_single:
        raise ValueError("acquisitions share only some of their slices, so whether they are phases is unclear")
    two_times = [parts for parts in by_time if len(parts) == 2]  # there may be one for each few slices
    if any(_overlaps(parts).max() >= 0 for parts in by_mark + by_content + two_times):
        raise ValueError("slices of several acquisitions alternate, so whether they are phases is unclear")
    return [stack]


def _divisions(stack: list[Slice], marks: Iterable[Iterable[Hashable]], least: int = 1) -> list[list[list[Slice]]]:
    """The stack divided by each mark that differs, if all parts have at least so many images."""
    divided = (_parted(stack, mark) for mark in marks)
    return [parts for parts in divided if len(parts) > 1 and min(map(len, parts)) >= least]


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
