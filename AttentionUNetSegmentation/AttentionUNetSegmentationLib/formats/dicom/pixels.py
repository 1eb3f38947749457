"""Pixels of DICOM files -> HU, rescaled image by image from the stored values, which pydicom decodes.

It lacks decoders of JPEG lossless, so the compressed pixels of a file of one image are left to GDCM, through SimpleITK,
which rescales them too. GDCM is not used for others: it rescales all frames of a file as the first, inverts MONOCHROME1
before rescaling, and fills what is missing of uncompressed pixels with whatever lies in memory.
"""

from __future__ import annotations

import hashlib
import math
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .headers import PER_FRAME, Slice, damage_named

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

PIXEL_DATA = 0x7FE00010
IMAGE_PIXEL_GROUP = 0x28
IDENTITY = (0x00080016, 0x00080018)  # what kind of image it is, and its UID
GDCM = """
import pathlib, sys
import numpy, SimpleITK
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.dcm")):
    image = SimpleITK.ReadImage(str(path), imageIO="GDCMImageIO")
    numpy.save(path.with_suffix(".npy"), SimpleITK.GetArrayFromImage(image))
"""
MAX_PIXELS = 4096 * 4096  # of a compressed file, or, if there are more, ...
MAX_RATIO = 200  # ... as many to a byte


def decode(scan: Sequence[Slice]) -> np.ndarray:
    """HU of the images of a scan, (K, J, I), each with its own rescale slope and intercept.

    Raises:
        ValueError: If pixels are missing, damaged, in colour, or cannot be decoded; the message names the file.
    """
    places: dict[Path, list[int]] = defaultdict(list)
    for n, entry in enumerate(scan):
        places[entry.path].append(n)
    planes: dict[int, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="attention-unet-") as scratch:
        left_to_gdcm: dict[Path, int] = {}
        for path, numbers in places.items():
            with damage_named(path):
                dataset = _checked(path, scan[numbers[0]].size[::-1])
                if _is_for_gdcm(dataset):
                    bare_path = Path(scratch) / f"{numbers[0]:06d}.dcm"
                    _bare(dataset).save_as(bare_path, enforce_file_format=True)
                    left_to_gdcm[bare_path] = numbers[0]
                else:
                    planes |= zip(numbers, _decoded(dataset, [scan[n] for n in numbers]), strict=True)
        said = _run_gdcm(Path(scratch)) if left_to_gdcm else ""
        for bare_path, n in left_to_gdcm.items():
            with damage_named(scan[n].path):
                if not bare_path.with_suffix(".npy").exists():
                    raise ValueError(f"its compressed pixels are damaged, or cannot be decoded: {said}")
                planes[n] = _narrowed(np.load(bare_path.with_suffix(".npy")).reshape(scan[n].size[::-1]))
    return np.stack([planes[n] for n in range(len(scan))])


def _checked(path: Path, shape: tuple[int, int]) -> FileDataset:
    from pydicom import uid

    dataset = _up_to_pixels(path)
    if "PixelData" not in dataset:
        raise ValueError("it has no pixels; it may be cut off")
    kind = str(dataset.PhotometricInterpretation)
    if not kind.startswith("MONOCHROME"):
        raise ValueError(f"it is a colour image, {kind}; a CT in HU is needed")
    meta = dataset.file_meta
    if "TransferSyntaxUID" not in meta:  # a file without the preamble
        is_implicit, _ = dataset.original_encoding
        meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if is_implicit else uid.ExplicitVRLittleEndian
    count = int(dataset.get("NumberOfFrames") or 1)
    most = max(MAX_PIXELS, MAX_RATIO * path.stat().st_size)
    if meta.TransferSyntaxUID.is_compressed and count * math.prod(shape) > most:
        raise ValueError(f"{count} compressed images of {shape[1]} x {shape[0]} pixels in so small a file")
    return dataset


def _is_for_gdcm(dataset: FileDataset) -> bool:
    from pydicom import uid

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == uid.RLELossless or PER_FRAME in dataset:
        return False
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        raise ValueError("compressed images with inverted grey values, MONOCHROME1, are not supported")
    return True


def _decoded(dataset: FileDataset, images: Sequence[Slice]) -> list[np.ndarray]:
    stored = dataset.pixel_array.reshape(-1, *images[0].size[::-1])
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


def _bare(dataset: FileDataset) -> Dataset:
    """The image alone: at sequences nested deeply GDCM would end the process."""
    from pydicom import Dataset, uid

    bare = Dataset()
    bare.file_meta = dataset.file_meta
    for element in dataset:
        if element.tag in IDENTITY or element.tag.group == IMAGE_PIXEL_GROUP or element.tag == PIXEL_DATA:
            bare[element.tag] = element
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage  # GDCM reads no private ones
    return bare


def _run_gdcm(folder: Path) -> str:
    """Decode the files of a folder to .npy beside them, up to one that fails; what was said last of that.

    It happens in a process of its own, which damaged pixels may end.
    """
    command = [sys.executable, "-P", "-c", GDCM, str(folder)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, errors="replace")
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return re.sub(r"^.*\(0x\w+\): ", "", lines[-1])


def _rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return _narrowed(stored * slope + intercept)


def _narrowed(hu: np.ndarray) -> np.ndarray:
    """The same numbers, in two bytes each if they are whole and not too large, else in four."""
    is_int16 = np.abs(hu).max(initial=0) < 2**15 and (hu.dtype.kind in "iu" or bool((hu == np.rint(hu)).all()))
    return hu.astype(np.int16 if is_int16 else np.float32)
