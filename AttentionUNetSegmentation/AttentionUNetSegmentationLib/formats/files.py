"""CT files -> Volume, and Segmentation -> files.

Whatever is read comes back with perpendicular axes: a sheared scan (gantry tilt) is resampled to a straight grid and
says so, because most formats and programs cannot carry shear.
"""

from __future__ import annotations

import dataclasses
import gzip
import math
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import sentence_on
from ..imaging.resampling import resample
from ..volume import Grid, Segmentation, Volume, triple
from . import nifti, nrrd_mha
from .dicom.headers import files_below, read_slices
from .dicom.series import LPS_TO_RAS, is_dicom_file, read_dicom
from .nifti import read_nifti
from .nrrd_mha import GZIP_MAGIC, METAIMAGE_ENDINGS, NRRD_ENDINGS, read_itk

NIFTI_ENDINGS = (".nii", ".nii.gz")
ITK_ENDINGS = NRRD_ENDINGS + METAIMAGE_ENDINGS
READABLE_ENDINGS = NIFTI_ENDINGS + ITK_ENDINGS
NIFTI_HEADER_BYTES = 352
BYTES_PER_PIXEL = 2  # of DICOM
MAX_ROUNDING_MM = 0.1
MAX_GROWTH = 8  # of a sheared scan when it is straightened; a gantry tilts by 30 degrees at most
SMALL_VOXELS = 1 << 24  # where growth does not matter
OTHER_CONTENT = {  # what files begin with that are no images, whatever they are called
    b"version https://git-lfs": "is a pointer of Git LFS; get the file itself with git lfs pull",
    b"/annex/objects": "is a pointer of git-annex; get the file itself with git annex get",
    b"<": "is a web page or XML (did a download fail?)",
    b"PK\x03\x04": "is a zip archive; unpack it",
}


def read_volume(path: Path | str) -> Volume:
    """Read a CT from a NIfTI, NRRD or MHA file, or from a folder of DICOM files.

    Raises:
        ValueError: If it cannot be read as one scalar 3D volume; the message names the file and the reason.
    """
    path = Path(path)
    try:
        str(path.resolve()).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{str(path.resolve())!a} is not valid UTF-8; rename it") from None
    if not path.exists():
        where = f" (it is a link to {path.readlink()})" if path.is_symlink() else ""
        raise ValueError(f"{path} does not exist{where}")
    if not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is neither a file nor a folder")
    try:
        with np.errstate(all="ignore"):  # numbers that are not finite are refused in words
            return straightened(_read(path))
    except ValueError as error:
        raise ValueError(sentence_on(path, error)) from error
    except MemoryError as error:
        raise MemoryError(f"{path}: not enough memory for its voxels") from error


def _read(path: Path) -> Volume:
    if path.is_dir():
        return read_dicom(path)
    name = path.name.lower()
    _check_content(path, name)
    if name.endswith(NIFTI_ENDINGS):
        return read_nifti(path)
    if name.endswith(ITK_ENDINGS):
        return read_itk(path)
    if is_dicom_file(path):
        raise ValueError(f"{path} is one DICOM file; give the folder with the whole series")
    raise ValueError(f"{path} is not a supported file; supported: {', '.join(READABLE_ENDINGS)}, or a DICOM folder")


def _check_content(path: Path, name: str) -> None:
    """Refuse a file by what it is, rather than by what a reader makes of it."""
    with path.open("rb") as stream:
        start = stream.read(512).lstrip()
    found = (
        next((words for mark, words in OTHER_CONTENT.items() if start.startswith(mark)), "") if start else "is empty"
    )
    if name.endswith(ITK_ENDINGS) and start.startswith(GZIP_MAGIC):
        found = "is compressed as a whole; unpack it with gzip"
    if name.endswith(READABLE_ENDINGS) and start[128:132] == b"DICM":
        found = "is a DICOM file; give the folder with the whole series"
    if found:
        raise ValueError(
            f"{path} is not a readable {'NIfTI' if name.endswith(NIFTI_ENDINGS) else 'image'} file: it {found}"
        )


def stored_bytes(path: Path) -> int:
    """Bytes that the voxels of a CT take once they are unpacked, as its headers say; no voxels are read.

    Args:
        path: A file, or a folder of DICOM files; of the latter, all images count.

    Raises:
        ValueError: If the header of a file is damaged.
    """
    name = path.name.lower()
    if not path.is_dir():
        return nifti.stored_bytes(path) if name.endswith(NIFTI_ENDINGS) else nrrd_mha.stored_bytes(path)
    total = 0
    for file in files_below(path):
        with suppress(ValueError):  # reading leaves it out, or says what is wrong
            total += sum(max(math.prod(image.size), 0) * BYTES_PER_PIXEL for image in read_slices(file))
    return total


def straightened(volume: Volume) -> Volume:
    """A volume whose axes are perpendicular: the same one, or resampled if its axes are sheared.

    Shear that moves no voxel by ``MAX_ROUNDING_MM`` is rounding in the file, and is taken out of the matrix alone.
    """
    grid = volume.grid
    left, _, right = np.linalg.svd(grid.directions)
    rounded = grid.ijk_to_ras.copy()
    rounded[:3, :3] = left @ right * grid.spacing_mm
    middle = (np.array(grid.shape_kji[::-1]) - 1) / 2
    rounded[:3, 3] = grid.ras_of(middle) - rounded[:3, :3] @ middle
    moved_mm = np.abs(Grid(grid.shape_kji, rounded).corners_ras_mm() - grid.corners_ras_mm()).max()
    if moved_mm < 1e-6:
        return volume
    if moved_mm < MAX_ROUNDING_MM:
        return dataclasses.replace(volume, ijk_to_ras=rounded)
    return _resampled_straight(volume)


