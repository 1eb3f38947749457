"""Folders with multi-frame DICOM files (enhanced CT), one thing odd about each, and what should be read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom

from AttentionUNetSegmentationLib.volume import Volume
from support.dicom_choice_cases import chosen
from support.dicom_parts import PHASE_HU, TILT_MM, DicomCase, Part
from support.dicom_series_cases import BETWEEN, TILTED, UNEVEN, UNPLACED
from support.phantom_files import SHAPE, compress, write_enhanced

ALL = range(SHAPE[0])
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
DAMAGED = r"holds no DICOM images that can be read \(ct\.dcm\)"
SAME_PLACE = "several images of one series lie at the same position"
Change = Callable[[Path], None]


def frames(
    name: str,
    part: Part | None = None,
    entries: Sequence[dict] = (),
    truths: Sequence[Part] | None = None,
    change: Change | None = None,
    shared: bool = True,
    refusal: str = "",
    note: str = "",
    **top: object,
) -> DicomCase:
    """A case of one file; ``entries`` are changes of each frame (see ``write_enhanced``), in the part's order."""
    part = part or Part()

    def write(folder: Path) -> None:
        write_frames(folder / "ct.dcm", part, entries, shared, **top)
        if change:
            change(folder / "ct.dcm")

    wanted = tuple(truth.truth() for truth in ([part] if truths is None else truths))
    return DicomCase(name, write, wanted, refusal, note)


def write_frames(path: Path, part: Part, entries: Sequence[dict] = (), shared: bool = True, **top: object) -> None:
    """Write a part as one file, its HU stored as each frame's slope and intercept ask."""
    volume = part.volume()
    stored, listed = volume.voxels.copy(), []
    for n, height in enumerate(part.heights):
        entry = dict(entries[n]) if entries else {}
        slope, intercept = map(float, entry.get("rescale", (1, -1024)))
        if np.isfinite(intercept) and np.isfinite(slope):
            stored[n] = np.round((volume.voxels[n] - intercept) / slope) - 1024
        shift = (0, part.shift_mm * height, 0)
        listed.append({"height": float(height), "plane": n, "shift_mm": shift} | entry)
    write_enhanced(path, Volume(stored, volume.ijk_to_ras), listed, shared, **top)


def joined(*parts: Part) -> Part:
    """The slices of several phases as one part, in the file's order."""
    heights = [height for part in parts for height in part.heights]
    return Part(heights, brighter_hu=[part.brighter_hu for part in parts for _ in part.heights])


def replaced(old: bytes, new: bytes) -> Change:
    """A change of bytes of the header."""

    def change(path: Path) -> None:
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return change


