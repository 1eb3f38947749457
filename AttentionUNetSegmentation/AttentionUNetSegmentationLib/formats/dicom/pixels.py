"""Pixels of DICOM files -> HU, rescaled image by image from the stored values, which pydicom decodes.

It lacks decoders of JPEG lossless, so the compressed pixels of a file of one image are left to GDCM, through SimpleITK,
which rescales them too. GDCM is not used for others: it rescales all frames of a file as the first, inverts MONOCHROME1
before rescaling, and fills what is missing of uncompressed pixels with whatever lies in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .headers import PER_FRAME, Slice, damage_named


def decode(images: Sequence[Slice]) -> list[np.ndarray]:
    """HU of images of one file, (J, I) each.

    Raises:
        ValueError: If pixels are missing, damaged, in colour, or cannot be decoded; the message names the file.
    """
    from pydicom import dcmread, uid

    path, shape = images[0].path, images[0].size[::-1]
    with damage_named(path):
        dataset = dcmread(path, force=True)
        kind = str(dataset.PhotometricInterpretation)
        if not kind.startswith("MONOCHROME"):
            raise ValueError(f"it is a colour image, {kind}; a CT in HU is needed")
        meta = dataset.file_meta
        if "TransferSyntaxUID" not in meta:  # a file without the preamble
            is_implicit, _ = dataset.original_encoding
            meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if is_implicit else uid.ExplicitVRLittleEndian
        is_plain = not meta.TransferSyntaxUID.is_compressed or meta.TransferSyntaxUID == uid.RLELossless
        if not (is_plain or PER_FRAME in dataset):
            if kind == "MONOCHROME1":
                raise ValueError("compressed images with inverted grey values, MONOCHROME1, are not supported")
            return [_decoded_by_itk(path).reshape(shape)]
        stored = dataset.pixel_array.reshape(-1, *shape)
        return [_rescaled(stored[entry.frame], *(entry.rescale or (1.0, 0.0))) for entry in images]


def pixel_digest(path: Path) -> bytes:
    """What tells the stored pixels of a file from others."""
    import pydicom

    with damage_named(path):
        return hashlib.sha256(pydicom.dcmread(path, force=True).PixelData).digest()


def _decoded_by_itk(path: Path) -> np.ndarray:
    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise ValueError(str(error).strip().splitlines()[-1]) from error  # the lines before are for programmers


def _rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    hu = stored * slope + intercept
    is_int16 = slope.is_integer() and intercept.is_integer() and np.abs(hu).max(initial=0) < 2**15
    return hu.astype(np.int16 if is_int16 else np.float32)