def _resampled_straight(volume: Volume) -> Volume:
    grid = volume.grid
    i, j, k = grid.ijk_to_ras[:3, :3].T
    i_axis = i / np.linalg.norm(i)
    j_axis = j - (j @ i_axis) * i_axis
    j_axis /= np.linalg.norm(j_axis)
    k_axis = np.cross(i_axis, j_axis)
    k_axis *= np.sign(k_axis @ k)
    axes = np.stack([i_axis, j_axis, k_axis], axis=1)
    spacing = np.array([np.linalg.norm(i), j @ j_axis, k @ k_axis])
    along = grid.corners_ras_mm() @ axes
    sizes = np.round((along.max(axis=0) - along.min(axis=0)) / spacing).astype(int) + 1
    if math.prod(map(int, sizes)) > max(MAX_GROWTH * volume.voxels.size, SMALL_VOXELS):
        raise ValueError("its axes are so far from perpendicular that no scanner made it")
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = axes @ along.min(axis=0)
    straight = Grid(triple(int(size) for size in sizes[::-1]), matrix)
    cosines = np.abs(grid.directions.T @ grid.directions - np.eye(3))
    note = (
        f"the scan is sheared by {np.degrees(np.arcsin(cosines.max())):.1f} degrees (gantry tilt?); "
        "resampled to a straight grid"
    )
    voxels = resample(volume.voxels, grid, straight, antialias=False)
    notes = (*volume.notes, note)
    return dataclasses.replace(volume, voxels=voxels, ijk_to_ras=straight.ijk_to_ras, notes=notes, valid_region=grid)


def to_sitk(volume: Volume) -> sitk.Image:
    """A SimpleITK image with the volume's voxels and place.

    Raises:
        ValueError: If the volume is sheared, which images on disk cannot be.
    """
    grid = volume.grid
    if not grid.is_orthogonal:
        raise ValueError(f"{volume.name}: a sheared volume cannot be written; straighten it first")
    image = sitk.GetImageFromArray(volume.voxels)
    image.SetSpacing(grid.spacing_mm)
    image.SetDirection((LPS_TO_RAS @ grid.directions).ravel().tolist())
    image.SetOrigin((LPS_TO_RAS @ grid.ijk_to_ras[:3, 3]).tolist())
    return image


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume, compressed; the ending chooses the format.

    Raises:
        OSError: If the file cannot be written.
    """
    _write(to_sitk(volume), path)


def write_segmentation(segmentation: Segmentation, path: Path) -> None:
    """Write a ``.seg.nrrd`` that 3D Slicer opens with names, colours and SNOMED terminology."""
    image = to_sitk(Volume(segmentation.labels, segmentation.ijk_to_ras, name=path.name))
    k, j, i = segmentation.labels.shape
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for n, organ in enumerate(segmentation.organs):
        color = " ".join(f"{value / 255:.6f}" for value in organ.color_rgb)
        fields |= {
            f"Segment{n}_ID": organ.name.replace(" ", "_"),
            f"Segment{n}_Name": organ.name,
            f"Segment{n}_NameAutoGenerated": "0",
            f"Segment{n}_Color": color,
            f"Segment{n}_ColorAutoGenerated": "0",
            f"Segment{n}_Extent": f"0 {i - 1} 0 {j - 1} 0 {k - 1}",
            f"Segment{n}_LabelValue": str(organ.value),
            f"Segment{n}_Layer": "0",
            f"Segment{n}_Tags": f"TerminologyEntry:{organ.terminology_entry()}|",
        }
    for key, value in fields.items():
        image.SetMetaData(key, value)
    _write(image, path)


def _write(image: sitk.Image, path: Path) -> None:
    try:
        path.open("ab").close()  # where it cannot, ITK's writer of NIfTI prints a line of its own
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}") from error
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
        raise OSError(f"{path} cannot be written: {reason}") from error
    _check_written(path, image)


def _check_written(path: Path, image: sitk.Image) -> None:
    """Make sure that a file is complete: ITK's writers say little or nothing when the disk is full.

    Raises:
        OSError: If not.
    """
    if not path.name.lower().endswith(NIFTI_ENDINGS):
        try:
            if not (header := nrrd_mha.read_header(path)).fields:
                raise ValueError("it has no header")
            header.check()
        except ValueError as error:
            raise OSError(f"{path} cannot be written completely (is the disk full?): {error}") from error
        return
    expected = NIFTI_HEADER_BYTES + image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()
    opened = gzip.open if path.name.lower().endswith(".gz") else Path.open
    try:
        with opened(path, "rb") as stream:
            written = sum(len(part) for part in iter(lambda: stream.read(1 << 24), b""))
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(f"{path} cannot be written completely (is the disk full?): {error}") from error
    if written < expected:
        raise OSError(f"{path} cannot be written completely (is the disk full?): {written} of {expected} bytes")