def _cut_pixels(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData[:-400]
    dataset.save_as(path)


def frame_cases() -> list[DicomCase]:
    """One file each."""
    order = np.random.default_rng(0).permutation(SHAPE[0]).tolist()
    uneven = np.cumsum([0.0] + [1.0, 1.3] * 12)[:24].tolist()
    own = [{"rescale": (1 + n % 2, -1024 + n)} for n in ALL]
    scouts = [{"kind": "LOCALIZER" if n < 2 else "VOLUME"} for n in ALL]
    scout_rescaled = [own[0] | {"kind": "LOCALIZER", "rescale": (3, -1000)}, *own[1:]]
    fraction = [{"rescale": (0.25, -1024.5)}] * SHAPE[0]
    endless = [{"rescale": ("1E400", "0")}] * SHAPE[0]
    sequence, content = b"\x00\x52\x30\x92SQ", b"\x20\x00\x13\x91SQ"
    return [
        frames("enhanced CT", shared=True),
        frames("enhanced CT, nothing shared between frames", shared=False),
        frames("frames in any order", Part(order), truths=[Part()]),
        frames("one frame missing", Part([n for n in ALL if n != 12]), note=UNEVEN + ".*gaps of 2.00 to 4.00 mm"),
        frames(
            "eight frames missing", Part([n for n in ALL if not 8 <= n < 16]), truths=(), refusal=r"a gap of 18\.0 mm"
        ),
        frames("frames 2.0 and 2.6 mm apart", Part(uneven), note=UNEVEN),
        frames("tilted frames", Part(shift_mm=TILT_MM), note=TILTED),
        frames(
            "frames of which two at a time lie at one place", Part([n // 2 for n in ALL]), truths=(), refusal=SAME_PLACE
        ),
        frames("two frames of a scout in front", entries=scouts, truths=[Part(ALL[2:])]),
        frames("a rescaling for each frame", entries=own, shared=False),
        frames("a rescaling for each frame and another for all", entries=own),
        frames("the same, and a scout in front", entries=scout_rescaled, truths=[Part(ALL[1:])], shared=False),
        frames("rescaling by 0.25", entries=fraction, shared=False),
        frames(
            "the same, multi-frame secondary capture", entries=fraction, shared=False, SOPClassUID=SECONDARY_CAPTURE
        ),
        frames("compressed: RLE", change=lambda path: compress(path, "RLE")),
        frames("compressed: JPEG2000", change=lambda path: compress(path, "JPEG2000")),
        frames("compressed: JPEG", change=lambda path: compress(path, "JPEG"), refusal="ct.dcm .*JPEG Lossless"),
        frames(
            "compressed, a rescaling for each frame",
            entries=own,
            shared=False,
            change=lambda path: compress(path, "JPEG2000"),
        ),
        frames("pixels end early", truths=(), change=_cut_pixels, refusal=r"ct.dcm cannot be read .*20720 vs 21120"),
        frames("frames without places", truths=(), change=_without_places, refusal=UNPLACED),
        frames(
            "functional groups are no sequence",
            truths=(),
            change=replaced(sequence, sequence[:4] + b"OB"),
            refusal=UNPLACED,
        ),
        frames("a type that does not exist", truths=(), change=replaced(content, content[:4] + b"S{"), refusal=DAMAGED),
        frames(
            "99 frames announced, 24 there",
            truths=(),
            change=replaced(b"IS\x02\x0024", b"IS\x02\x0099"),
            refusal=DAMAGED,
        ),
        frames("a slope of 1E400", entries=endless, truths=(), shared=False, refusal=DAMAGED),
        *_phase_cases(),
    ]


def _without_places(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)


def _phase_cases() -> list[DicomCase]:
    """Several phases in one file."""
    first, second = Part(), Part(brighter_hu=PHASE_HU)
    later = replace(second, heights=[n + 0.5 for n in ALL])
    both, four = joined(first, second), [Part(brighter_hu=PHASE_HU * n) for n in range(4)]
    cases = [
        frames(
            f"two phases in a file, by {what}",
            both,
            [{what: 1 + n // 24} for n in range(48)],
            [first, second],
            note=chosen(2, 24),
        )
        for what in ("temporal", "acquisition", "stack")
    ]
    cardiac = [{"cardiac": 40 + n // 24 * 35} for n in range(48)]
    marks = [{"temporal": 1 + n // 24 % 2, "stack": 1 + n // 48} for n in range(96)]
    return [
        *cases,
        frames("two cardiac phases half a slice apart", joined(first, later), cardiac, [first, later], refusal=BETWEEN),
        frames("four phases in a file that only two marks tell apart", joined(*four), marks, four, note=chosen(4, 24)),
    ]


def _files(name: str, *written: tuple[Part, dict], truths: Sequence[Part] | None = None, **said: str) -> DicomCase:
    """A case of several files, each a part and what its header says."""

    def write(folder: Path) -> None:
        for n, (part, top) in enumerate(written):
            write_frames(folder / f"{n}.dcm", part, **({"InstanceNumber": n + 1} | top))

    return DicomCase(name, write, tuple(truth.truth() for truth in ([Part()] if truths is None else truths)), **said)


def _beside(name: str, change: Change, note: str = "") -> DicomCase:
    """A case of single images and a multi-frame file that is no scan."""

    def write(folder: Path) -> None:
        Part().write(folder / "slices")
        write_frames(folder / "other.dcm", Part(range(60)), SeriesInstanceUID="1.9", SeriesNumber=9)
        change(folder / "other.dcm")

    return DicomCase(name, write, (Part().truth(),), note=note)


def several_file_cases() -> list[DicomCase]:
    """Several multi-frame files, or one beside single images."""
    first, second = Part(), Part(brighter_hu=PHASE_HU)
    phases = {"truths": [first, second], "note": chosen(2, 24)}
    one, later = {"ConcatenationUID": "1.2.9"}, {"AcquisitionNumber": 2}
    thirds = [
        (Part(ALL[8 * n : 8 * n + 8]), one | {"InConcatenationNumber": n + 1, "InConcatenationTotalNumber": 3})
        for n in range(3)
    ]
    scout = (Part(range(30)), {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]})
    return [
        _files("two phases in two files of a series", (first, {}), (second, {}), **phases),
        _files("the same, two acquisitions", (first, {}), (second, later), **phases),
        _files("two acquisitions of one concatenation", (first, one), (second, one | later), **phases),
        _files("a scan in two files (concatenation)", (Part(ALL[:10]), one), (Part(ALL[10:]), one)),
        _files(
            "a scan in three files, one missing",
            *thirds[:2],
            truths=(),
            refusal="only 2 of the 3 files of the scan are there",
        ),
        _files("a scout in a file of its own", (first, {}), scout),
        _files("a file for each slice, with functional groups", *((Part([n]), {}) for n in ALL)),
        _beside(
            "a damaged file beside a good scan",
            replaced(b"\x20\x00\x13\x91SQ", b"\x20\x00\x13\x91S{"),
            r"1 DICOM files .*\(other.dcm\)",
        ),
        _beside("a movie without places beside a good scan", _without_places),
    ]
