"""NIfTI files: the header parsed by nibabel, the image placed as SimpleITK and 3D Slicer place it.

SimpleITK's NIfTI reader returns truncated files without an error, turns NaN into 0, and straightens or refuses sheared
matrices, so files are read here. 3D Slicer reads its volumes itself and never comes this way.
"""

from __future__ import annotations

import gzip
import logging
import math
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import one_sentence
from ..volume import Grid, Triple, Volume, triple
from .nrrd_mha import GOES_ON_NOTE, GZIP_MAGIC, MAX_RATIO, NO_AXES_NOTE, READ_BEYOND_BYTES, matrix_of

if TYPE_CHECKING:
    from nibabel import Nifti1Header

Stream = gzip.GzipFile | BufferedReader
logger = logging.getLogger("attention_unet")
MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # by NIfTI's code of a length; mm if the code says nothing
LENGTH_CODE = 7  # the bits of xyzt_units that are for lengths
SCANNER = 1  # the code of a matrix that gives scanner coordinates
CONTRADICTION_MM = 0.5  # two statements of one header may place a voxel this far apart, as both are rounded
LONGEST_QUATERNION = 1.01
QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
QOFFSET = ("qoffset_x", "qoffset_y", "qoffset_z")
PLACE_KEYS = (*QUATERNION, *QOFFSET, "srow_x", "srow_y", "srow_z", "xyzt_units")


def read_nifti(path: Path) -> Volume:
    """Read a scalar 3D NIfTI file, compressed or not whatever its name says, scaling applied.

    Raises:
        ValueError: If the file is damaged, not a scalar 3D image, or does not say where it lies.
        MemoryError: If its voxels do not fit.
    """
    import nibabel

    with _opened(path) as stream:
        header = _read_header(stream)
        shape = _spatial_shape(path, header.get_data_shape(), header.get_data_dtype())
        ratio = MAX_RATIO if isinstance(stream, gzip.GzipFile) else 1
        stored, notes = _read_voxels(stream, header, shape, path.stat().st_size * ratio)
        voxels = nibabel.volumeutils.apply_read_scaling(stored, *header.get_slope_inter())
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    matrix, contradictions = _place(path, header, triple(stored.shape))
    return Volume(voxels, matrix, name=path.name, notes=(*notes, *contradictions))


def stored_bytes(path: Path) -> int:
    """Bytes of a file's voxels, unpacked: the header says it, and no more are read.

    Raises:
        ValueError: If the header is damaged.
    """
    with _opened(path) as stream:
        header = _read_header(stream)
        return math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize


