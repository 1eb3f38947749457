"""NIfTI files, read with nibabel.

SimpleITK's NIfTI reader returns truncated files without an error, turns NaN into 0, and straightens or refuses sheared
matrices, so nibabel reads them here. 3D Slicer reads its volumes itself and never comes this way.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from ..errors import one_sentence
from ..volume import Volume
from .nrrd_mha import NO_AXES_NOTE

HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # by NIfTI's code of a length; mm if the code says nothing
LENGTH_CODE = 7  # the bits of xyzt_units that are for lengths


def read_nifti(path: Path) -> Volume:
    """Read a scalar 3D NIfTI file, scaling applied.

    Raises:
        ValueError: If the file is damaged, or not a scalar 3D image.
    """
    import nibabel

    try:
        image = _load(path)
        shape = _spatial_shape(path, image.shape, image.get_data_dtype())
        voxels = np.asanyarray(image.dataobj).reshape(shape)
    except (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
        gzip.BadGzipFile,
    ) as error:
        raise ValueError(f"{path} is not a readable NIfTI file: {one_sentence(error)}") from error
    except (EOFError, OSError, zlib.error, OverflowError, MemoryError) as error:
        raise ValueError(f"{path} is damaged or truncated: {one_sentence(error)}") from error
    affine, notes = _affine(image)
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    # nibabel's arrays are indexed i, j, k
    return Volume(np.ascontiguousarray(voxels.T), affine, name=path.name, notes=notes)


def _load(path: Path):
    """Open a file; a compressed one is read to its end, so that its checksum is checked."""
    import nibabel

    if not path.name.lower().endswith(".gz"):
        with path.open("rb") as stream:
            _check_spacing(path, stream.read(HEADER_BYTES))
        return nibabel.load(path)
    with gzip.open(path) as stream:
        content = stream.read()
    _check_spacing(path, content[:HEADER_BYTES])
    return (nibabel.Nifti2Image if _is_nifti2(content) else nibabel.Nifti1Image).from_bytes(content)


def _is_nifti2(content: bytes) -> bool:
    return content[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 540, the header's length


def _check_spacing(path: Path, content: bytes) -> None:
    """Refuse a file without a voxel spacing; nibabel would take 1 mm for a 0.

    With an sform matrix the spacing is not used. Files too short for a header are left to nibabel.
    """
    import nibabel

    kind, size = (nibabel.Nifti2Header, 540) if _is_nifti2(content) else (nibabel.Nifti1Header, 348)
    if len(content) < size:
        return
    header = kind(content[:size], check=False)
    spacing = [float(length) for length in header["pixdim"][1:4]]
    if int(header["sform_code"]) == 0 and not all(np.isfinite(length) and length != 0 for length in spacing):
        shown = " x ".join(f"{length:g}" for length in spacing)
        raise ValueError(f"{path} has no voxel spacing: its header says {shown} mm")


def _spatial_shape(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    if dtype.fields is not None or (len(shape) == 5 and shape[4] in (3, 4)):
        raise ValueError(f"{path} is a colour image; a CT in HU is needed")
    if dtype.kind not in "iuf":
        raise ValueError(f"{path} has voxels of type {dtype}; real numbers are needed")
    if len(shape) < 3 or any(size != 1 for size in shape[3:]):
        raise ValueError(f"{path} is {len(shape)}-dimensional ({' x '.join(map(str, shape))}); one 3D volume is needed")
    return shape[:3]


def _affine(image) -> tuple[np.ndarray, tuple[str, ...]]:
    header = image.header
    mm = MM_PER_UNIT.get(int(header["xyzt_units"]) & LENGTH_CODE, 1.0)
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        # as ITK and 3D Slicer take such files: i to the left, j to the back, k upwards
        spacing = np.abs(np.asarray(header.get_zooms()[:3], dtype=float)) * mm
        return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]), (NO_AXES_NOTE,)
    affine = np.array(image.affine, dtype=float)
    affine[:3] *= mm
    return affine, ()
