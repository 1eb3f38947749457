"""Folders with series of single DICOM images, one thing odd about each, and what should be read from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from support import phantoms
from support.dicom_parts import PHASE_HU, TILT_MM, DicomCase, Part, series, set_to, tagged
from support.phantom_files import LPS, SHAPE


def _one_uid(dataset: pydicom.Dataset) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"


def _cut_pixels(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-100]


def _unplaced(dataset: pydicom.Dataset) -> None:
    if dataset.SeriesInstanceUID == "1.8":
        del dataset.ImagePositionPatient


def geometry_cases() -> list[DicomCase]:
    """One series each: where its slices lie."""
    every = range(SHAPE[0])
    uneven = [n for n in range(40) if n < 16 or n % 2 == 0]
    drift = np.cumsum([0.0] + [1.0] * 30 + [1.04] * 29).tolist()
    oblique, permuted = phantoms.rotation(12, -8, 25) @ LPS, np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    left, right = LPS.copy(), LPS.copy()
    left[2, 0], right[2, 0] = 0.000499, 0.000501
    long_cosines = [1.004, 0, 0, 0, 1.004, 0]
    tilted = Part(shift_mm=TILT_MM)
    beside = Part(range(12, 24), moved_mm=15, tags={"instance": "2"})
    return [
        series("plain series", Part()),
        series("oblique", Part(directions=oblique)),
        series("coronal", Part(directions=permuted)),
        series("slices stored against their normal", Part(directions=LPS * [1, 1, -1])),
        series("gantry tilt, with its tag", tilted, change=set_to(GantryDetectorTilt=11.3)),
        series("gantry tilt, without the tag", tilted),
        series("one slice missing", Part([n for n in every if n != 12])),
        series("eight slices missing", Part([n for n in every if not 8 <= n < 16]), truths=()),
        series("2 mm slices, then 4 mm", Part(uneven)),
        series("spacing that drifts by 4 %", Part(drift)),
        series("half of the slices 15 mm to the side", Part(range(12)), beside, truths=()),
        series("direction cosines of length 1.004", Part(), change=set_to(ImageOrientationPatient=long_cosines)),
        series(
            "direction cosines that differ by 0.000002",
            Part(range(12), left),
            Part(range(12, 24), right, tags={"instance": "2"}),
            truths=[Part()],
        ),
        series("no position", Part(), truths=(), change=set_to(ImagePositionPatient=None)),
        series("no orientation", Part(), truths=(), change=set_to(ImageOrientationPatient=None)),
        series("no pixel spacing", Part(), truths=(), change=set_to(PixelSpacing=None)),
        series("pixel spacing of 0", Part(), truths=(), change=set_to(PixelSpacing=[0, 0])),
        series("one image", Part([0]), truths=()),
    ]


def choice_cases() -> list[DicomCase]:
    """Which images of a folder are the CT."""
    scout, first = "ORIGINAL\\PRIMARY\\LOCALIZER", Part()
    pet = tagged(range(30), series="1.2.4", modality="PT")
    others = [tagged(range(10), series="1.2.9"), pet, tagged(range(28), series="1.2.5", kind=scout)]
    screenshots = tagged(range(30), series="1.8")
    return [
        series("two CT series, a PET and a scout", first, *others),
        series("MR", tagged(modality="MR"), truths=()),
        series("PET", pet, truths=()),
        series("scout", tagged(kind=scout), truths=()),
        series("two patients", first, tagged(series="1.2.4", patient="P2"), truths=()),
        series("screenshots without a place beside a scan", first, screenshots, change=_unplaced),
        series("every file twice", first, first),
        series("one SOP instance UID for all slices", first, change=_one_uid),
    ]


def phase_cases() -> list[DicomCase]:
    """Several scans of one place in a series."""
    first, second = Part(), tagged(acquisition="2", brighter_hu=PHASE_HU)
    holes = tagged([*range(6), *range(11, 24)], acquisition="2", brighter_hu=PHASE_HU)
    marks = [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    four = [
        tagged(temporal=temporal, acquisition=acquisition, instance=str(n + 1), brighter_hu=PHASE_HU * n)
        for n, (temporal, acquisition) in enumerate(marks)
    ]
    later = tagged([n + 0.5 for n in range(24)], acquisition="2", brighter_hu=PHASE_HU)
    temporal = tagged(temporal="2", instance="2", brighter_hu=PHASE_HU)
    untold = tagged(instance="2", brighter_hu=PHASE_HU)
    return [
        series("two phases, by acquisition", first, second, truths=[first, second]),
        series("two phases, half a slice apart", first, later, truths=[first, later]),
        series("two phases, by temporal position", first, temporal, truths=[first, temporal]),
        series("four phases that only two marks tell apart", *four, truths=four),
        series("two phases that nothing tells apart", first, untold, truths=()),
        series("two phases, both with holes", tagged(range(14)), holes, truths=()),
        series("five tracking images at one place beside a scan", tagged(acquisition="3"), tagged([7.0] * 5)),
    ]


def acquisition_cases() -> list[DicomCase]:
    """One scan in several acquisitions."""

    def case(name: str, *blocks: Sequence[float], truth: Part | None = None) -> DicomCase:
        parts = [tagged(list(block), acquisition=str(n + 1)) for n, block in enumerate(blocks)]
        return series(name, *parts, truths=[truth or Part()])

    later = [n - 0.5 for n in range(12, 24)]
    return [
        case("second acquisition fills the first's hole", [*range(10), *range(16, 24)], range(10, 16)),
        case("second acquisition has every second slice", range(0, 24, 2), range(1, 24, 2)),
        case("acquisitions that overlap by half a slice", range(13), later, truth=Part([*range(13), *later[1:]])),
        case("acquisitions that share a slice where they meet", range(9), range(8, 17), range(16, 24)),
        case("an acquisition for each slice", *([n] for n in range(24))),
        case("an acquisition for every six slices", *(range(n, n + 6) for n in range(0, 24, 6))),
    ]


def file_cases() -> list[DicomCase]:
    """Files that are damaged, or none."""

    def damaged(folder: Path) -> None:
        Part().write(folder)
        for path in sorted(folder.iterdir())[1:3]:  # not next to each other
            path.write_bytes(path.read_bytes()[:300])

    def odd_name(folder: Path) -> None:
        Part().write(folder)
        first = sorted(folder.iterdir())[0]
        os.link(first, os.fsencode(folder) + b"/M\xfcller.dcm")

    def no_dicom(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "readme.txt").write_text("hello")

    return [
        series("a file whose pixels end early", Part(), truths=(), change=_cut_pixels, files=slice(3, 4)),
        DicomCase("two files cut off in their header", damaged, (Part().truth(),)),
        DicomCase("a copy whose name is not UTF-8", odd_name, (Part().truth(),)),
        DicomCase("no DICOM file", no_dicom, ()),
    ]


def series_cases() -> list[DicomCase]:
    """All of them."""
    return [*geometry_cases(), *choice_cases(), *phase_cases(), *acquisition_cases(), *file_cases()]
