"""Folders with series of single DICOM images, one thing odd about each, and what should be read from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pydicom

from support import phantoms
from support.dicom_choice_cases import COPIES, choice_cases, chosen, one_uid, stored_hu
from support.dicom_parts import PHASE_HU, TILT_MM, DicomCase, Part, series, set_to, tagged
from support.phantom_files import LPS, SHAPE, compress

TILTED = "the scan is sheared by 11.3 degrees"
UNEVEN = "slices are missing or unevenly spaced"
UNPLACED = "images lack position, orientation or pixel spacing"
BETWEEN = "slices of several acquisitions alternate"


def _nested(folder: Path) -> None:
    """Pydicom could not write such a file."""
    Part().write(folder)
    path, pixels = sorted(folder.iterdir())[3], b"\xe0\x7f\x10\x00"
    before, after = path.read_bytes().split(pixels, 1)
    opened = b"\x40\x00\x75\x02\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00" + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    path.write_bytes(before + opened * 500 + closed * 500 + pixels + after)


def _inverted(dataset: pydicom.Dataset) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME1"


def _compressed(folder: Path, how: str, kind: str = "MONOCHROME2") -> None:
    Part().write(folder)
    for path in sorted(folder.iterdir()):
        compress(path, how)
        dataset = pydicom.dcmread(path)
        dataset.PhotometricInterpretation = kind
        dataset.save_as(path)


def _of_a_private_class(folder: Path) -> None:
    _compressed(folder, "JPEG2000")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.113619.4.30"
        dataset.save_as(path)


def _cut_off(folder: Path) -> None:
    _compressed(folder, "JPEG2000")
    path = sorted(folder.iterdir())[3]
    path.write_bytes(path.read_bytes()[:-100])


def _without_preamble(folder: Path) -> None:
    Part().write(folder)
    for path in folder.iterdir():
        pydicom.dcmwrite(path, pydicom.Dataset(pydicom.dcmread(path)), implicit_vr=True, little_endian=True)


def _cut_pixels(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-100]


def geometry_cases() -> list[DicomCase]:
    """One series each: where its slices lie."""
    every = range(SHAPE[0])
    uneven = [n for n in range(40) if n < 16 or n % 2 == 0]
    drift = np.cumsum([0.0] + [1.0] * 30 + [1.04] * 29).tolist()
    jittered = [0.15 * n + (0.04 if n % 4 == 1 else 0) for n in range(60)]
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
        series("gantry tilt, with its tag", tilted, change=set_to(GantryDetectorTilt=11.3), note=TILTED),
        series("gantry tilt, without the tag", tilted, note=TILTED),
        series("one slice missing", Part([n for n in every if n != 12]), note=UNEVEN + ".*gaps of 2.00 to 4.00 mm"),
        series(
            "eight slices missing",
            Part([n for n in every if not 8 <= n < 16]),
            truths=(),
            refusal=r"a gap of 18\.0 mm",
        ),
        series("2 mm slices, then 4 mm", Part(uneven), note=UNEVEN),
        series("spacing that drifts by 4 %", Part(drift), note=UNEVEN),
        series(
            "half of the slices 15 mm to the side",
            Part(range(12)),
            beside,
            truths=(),
            refusal="7.2 mm off a straight stack",
        ),
        series("thin slices, their heights rounded to 0.1 mm", Part((np.round(np.arange(60) * 0.625, 1) / 2).tolist())),
        series("very thin slices, unevenly spaced", Part(jittered), note=UNEVEN),
        series("direction cosines of length 1.004", Part(), change=set_to(ImageOrientationPatient=long_cosines)),
        series(
            "direction cosines that differ by 0.000002",
            Part(range(12), left),
            Part(range(12, 24), right, tags={"instance": "2"}),
            truths=[Part()],
        ),
        series("no position", Part(), truths=(), change=set_to(ImagePositionPatient=None), refusal=UNPLACED),
        series("no orientation", Part(), truths=(), change=set_to(ImageOrientationPatient=None), refusal=UNPLACED),
        series("no pixel spacing", Part(), truths=(), change=set_to(PixelSpacing=None), refusal=UNPLACED),
        series("pixel spacing of 0", Part(), truths=(), change=set_to(PixelSpacing=[0, 0]), refusal=UNPLACED),
        series("one value of pixel spacing", Part(), truths=(), change=set_to(PixelSpacing=[1.5]), refusal=UNPLACED),
        series("one image", Part([0]), truths=(), refusal="only one image"),
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
    two, four_of_them = {"note": chosen(2, 24)}, {"note": chosen(4, 24)}
    same_place = "several images of one series lie at the same position"
    tracking = Part([7.0] * 5, brighter_hu=[10, 20, 30, 40, 50])
    return [
        series("two phases, by acquisition", first, second, truths=[first, second], **two),
        series("the same, one SOP instance UID", first, second, truths=[first, second], change=one_uid, **two),
        series("two phases, half a slice apart", first, later, truths=[first, later], refusal=BETWEEN),
        series("two phases, by temporal position", first, temporal, truths=[first, temporal], **two),
        series("four phases that only two marks tell apart", *four, truths=four, **four_of_them),
        series("two phases that nothing tells apart", first, untold, truths=(), refusal=same_place),
        series("the same, one SOP instance UID for all", first, untold, truths=(), change=one_uid, refusal=same_place),
        series("two phases, both with holes", tagged(range(14)), holes, truths=(), refusal=r"a gap of 12\.0 mm"),
        series("five tracking images at one place beside a scan", tagged(acquisition="3"), tracking, **two),
    ]


def told_by_content_cases() -> list[DicomCase]:
    """Phases that only what the images are of tells apart, and series UIDs that tell nothing."""
    first = Part()
    between = Part([n + 0.5 for n in range(24)], brighter_hu=PHASE_HU, tags={"instance": "2"})
    same = tagged(instance="2", brighter_hu=PHASE_HU)
    copy = tagged([5], instance="2")
    tags = {
        "SeriesDescription": "portal venous",
        "SeriesNumber": 4,
        "ConvolutionKernel": "B70",
        "ContrastBolusAgent": "X",
        "KVP": 140,
    }

    def told(keyword: str, own_series: bool = False) -> Callable[[pydicom.Dataset], None]:
        def change(dataset: pydicom.Dataset) -> None:
            if dataset.SOPInstanceUID.endswith(".2"):
                setattr(dataset, keyword, tags[keyword])
            if own_series:
                dataset.SeriesInstanceUID = f"1.3.{dataset.SOPInstanceUID}"

        return change

    def aside(dataset: pydicom.Dataset) -> None:
        if dataset.SOPInstanceUID.endswith(".2"):
            dataset.ImagePositionPatient[2] += 1e-6

    def late(dataset: pydicom.Dataset) -> None:
        if dataset.SOPInstanceUID.endswith(".2"):
            dataset.AcquisitionTime = "100100"

    def by_time(dataset: pydicom.Dataset) -> None:
        dataset.AcquisitionTime = f"1000{int(dataset.InstanceNumber) % 100 // 4:02d}"

    def by_pairs(dataset: pydicom.Dataset) -> None:
        dataset.SeriesInstanceUID = f"1.3.{int(dataset.InstanceNumber) // 2}"

    two, alone = {"truths": [first, between], "note": chosen(2, 24)}, "series UIDs do not tell"
    return [
        *(series(f"half a slice apart, by {key}", first, between, change=told(key), **two) for key in tags),
        *(
            series(f"at one place, by {key}", first, same, truths=[first, same], change=told(key), note=chosen(2, 24))
            for key in tags
        ),
        series(
            "half a slice apart, a series UID for each", first, between, change=told("ConvolutionKernel", True), **two
        ),
        series("a series UID for each slice, one sent twice", first, copy, change=told("KVP", True), note=COPIES),
        series("a series UID for every two slices", first, change=by_pairs, note=alone),
        series("half a slice apart, by time alone", first, between, truths=(), change=late, refusal=BETWEEN),
        series("at one place, by time alone", first, same, truths=[first, same], change=late, note=chosen(2, 24)),
        series("a copy a little aside", first, copy, change=aside, note=COPIES),
        series("an acquisition time for every four slices", first, change=by_time),
        series(
            "a kernel for each half",
            Part(range(12)),
            tagged(range(12, 24), instance="2"),
            truths=[first],
            change=told("ConvolutionKernel"),
        ),
        series(
            "kernels that overlap a little",
            Part(range(12)),
            tagged([n - 1.5 for n in range(12, 24)], instance="2"),
            truths=(),
            change=told("ConvolutionKernel"),
            refusal=BETWEEN,
        ),
    ]


def acquisition_cases() -> list[DicomCase]:
    """One scan in several acquisitions."""

    def case(name: str, *blocks: Sequence[float], truth: Part | None = None, refusal: str = "") -> DicomCase:
        parts = [tagged(list(block), acquisition=str(n + 1)) for n, block in enumerate(blocks)]
        return series(name, *parts, truths=[truth or Part()], refusal=refusal)

    later = [n - 0.5 for n in range(12, 24)]
    meeting, partly = Part([*range(13), *later[1:]]), "acquisitions share only some of their slices"
    return [
        case("second acquisition fills the first's hole", [*range(10), *range(16, 24)], range(10, 16), refusal=BETWEEN),
        case("second acquisition has every second slice", range(0, 24, 2), range(1, 24, 2), refusal=BETWEEN),
        case("acquisitions that overlap by half a slice", range(13), later, truth=meeting, refusal=BETWEEN),
        case("acquisitions that share a slice where they meet", range(9), range(8, 17), range(16, 24), refusal=partly),
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

    left_out = "DICOM files that are no images, empty, damaged, unreadable or not named in UTF-8 were left out"
    inverted = partial(_compressed, how="JPEG2000", kind="MONOCHROME1")
    cut = r"121_1.2.3_1.dcm cannot be read \(The number of bytes of pixel data is less than expected \(780 vs 880"
    one = slice(3, 4)
    return [
        series("a file whose pixels end early", Part(), truths=(), change=_cut_pixels, files=one, refusal=cut),
        DicomCase("sequences nested 500 deep", _nested, (Part().truth(),), note=rf"1 {left_out} \(121_1.2.3_1.dcm"),
        series("inverted grey values", Part(), change=_inverted),
        DicomCase("compressed images: JPEG", partial(_compressed, how="JPEG"), (Part().truth(),)),
        DicomCase("compressed images of a private class", _of_a_private_class, (Part().truth(),)),
        DicomCase("a compressed image that is cut off", _cut_off, (), refusal="121_1.2.3_1.dcm .*it may be cut off"),
        DicomCase("compressed images: JPEG2000", partial(_compressed, how="JPEG2000"), (Part().truth(),)),
        DicomCase(
            "compressed images, inverted grey values", inverted, (Part().truth(),), refusal="MONOCHROME1, are not"
        ),
        series("colour", Part(), truths=(), change=set_to(PhotometricInterpretation="RGB"), refusal="a colour image"),
        DicomCase("files without a preamble", _without_preamble, (Part().truth(),)),
        DicomCase("two files cut off in their header", damaged, (Part().truth(),), note=f"2 {left_out}"),
        DicomCase("a copy whose name is not UTF-8", odd_name, (Part().truth(),), note=f"1 {left_out}"),
        DicomCase("no DICOM file", no_dicom, (), refusal="holds no DICOM images$"),
    ]


def rescale_cases() -> list[DicomCase]:
    """What turns stored values into HU."""
    one, lacks = slice(3, 4), r"1.2.3_1.dcm lacks the rescale slope or intercept"

    def empty(dataset: pydicom.Dataset) -> None:
        dataset.RescaleIntercept = None

    def by_slice(dataset: pydicom.Dataset) -> None:
        shift = 100 * (dataset.InstanceNumber % 7)
        stored = dataset.pixel_array.astype(int) + shift
        dataset.PixelData = stored.astype(dataset.pixel_array.dtype).tobytes()
        dataset.RescaleIntercept -= shift

    def case(name: str, change: Callable[[pydicom.Dataset], None], refusal: str, files: slice = one) -> DicomCase:
        return series(name, Part(), truths=(), change=change, files=files, refusal=refusal)

    two = set_to(RescaleIntercept=[-1024, 0])
    return [
        case("a slice without rescaling", set_to(RescaleSlope=None, RescaleIntercept=None), lacks),
        case("a slice without intercept", set_to(RescaleIntercept=None), lacks),
        case("a slice without slope", set_to(RescaleSlope=None), lacks),
        case("a slice with an empty intercept", empty, lacks),
        case("a slice with two intercepts", two, lacks),
        case("no intercept", set_to(RescaleIntercept=None), lacks, slice(None)),
        case("an intercept of 0 in one slice", set_to(RescaleIntercept=0), "1_1.2.3_1.dcm is rescaled differently"),
        case("a slope of 0", set_to(RescaleSlope=0), "holds no DICOM images that can be read", slice(None)),
        series("an intercept for each slice", Part(), change=by_slice),
        series("HU stored as such", Part(), change=stored_hu, note="stored values are taken as HU"),
        series("effective atomic numbers", Part(), change=set_to(RescaleType="Z_EFF"), note="type .* is Z_EFF, not HU"),
        series("HU that say so", Part(), change=set_to(RescaleType="HU")),
    ]


def series_cases() -> list[DicomCase]:
    """All of them."""
    return [
        *geometry_cases(),
        *choice_cases(),
        *phase_cases(),
        *told_by_content_cases(),
        *acquisition_cases(),
        *file_cases(),
        *rescale_cases(),
    ]
