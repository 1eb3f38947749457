"""Pixels of DICOM files -> HU.

Files of one image and compressed ones are decoded by GDCM through SimpleITK. GDCM rescales all frames of a file as the
first, and fills what is missing of uncompressed pixels with whatever lies in memory; so frames are decoded by pydicom
and rescaled one by one where that is possible, and the length of pixels is checked before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .headers import Slice
from .multiframe import header_errors

if TYPE_CHECKING:
    from pydicom.uid import UID

UNDEFINED_LENGTH = 0xFFFFFFFF
RLE = "1.2.840.10008.1.2.5"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")  # whose functional groups GDCM heeds
SIZES = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")


def decode(images: Sequence[Slice]) -> list[np.ndarray]:
    """HU of images of one file, (J, I) each.

    Raises:
        ValueError: If pixels are missing, damaged, in colour, or cannot be rescaled to HU; the message names the file.
    """
    path = images[0].path
    syntax, sop_class = _checked_header(path)
    if images[0].rescale is None:
        return [_decoded_by_itk(path).reshape(images[0].size[::-1])]
    if syntax is None or not syntax.is_compressed or syntax == RLE:
        raw = _decoded_by_pydicom(path)
        raw = raw.reshape(-1, *raw.shape[-2:])
        return [_rescaled(raw[entry.frame], *entry.rescale) for entry in images]
    if not images[0].is_rescaled_alike or sop_class not in ENHANCED_CT:
        raise ValueError(f"the frames of {path.name} are compressed and not all rescaled to HU in one known way")
    frames = _decoded_by_itk(path).reshape(-1, *images[0].size[::-1])
    return [frames[entry.frame].copy() for entry in images]  # a copy lets the file's other frames go


def _checked_header(path: Path) -> tuple[UID | None, str]:
    """Transfer syntax and SOP class of a file whose pixels are all there; what pydicom cannot read is left to GDCM."""
    import pydicom

    tags = ["PixelData", "SOPClassUID", *SIZES]
    try:
        header = pydicom.dcmread(path, defer_size=1024, specific_tags=tags, force=True)
        pixels = header.get_item("PixelData", keep_deferred=True)
        rows, columns, frames, samples, bits = (int(header.get(name) or 1) for name in SIZES)
    except header_errors():
        return None, ""
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    length = getattr(pixels, "length", UNDEFINED_LENGTH)
    expected = -(-rows * columns * frames * samples * bits // 8)
    is_plain = syntax is None or not (syntax.is_compressed or syntax.is_deflated)
    if is_plain and length != UNDEFINED_LENGTH and length < expected:
        raise ValueError(f"{path.name} is damaged: {length} bytes of pixels instead of {expected}")
    return syntax, str(header.get("SOPClassUID") or "")


def _decoded_by_itk(path: Path) -> np.ndarray:
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"{path.name} cannot be decoded ({lines[-1] if lines else 'no reason given'})") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{path.name} is a colour image; a CT in HU is needed")
    return sitk.GetArrayFromImage(image)


def _decoded_by_pydicom(path: Path) -> np.ndarray:
    import pydicom

    try:
        dataset = pydicom.dcmread(path, force=True)
        if int(dataset.get("SamplesPerPixel") or 1) != 1:
            raise ValueError("it is a colour image")
        return dataset.pixel_array
    except (*header_errors(), RuntimeError) as error:
        raise ValueError(f"{path.name} cannot be decoded ({' '.join(str(error).split())})") from error


def _rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if slope == int(slope) and intercept == int(intercept):
        return stored.astype(np.int32) * int(slope) + int(intercept)
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