@contextmanager
def _opened(path: Path) -> Iterator[Stream]:
    """The file's content, unpacked; what goes wrong with it is put into a sentence."""
    import nibabel

    with path.open("rb") as start:
        is_gzip = start.read(2) == GZIP_MAGIC
    try:
        with gzip.open(path) if is_gzip else path.open("rb") as stream:
            yield stream
    except (nibabel.spatialimages.HeaderDataError, nibabel.wrapstruct.WrapStructError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a readable NIfTI file: {one_sentence(error)}") from error
    except (EOFError, OSError, zlib.error, OverflowError) as error:
        raise ValueError(f"{path} is damaged or truncated: {one_sentence(error)}") from error


def _read_header(stream: Stream) -> Nifti1Header:
    from nibabel import Nifti1Header, Nifti2Header

    start = stream.read(4)
    if start.startswith(GZIP_MAGIC):
        raise gzip.BadGzipFile("it is compressed twice; unpack it once")
    kind = Nifti2Header if start in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") else Nifti1Header  # 540, its length
    header = kind(start + stream.read(kind.sizeof_hdr - 4), check=False)
    # the check would make 1 mm of lengths that are missing, and 0 of codes that nibabel does not know
    said = {key: header[key].copy() for key in ("pixdim", "qform_code", "sform_code")}
    header.check_fix(logger=logger)
    header["pixdim"][1:4] = said.pop("pixdim")[1:4]
    for key, code in said.items():
        header[key] = code
    return header


def _spatial_shape(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int, int]:
    if dtype.fields is not None or (len(shape) == 5 and shape[4] in (3, 4)):
        raise ValueError(f"{path} is a colour image; a CT in HU is needed")
    if dtype.kind not in "iuf":
        raise ValueError(f"{path} has voxels of type {dtype}; real numbers are needed")
    if len(shape) < 3 or any(size != 1 for size in shape[3:]):
        raise ValueError(f"{path} is {len(shape)}-dimensional ({' x '.join(map(str, shape))}); one 3D volume is needed")
    return triple(int(size) for size in shape[:3])


def _read_voxels(
    stream: Stream, header: Nifti1Header, shape: tuple[int, int, int], most: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Voxels as stored, (K, J, I), and a note if the file goes on; ``most`` bytes can be there."""
    if not np.isfinite(header["vox_offset"]):
        raise EOFError(f"its header says that voxels begin at byte {header['vox_offset']}")
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    needed = offset + math.prod(shape) * dtype.itemsize
    if min(shape) < 1 or offset < header.sizeof_hdr or needed > most:
        raise EOFError(f"{' x '.join(map(str, shape))} voxels of {dtype} cannot lie in so small a file")
    stream.seek(offset)
    voxels = np.empty(shape[::-1], dtype)
    left = voxels.reshape(-1).view(np.uint8).data
    while left:
        if not (count := stream.readinto(left)):
            raise EOFError(f"the last {len(left)} bytes of the voxels are missing")
        left = left[count:]
    goes_on = bool(stream.read(READ_BEYOND_BYTES))
    voxels = voxels.astype(dtype.newbyteorder("="), copy=False)
    return voxels, (GOES_ON_NOTE,) * goes_on


def _place(path: Path, header: Nifti1Header, shape_kji: Triple) -> tuple[np.ndarray, tuple[str, ...]]:
    """The matrix in mm, and a note on what in the header contradicts it.

    It is ITK's, so that results lie where 3D Slicer shows the image. A sform alone is taken as it is where ITK refuses
    it, as it is sheared, or takes 1 mm for a spacing that is missing.
    """
    spacing = header["pixdim"][1:4]
    has_spacing = bool((np.isfinite(spacing) & (spacing != 0)).all())
    q_code, s_code = max(int(header["qform_code"]), 0), max(int(header["sform_code"]), 0)
    if not has_spacing and (q_code or not s_code):
        raise ValueError(f"{path} has no voxel spacing: its header says {' x '.join(f'{x:g}' for x in spacing)} mm")
    if q_code and not np.linalg.norm([header[key] for key in QUATERNION]) < LONGEST_QUATERNION:
        raise ValueError(f"{path} has a qform that is no rotation")
    if q_code and not np.isfinite([header[key] for key in QOFFSET]).all():
        raise ValueError(f"{path} has an unusable qform: its offset is not finite")
    claims: dict[str, np.ndarray] = {}
    if q_code:
        claims[f"qform (code {q_code})"] = _place_of_itk(header, q_code, 0)
    if s_code:
        mm = MM_PER_UNIT.get(int(header["xyzt_units"]) & LENGTH_CODE, 1.0)
        claims[f"sform (code {s_code})"] = header.get_sform() * [[mm], [mm], [mm], [1]]
    try:
        corners = [Grid(shape_kji, matrix).corners_ras_mm() for matrix in claims.values()]
    except ValueError as error:
        raise ValueError(f"{path} has an unusable qform or sform: {error}") from error
    mirrored = np.prod([np.linalg.det(matrix[:3, :3]) for matrix in claims.values()]) < 0 and len(claims) == 2
    if mirrored and q_code == s_code == SCANNER:
        raise ValueError(f"{path} has a qform and a sform that mirror each other, both in scanner coordinates")
    try:
        if not has_spacing:
            raise RuntimeError
        matrix = _place_of_itk(header, q_code, s_code)
    except RuntimeError:
        matrix = claims[f"sform (code {s_code})"]
    if not claims:
        return matrix, (NO_AXES_NOTE,)
    apart_mm = max(np.abs(there - Grid(shape_kji, matrix).corners_ras_mm()).max() for there in corners)
    if apart_mm < CONTRADICTION_MM:
        return matrix, ()
    note = f"{', '.join(claims)} and voxel spacing in the header contradict each other by up to {apart_mm:.1f} mm"
    return matrix, (f"{note}; the image is placed as 3D Slicer does",)


def _place_of_itk(header: Nifti1Header, q_code: int, s_code: int) -> np.ndarray:
    """Where ITK puts an image with these codes, read from a file of one voxel.

    Raises:
        RuntimeError: If the sform is sheared and there is no qform.
    """
    from nibabel import Nifti1Header

    one_voxel = Nifti1Header()  # ITK does not know NIfTI-2
    one_voxel.set_data_shape((1, 1, 1))
    for key in PLACE_KEYS:
        one_voxel[key] = header[key]
    one_voxel["pixdim"][:4] = header["pixdim"][:4]
    one_voxel["qform_code"], one_voxel["sform_code"] = q_code, s_code
    reader = sitk.ImageFileReader()
    with tempfile.TemporaryDirectory(prefix="attention-unet-") as scratch:
        path = Path(scratch) / "place.nii"
        path.write_bytes(one_voxel.binaryblock + bytes(8))
        reader.SetFileName(str(path))
        sitk.ProcessObject.GlobalWarningDisplayOff()  # it would name this file
        try:
            reader.ReadImageInformation()
        finally:
            sitk.ProcessObject.GlobalWarningDisplayOn()
    return matrix_of(reader)
