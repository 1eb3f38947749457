"""Files that tests read: DICOM series written slice by slice with a given geometry, and files that are broken."""

import locale
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms

SHAPE = (24, 20, 22)
SPACING = (1.5, 1.5, 2.0)
LPS = np.diag([-1.0, -1, 1])
DIMENSIONS = {"StackID": "stack", "InStackPositionNumber": "place", "TemporalPositionIndex": "temporal"}


def scan(shape=SHAPE) -> Volume:
    """A ball beside the middle, in HU."""
    grid = phantoms.grid(shape, SPACING, LPS, (10, -20, 300))
    centre = grid.corners_ras_mm().mean(axis=0) + [3, 2, 4]
    return Volume(np.round(phantoms.hu_from([(phantoms.ball(grid, centre, 9), 200)], -100)), grid.ijk_to_ras)


def write_slices(folder: Path, volume: Volume, heights=None, shift_per_slice_mm=0.0, series="1.2.3", **tags) -> None:
    """Write one file per slice; ``heights`` (slice index as a float) places them, names are not in order."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = LPS @ volume.ijk_to_ras[:3]
    normal_step = matrix[:, 2]
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    values = {
        "modality": "CT",
        "kind": "ORIGINAL\\PRIMARY\\AXIAL",
        "patient": "P1",
        "acquisition": "1",
        "instance": "1",
        "temporal": "1",
        "thickness_mm": "2",
    } | tags
    for n, plane in enumerate(volume.voxels):
        height = n if heights is None else heights[n]
        position = matrix[:, 3] + normal_step * height + np.array([0, shift_per_slice_mm * height, 0])
        image = sitk.GetImageFromArray(plane.astype(np.int16))
        image.SetSpacing(SPACING[:2])
        rows, columns = matrix[:, 0] / SPACING[0], matrix[:, 1] / SPACING[1]
        for key, value in {
            "0008|0060": values["modality"],
            "0008|0008": values["kind"],
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{series}.{n + 1}.{values['acquisition']}.{values['instance']}",
            "0008|103e": f"series {series}",
            "0010|0020": values["patient"],
            "0020|000d": "1.2",
            "0020|000e": series,
            "0020|0011": series.split(".")[-1],
            "0008|0020": "20200101",
            "0008|0030": "110000",
            "0008|0032": f"12{int(values['acquisition']):02d}00",
            "0020|0012": values["acquisition"],
            "0020|0013": str(n + 1 + 100 * int(values["acquisition"]) + 5000 * int(values["temporal"])),
            "0020|0052": "1.2.1",
            "0020|0100": values["temporal"],
            "0018|0050": values["thickness_mm"],
            "0018|5100": "HFS",
            "0020|0032": "\\".join(f"{x:.6f}" for x in position),
            "0020|0037": "\\".join(f"{x:.6f}" for x in (*rows, *columns)),
            "0028|1052": "-1024",
            "0028|1053": "1",
        }.items():
            image.SetMetaData(key, value)
        name = f"{(n * 389) % 997:03d}_{series}_{values['acquisition']}.dcm"
        writer.SetFileName(str(folder / name))
        encoding = locale.setlocale(locale.LC_CTYPE)
        writer.Execute(image)
        locale.setlocale(locale.LC_CTYPE, encoding)  # ITK's writer leaves "C", and text files would be ASCII then


def bad_files(folder) -> dict[str, str]:
    """Name of every bad file that is made here -> what the error has to say."""
    (folder / "text.nii.gz").write_text("hello")
    (folder / "text.nrrd").write_text("hello")
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "notes.txt").write_text("hello")
    (folder / "text.dcm").write_text("hello")
    (folder / "no dicom").mkdir()
    (folder / "text only").mkdir()
    (folder / "text only" / "readme").write_text("hello")
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.int16), np.eye(4)), folder / "4d.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6), np.int16), np.eye(4)), folder / "2d.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.complex64), np.eye(4)), folder / "complex.nii")
    rgb = sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True)
    sitk.WriteImage(rgb, str(folder / "rgb.nii.gz"))
    sitk.WriteImage(rgb, str(folder / "rgb.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 6), np.int16), isVector=False), str(folder / "4d.nrrd"))
    noise = np.random.default_rng(0).integers(-1024, 3000, (20, 20, 20)).astype(np.int16)
    for name in ("ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"):
        write_volume(Volume(noise, np.eye(4)), folder / name)
        data = (folder / name).read_bytes()
        (folder / f"truncated.{name}").write_bytes(data[: len(data) * 2 // 3])
    return {
        "missing.nii.gz": "does not exist",
        "text.nii.gz": "not a readable NIfTI file",
        "text.nrrd": "damaged or not an image",
        "empty.nii.gz": "not a readable NIfTI file",
        "notes.txt": "not a supported file",
        "text.dcm": "not a supported file",
        "no dicom": "holds no DICOM images",
        "text only": "holds no DICOM images",
        "4d.nii.gz": r"4-dimensional \(5 x 6 x 7 x 2\)",
        "2d.nii.gz": r"2-dimensional \(5 x 6\)",
        "complex.nii": "real numbers are needed",
        "rgb.nii.gz": "colour image",
        "rgb.nrrd": "3 values per voxel",
        "4d.nrrd": r"4-dimensional \(6 x 5 x 4 x 3\)",
        "truncated.ct.nii": "damaged or truncated",
        "truncated.ct.nii.gz": "damaged or truncated",
        "truncated.ct.nrrd": "damaged or truncated",
        "truncated.ct.mha": "damaged or truncated",
    }


def write_enhanced(path: Path, volume: Volume, frames=None, shared=True, **top) -> None:
    """Write an enhanced (multi-frame) CT, uncompressed.

    Args:
        path: File to write; its folder is made.
        volume: Voxels as stored, rescaled by slope 1, intercept -1024; ``volume.voxels`` are HU.
        frames: For each frame in the file's order: ``height`` (slice index, which need not be whole), ``plane`` (which
            slice of the volume it shows), and changes: ``shift_mm`` (LPS), ``temporal``, ``cardiac``,
            ``acquisition``, ``stack``, ``rescale``, ``kind``.
        shared: Whether orientation, spacing and rescaling stand once for all frames, or in each.
        top: Values that the file has for all frames, by DICOM keyword; None leaves one out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = LPS @ volume.ijk_to_ras[:3]
    frames = frames or [{"height": n, "plane": n} for n in range(len(volume.voxels))]
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    instance = f"1.2.3.{zlib.crc32(str(path).encode())}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = instance
    common = {"Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "PatientID": "P1"}
    common |= {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "FrameOfReferenceUID": "1.2.1"}
    common |= {"StudyDate": "20200101", "StudyTime": "110000", "PatientPosition": "HFS"}
    common |= {"SeriesNumber": 3, "InstanceNumber": 1, "AcquisitionNumber": 1} | top
    for keyword, value in common.items():
        if value is not None:
            setattr(dataset, keyword, value)
    for keyword, value in {
        "Rows": volume.voxels.shape[1],
        "Columns": volume.voxels.shape[2],
        "NumberOfFrames": len(frames),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }.items():
        setattr(dataset, keyword, value)
    cosines = [f"{x:.6f}" for x in (*matrix[:, 0] / SPACING[0], *matrix[:, 1] / SPACING[1])]
    everywhere = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": cosines},
        "PixelMeasuresSequence": {"PixelSpacing": [SPACING[1], SPACING[0]], "SliceThickness": SPACING[2]},
        "PixelValueTransformationSequence": {"RescaleSlope": 1, "RescaleIntercept": -1024},
    }
    dataset.SharedFunctionalGroupsSequence = [_groups(everywhere if shared else {})]
    dataset.PerFrameFunctionalGroupsSequence = []
    heights = sorted({frame["height"] for frame in frames})
    dimensions = DIMENSIONS | ({"FrameAcquisitionNumber": "acquisition"} if "acquisition" in frames[0] else {})
    for frame in frames:
        place = heights.index(frame["height"]) + 1
        position = matrix[:, 3] + matrix[:, 2] * frame["height"] + np.array(frame.get("shift_mm", (0, 0, 0)))
        groups = {
            "PlanePositionSequence": {"ImagePositionPatient": [f"{x:.6f}" for x in position]},
            "FrameContentSequence": {
                "TemporalPositionIndex": frame.get("temporal", 1),
                "StackID": str(frame.get("stack", 1)),
                "InStackPositionNumber": place,
                "DimensionIndexValues": [({"place": place} | frame).get(key, 1) for key in dimensions.values()],
            },
        }
        if "cardiac" in frame:
            groups["CardiacSynchronizationSequence"] = {"NominalPercentageOfCardiacPhase": frame["cardiac"]}
        if "acquisition" in frame:
            groups["FrameContentSequence"]["FrameAcquisitionNumber"] = frame["acquisition"]
        if "kind" in frame:
            groups["CTImageFrameTypeSequence"] = {"FrameType": ["ORIGINAL", "PRIMARY", frame["kind"], "NONE"]}
        groups |= {} if shared else everywhere
        if "rescale" in frame:
            slope, intercept = frame["rescale"]
            groups["PixelValueTransformationSequence"] = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        dataset.PerFrameFunctionalGroupsSequence.append(_groups(groups))
    dataset.DimensionIndexSequence = [_dimension(keyword) for keyword in dimensions]
    planes = [volume.voxels[frame["plane"]] for frame in frames]
    dataset.PixelData = (np.stack(planes) + 1024).astype("<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _groups(content: dict[str, dict]) -> pydicom.Dataset:
    """Functional groups: sequences of one item each."""
    groups = pydicom.Dataset()
    for sequence, values in content.items():
        item = pydicom.Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(groups, sequence, [item])
    return groups


def _dimension(keyword: str) -> pydicom.Dataset:
    """One of the numbers that ``DimensionIndexValues`` give for each frame."""
    dimension = pydicom.Dataset()
    dimension.DimensionIndexPointer = pydicom.datadict.tag_for_keyword(keyword)
    dimension.FunctionalGroupPointer = pydicom.datadict.tag_for_keyword("FrameContentSequence")
    return dimension


def compress(path: Path, how: str) -> None:
    """Compress the pixels of a multi-frame file, by RLE or as ITK does it ("JPEG", "JPEG2000")."""
    dataset = pydicom.dcmread(path)
    if how == "RLE":
        dataset.compress(pydicom.uid.RLELossless)
    else:
        other_path = path.with_name("compressed.dcm")
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(other_path))
        writer.UseCompressionOn()
        writer.SetCompressor(how)
        writer.Execute(sitk.GetImageFromArray(dataset.pixel_array))
        other = pydicom.dcmread(other_path)
        other_path.unlink()
        dataset.file_meta.TransferSyntaxUID = other.file_meta.TransferSyntaxUID
        dataset.PixelData = other.PixelData
        dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
