"""Folders with several DICOM series, or copies, and which of their images are the CT."""

from __future__ import annotations

from collections.abc import Callable

import pydicom

from support.dicom_parts import PHASE_HU, DicomCase, Part, series, set_to, tagged

COPIES = "copies of images, equal in place and pixels, were left out"


def chosen(count: int, images: int) -> str:
    """The note that a scan was chosen."""
    return f"{count} CT stacks in the folder; took the largest, {images} images"


def one_uid(dataset: pydicom.Dataset) -> None:
    """A change that gives all images one UID."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"


def in_series(uid: str, change: Callable[[pydicom.Dataset], None]) -> Callable[[pydicom.Dataset], None]:
    """A change of the images of one series only."""
    return lambda dataset: change(dataset) if dataset.SeriesInstanceUID == uid else None


def stored_hu(dataset: pydicom.Dataset) -> None:
    """A change that stores HU as they are, without rescaling."""
    dataset.PixelData = (dataset.pixel_array.astype("<i2") + int(dataset.RescaleIntercept)).tobytes()
    dataset.PixelRepresentation = 1
    del dataset.RescaleSlope, dataset.RescaleIntercept


def _own_series(dataset: pydicom.Dataset) -> None:
    dataset.SeriesInstanceUID = f"1.3.{dataset.InstanceNumber}"


def _named(dataset: pydicom.Dataset) -> None:
    dataset.PatientName = "AB"[int(dataset.InstanceNumber) % 2]


def choice_cases() -> list[DicomCase]:
    """Which images of a folder are the CT."""
    scout, first = "ORIGINAL\\PRIMARY\\LOCALIZER", Part()
    pet = tagged(range(30), series="1.2.4", modality="PT")
    others = [tagged(range(10), series="1.2.9"), pet, tagged(range(28), series="1.2.5", kind=scout)]
    screenshots = tagged(range(30), series="1.8")
    larger, as_large = tagged(range(30), series="1.1", kind="DERIVED\\SECONDARY\\MIP"), tagged(series="1.1")
    brighter = tagged(series="1.9", brighter_hu=PHASE_HU)
    few, ends = tagged(range(5), series="1.9"), tagged([0, 23], series="1.9")
    short, long = tagged(range(0, 40, 4)), tagged(range(40), series="1.1", kind="DERIVED\\SECONDARY\\MIP")
    tall = "took the largest that is no projection, map or picture, 10 images"
    rather = (
        r"2 CT stacks in the folder; took the largest that is no projection, map or picture, 24 images \(series 1.2"
    )

    return [
        series("two CT series, a PET and a scout", first, *others, note=chosen(2, 24) + r" \(series 1.2.3\)"),
        series("MR", tagged(modality="MR"), truths=(), refusal="no CT series .found: 24 MR images"),
        series("PET", pet, truths=(), refusal="found: 30 PT"),
        series("scout", tagged(kind=scout), truths=(), refusal="found: 24 scout"),
        series("scout, in one word", tagged(kind="ORIGINAL\\PRIMARY\\2DLOCALIZER"), truths=(), refusal="24 scout"),
        series("two patients", first, tagged(series="1.2.4", patient="P2"), truths=(), refusal="CTs of 2 patients"),
        series("two names of a patient", first, change=_named, note="2 patient names but one ID"),
        series(
            "screenshots without a place beside a scan",
            first,
            screenshots,
            change=in_series("1.8", set_to(ImagePositionPatient=None)),
        ),
        series("a larger projection", larger, first, truths=[first], note=rather),
        series(
            "one slice called a projection beside a smaller scan",
            tagged(range(30)),
            tagged(series="1.9"),
            note=chosen(2, 30),
            change=set_to(ImageType=["DERIVED", "SECONDARY", "MIP"]),
            files=slice(3, 4),
        ),
        series(
            "a scan without rescaling beside two slices",
            first,
            ends,
            change=in_series("1.2.3", stored_hu),
            note=chosen(2, 24) + r".*stored values are taken as HU",
        ),
        series("a much larger projection of the same length", long, tagged(range(0, 40, 4)), truths=[short], note=tall),
        series(
            "units in other letters",
            first,
            brighter,
            change=in_series("1.2.3", set_to(RescaleType="Hounsfield")),
            note=chosen(2, 24),
        ),
        series(
            "a scan with a slice that lacks rescaling beside a short one",
            first,
            few,
            truths=(),
            change=set_to(RescaleSlope=None, RescaleIntercept=None),
            files=slice(3, 4),
            refusal="lacks the rescale",
        ),
        series("only a projection", larger, truths=[Part(range(30))]),
        series(
            "a map",
            as_large,
            first,
            truths=[first],
            change=in_series("1.1", set_to(RescaleType="Z_EFF")),
            note=chosen(2, 24),
        ),
        series(
            "a larger map",
            tagged(range(30), series="1.1"),
            first,
            truths=[first],
            change=in_series("1.1", set_to(RescaleType="MGML")),
            note=rather,
        ),
        series(
            "values without rescaling",
            as_large,
            first,
            truths=[first],
            change=in_series("1.1", set_to(RescaleSlope=None, RescaleIntercept=None)),
            note=chosen(2, 24),
        ),
        series(
            "a picture in colour",
            as_large,
            first,
            truths=[first],
            change=in_series("1.1", set_to(PhotometricInterpretation="RGB")),
            note=chosen(2, 24) + r" \(series 1.2.3\)",
        ),
        series(
            "a derived series as large",
            tagged(series="1.1", kind="DERIVED\\SECONDARY\\AXIAL", patient="P1"),
            first,
            truths=[first],
            note=chosen(2, 24) + r" \(series 1.2.3\)",
        ),
        series("every file twice", first, first, note=COPIES + r" \(24\)"),
        series("one SOP instance UID for all slices", first, change=one_uid),
        series("one slice sent twice, under a new UID", first, tagged([5], instance="2"), note=COPIES + r" \(1\)"),
        series("a series UID for each slice", first, change=_own_series, note="series UIDs do not tell"),
    ]
