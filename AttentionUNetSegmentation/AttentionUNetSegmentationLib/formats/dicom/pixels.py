"""Pixels of DICOM files -> HU, rescaled image by image from the stored values, which pydicom decodes.

It lacks decoders of JPEG lossless, so the compressed pixels of a file of one image are left to GDCM, through SimpleITK,
which rescales them too. GDCM is not used for others: it rescales all frames of a file as the first, inverts MONOCHROME1
before rescaling, and fills what is missing of uncompressed pixels with whatever lies in memory.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .headers import PER_FRAME, Slice, damage_named

if TYPE_CHECKING:
    from pydicom import FileDataset

PIXEL_DATA = 0x7FE00010
IMAGE_PIXEL_GROUP = 0x28
IDENTITY = (0x00080016, 0x00080018)  # what kind of image it is, and its UID
MAX_PIXELS = 4096 * 4096  # of a compressed file, or, if there are more, ...
MAX_RATIO = 200  # ... as many to a byte


def decode(images: Sequence[Slice]) -> list[np.ndarray]:
    """HU of images of one file, (J, I) each.

    Raises:
        ValueError: If pixels are missing, damaged, in colour, or cannot be decoded; the message names the file.
    """
    from pydicom import uid

    path, shape = images[0].path, images[0].size[::-1]
    with damage_named(path):
        dataset = _up_to_pixels(path)
        kind = str(dataset.PhotometricInterpretation)
        if not kind.startswith("MONOCHROME"):
            raise ValueError(f"it is a colour image, {kind}; a CT in HU is needed")
        meta = dataset.file_meta
        if "TransferSyntaxUID" not in meta:  # a file without the preamble
            is_implicit, _ = dataset.original_encoding
            meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if is_implicit else uid.ExplicitVRLittleEndian
        is_plain = not meta.TransferSyntaxUID.is_compressed or meta.TransferSyntaxUID == uid.RLELossless
        count = int(dataset.get("NumberOfFrames") or 1)
        most = max(MAX_PIXELS, MAX_RATIO * path.stat().st_size)
        if meta.TransferSyntaxUID.is_compressed and count * math.prod(shape) > most:
            raise ValueError(f"{count} compressed images of {shape[1]} x {shape[0]} pixels in so small a file")
        if not (is_plain or PER_FRAME in dataset):
            if kind == "MONOCHROME1":
                raise ValueError("compressed images with inverted grey values, MONOCHROME1, are not supported")
            return [_decoded_by_itk(dataset).reshape(shape)]
        stored = dataset.pixel_array.reshape(-1, *shape)
        return [_rescaled(stored[entry.frame], *(entry.rescale or (1.0, 0.0))) for entry in images]


def pixel_digest(path: Path) -> bytes:
    """What tells the stored pixels of a file from others."""
    with damage_named(path):
        return hashlib.sha256(_up_to_pixels(path).PixelData).digest()


def _up_to_pixels(path: Path) -> FileDataset:
    """A file without what follows the pixels, as a signature may."""
    from pydicom.filereader import read_partial

    with path.open("rb") as stream:
        return read_partial(stream, stop_when=lambda tag, *_: tag > PIXEL_DATA, force=True)


def _decoded_by_itk(dataset: FileDataset) -> np.ndarray:
    """HU of a file of one image, of which GDCM gets pixels only: at nested sequences it would end the process."""
    from pydicom import Dataset

    bare = Dataset()
    bare.file_meta = dataset.file_meta
    for element in dataset:
        if element.tag in IDENTITY or element.tag.group == IMAGE_PIXEL_GROUP or element.tag == PIXEL_DATA:
            bare[element.tag] = element
    with tempfile.TemporaryDirectory(prefix="attention-unet-") as scratch:
        path = Path(scratch) / "image.dcm"
        bare.save_as(path, enforce_file_format=True)
        try:
            return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
        except RuntimeError as error:
            raise ValueError(str(error).strip().splitlines()[-1]) from error  # the lines before are for programmers


def _rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    hu = stored * slope + intercept
    is_int16 = slope.is_integer() and intercept.is_integer() and np.abs(hu).max(initial=0) < 2**15
    return hu.astype(np.int16 if is_int16 else np.float32)
