import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.files import (
    read_volume,
    straightened,
    to_sitk,
    write_segmentation,
    write_volume,
)
from AttentionUNetSegmentationLib.volume import Grid, Segmentation, Volume
from support import phantoms
from support.grids import GRIDS, volume
from support.phantom_files import bad_files


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".nhdr", ".mhd"])
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_written_is_read_back(ending, name, dtype, tmp_path):
    original = volume(GRIDS[name], dtype)
    write_volume(original, tmp_path / f"ct{ending}")
    read = read_volume(tmp_path / f"ct{ending}")
    np.testing.assert_array_equal(read.voxels, original.voxels)
    np.testing.assert_allclose(read.ijk_to_ras, original.ijk_to_ras, atol=1e-4)
    assert read.notes == ()


def test_rescale_slope_and_intercept_are_applied(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(2, -1000)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    raw = nibabel.load(tmp_path / "ct.nii.gz")
    assert raw.dataobj.slope == 2  # the file does carry the scaling
    read = read_volume(tmp_path / "ct.nii.gz")
    np.testing.assert_allclose(read.voxels.T, np.arange(24).reshape(2, 3, 4) * 2.0 - 1000)


def test_nifti_places_agree_with_simple_itk(tmp_path):
    for name, grid in GRIDS.items():
        write_volume(volume(grid), tmp_path / "ct.nii.gz")
        image = sitk.ReadImage(str(tmp_path / "ct.nii.gz"))
        lps = np.array(image.TransformIndexToPhysicalPoint((3, 2, 1)))
        ras = read_volume(tmp_path / "ct.nii.gz").grid.ras_of(np.array([3, 2, 1]))
        np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-3, err_msg=name)


def test_a_file_that_does_not_say_how_the_patient_lies_is_read_like_itk_with_a_note(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), None)
    image.header.set_zooms((1, 2, 3))
    nibabel.save(image, tmp_path / "ct.nii")
    itk = sitk.ReadImage(str(tmp_path / "ct.nii"))
    read = read_volume(tmp_path / "ct.nii")
    expected = np.array(itk.TransformIndexToPhysicalPoint((1, 2, 3))) * [-1, -1, 1]
    np.testing.assert_allclose(read.grid.ras_of(np.array([1, 2, 3])), expected)
    assert "does not say how the patient lies" in read.notes[0]


def sheared_grid(shape=(20, 24, 28)) -> Grid:
    matrix = phantoms.grid(shape, (1.5, 1.5, 2.0), np.diag([-1.0, -1, 1])).ijk_to_ras.copy()
    matrix[1, 2] = 2.0 * np.tan(np.radians(15))
    return Grid(shape, matrix)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_sheared_scan_is_resampled_and_says_so(ending, tmp_path):
    grid = sheared_grid((40, 50, 50))
    centre = grid.corners_ras_mm().mean(axis=0) + [4, 3, 2]
    voxels = phantoms.ball(grid, centre, 15)
    if ending == ".nii.gz":
        nibabel.save(nibabel.Nifti1Image(voxels.T, grid.ijk_to_ras), tmp_path / "ct.nii.gz")
    else:
        direction = np.diag([-1.0, -1, 1]) @ grid.ijk_to_ras[:3, :3]
        image = sitk.GetImageFromArray(voxels)
        image.SetDirection((direction).ravel().tolist())
        image.SetOrigin((np.diag([-1.0, -1, 1]) @ grid.ijk_to_ras[:3, 3]).tolist())
        sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    read = read_volume(tmp_path / f"ct{ending}")
    assert read.grid.is_orthogonal
    assert "sheared by 15.0 degrees" in read.notes[0]
    np.testing.assert_allclose(phantoms.centroid_ras_mm(read.voxels > 0.5, read.grid), centre, atol=0.2)
    assert np.count_nonzero(read.voxels > 0.5) * read.grid.voxel_volume_ml == pytest.approx(14.137, rel=0.02)


def test_straight_volumes_are_left_alone():
    original = volume(GRIDS["oblique"])
    assert straightened(original) is original


def test_a_scan_sheared_out_of_all_proportion_is_refused():
    """Straight, it would take a hundred times the memory."""
    matrix = np.eye(4)
    matrix[0, 2] = 60  # mm that each slice is shifted
    with pytest.raises(ValueError, match="so far from perpendicular that no scanner made it"):
        straightened(Volume(np.zeros((100, 40, 40), np.uint8), matrix))


@pytest.mark.parametrize("other", ["a.tif", "a.hdf5", "a.vtk"])
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_another_format_under_the_name_is_refused(other, ending, tmp_path):
    """Its reader would take 1 mm for a spacing that is missing, or, that of HDF5, open other files."""
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4), np.int16)), str(tmp_path / other))
    (tmp_path / other).rename(tmp_path / f"ct{ending}")
    with pytest.raises(ValueError, match=rf"ct{ending} (is damaged or not an image|has no voxel spacing)"):
        read_volume(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("hidden", ["Comment = x\n\nDimSize = 1 1 8", "Comment = x\n\nDimSize = 900 900 900"])
def test_sizes_that_only_the_reader_in_itk_sees_are_refused(hidden, tmp_path):
    """They stand behind an empty line, which ends the header for others."""
    said = "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 1 1 1\nDimSize = 2 2 2\n"
    content = f"{said}ElementType = MET_UCHAR\n{hidden}\nElementDataFile = LOCAL\n".encode() + bytes(8)
    (tmp_path / "ct.mha").write_bytes(content)
    with pytest.raises(ValueError, match="voxels for its reader; its header is damaged"):
        read_volume(tmp_path / "ct.mha")


def test_counting_what_compressed_voxels_unpack_to_ends(tmp_path):
    """A small file can unpack to terabytes: far behind the voxels nobody looks, not even for the missing end."""
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nspace: left-posterior-superior\n"
    header += "space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: gzip\n\n"
    (tmp_path / "ct.nrrd").write_bytes(header.encode() + gzip.compress(bytes(8 << 20))[:-100])
    read = read_volume(tmp_path / "ct.nrrd")
    assert read.voxels.tobytes() == bytes(8) and "the file goes on after the voxels" in read.notes[-1]


def test_a_sheared_volume_is_never_written_as_if_it_were_straight(tmp_path):
    with pytest.raises(ValueError, match="sheared volume cannot be written"):
        write_volume(Volume(np.zeros((20, 24, 28), np.uint8), sheared_grid().ijk_to_ras), tmp_path / "x.nrrd")


def test_bad_files_get_one_line_with_their_name_and_the_reason(tmp_path):
    for name, message in bad_files(tmp_path).items():
        with pytest.raises(ValueError, match=message) as caught:
            read_volume(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ct", "Müller"])
@pytest.mark.parametrize(
    ("ending", "data"),
    [(".nii.gz",) * 2, (".mha",) * 2, (".mhd", ".zraw"), (".nrrd",) * 2, (".nhdr", ".raw.gz")],
)
def test_flipped_bits_are_noticed(ending, data, name, tmp_path):
    write_volume(volume(phantoms.grid((20, 20, 20))), tmp_path / f"{name}{ending}")
    good = (tmp_path / f"{name}{data}").read_bytes()
    for position in np.random.default_rng(0).integers(len(good) // 2, len(good) - 1, 20):
        damaged = bytearray(good)
        damaged[position] ^= 4
        (tmp_path / f"{name}{data}").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged|not a readable"):
            read_volume(tmp_path / f"{name}{ending}")


def test_a_truncated_data_file_is_noticed(tmp_path):
    for ending, data in ((".mhd", ".zraw"), (".nhdr", ".raw.gz")):
        write_volume(volume(phantoms.grid((20, 20, 20))), tmp_path / f"ct{ending}")
        content = (tmp_path / f"ct{data}").read_bytes()
        (tmp_path / f"ct{data}").write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match="damaged"):
            read_volume(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_nifti_file_without_a_voxel_spacing_is_refused(kind, ending, tmp_path):
    """Nibabel itself would take 1 mm."""
    path = tmp_path / f"ct{ending}"
    content = bytearray(kind(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_bytes())
    header = kind.header_class(bytes(content[: kind.header_class.sizeof_hdr]), check=False)
    header["pixdim"][2], header["sform_code"], header["qform_code"] = 0, 0, 1
    content[: kind.header_class.sizeof_hdr] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)) if ending.endswith("gz") else bytes(content))
    with pytest.raises(ValueError, match="has no voxel spacing: its header says 1 x 0 x 1 mm"):
        read_volume(path)
    header["sform_code"], header["qform_code"] = 2, 0  # the matrix alone says where voxels lie
    content[: kind.header_class.sizeof_hdr] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)) if ending.endswith("gz") else bytes(content))
    assert read_volume(path).spacing_mm == pytest.approx((1, 1, 1))


def test_gzip_in_several_members_is_read(tmp_path):
    path, data = tmp_path / "ct.nhdr", tmp_path / "ct.raw.gz"
    write_volume(volume(phantoms.grid((20, 20, 20))), path)
    voxels = gzip.decompress(data.read_bytes())
    data.write_bytes(gzip.compress(voxels[:5000]) + gzip.compress(voxels[5000:]) + bytes(3))
    np.testing.assert_array_equal(read_volume(path).voxels, volume(phantoms.grid((20, 20, 20))).voxels)


def test_a_spacing_that_itk_does_not_see_counts_as_missing(tmp_path):
    path = tmp_path / "ct.mha"
    write_volume(volume(GRIDS["LPS"]), path)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing", b"elementspacing"))
    with pytest.raises(ValueError, match="has no voxel spacing"):
        read_volume(path)


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_four_dimensional_files_of_one_volume_are_read(ending, tmp_path):
    original = volume(GRIDS["oblique"])
    image = sitk.JoinSeries(to_sitk(original))
    assert image.GetDimension() == 4
    sitk.WriteImage(image, str(tmp_path / f"ct.{ending}"))
    read = read_volume(tmp_path / f"ct.{ending}")
    np.testing.assert_array_equal(read.voxels, original.voxels)
    np.testing.assert_allclose(read.ijk_to_ras, original.ijk_to_ras, atol=1e-4)


def test_nifti_lengths_in_metres_are_understood(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "ct.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "ct.nii").spacing_mm, (1, 2, 3), rtol=1e-5)
    image.header.set_xyzt_units("meter", "sec")  # one number holds both
    nibabel.save(image, tmp_path / "ct.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "ct.nii").spacing_mm, (1, 2, 3), rtol=1e-5)


def test_nifti_lengths_in_a_unit_that_does_not_exist_are_taken_as_mm(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([1.0, 2, 3, 1]))
    image.header["xyzt_units"] = 7
    nibabel.save(image, tmp_path / "ct.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "ct.nii").spacing_mm, (1, 2, 3))


def test_rounding_of_the_matrix_is_taken_out_without_resampling(tmp_path):
    matrix = GRIDS["LPS"].ijk_to_ras.copy()
    matrix[0, 1] = 8e-4
    nibabel.save(nibabel.Nifti1Image(volume(GRIDS["LPS"]).voxels.T, matrix), tmp_path / "ct.nii.gz")
    read = read_volume(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(read.voxels, volume(GRIDS["LPS"]).voxels)
    np.testing.assert_allclose(read.grid.directions.T @ read.grid.directions, np.eye(3), atol=1e-9)
    assert np.abs(read.grid.corners_ras_mm() - Grid(read.voxels.shape, matrix).corners_ras_mm()).max() < 0.01
    write_volume(read, tmp_path / "copy.nii.gz")
    np.testing.assert_allclose(nibabel.load(tmp_path / "copy.nii.gz").affine, read.ijk_to_ras, atol=1e-5)


def test_names_that_are_not_utf_8_are_refused():
    with pytest.raises(ValueError, match="not valid UTF-8"):
        read_volume(b"/tmp/\xff.nrrd".decode("utf-8", "surrogateescape"))


def test_nan_voxels_survive_reading_so_that_they_can_be_refused(tmp_path):
    voxels = np.zeros((5, 6, 7), np.float32)
    voxels[1, 2, 3] = np.nan
    for ending in (".nii.gz", ".nrrd", ".mha"):
        write_volume(Volume(voxels, np.eye(4)), tmp_path / f"ct{ending}")
        assert np.isnan(read_volume(tmp_path / f"ct{ending}").voxels[1, 2, 3])


def test_segmentation_files_carry_names_colours_and_terminology(tmp_path):
    grid = GRIDS["oblique"]
    labels = np.zeros(grid.shape_kji, np.uint8)
    labels[1:3] = 3
    organs = [organ for label in phantoms.LABELS for organ in label.organs(split=True)]
    write_segmentation(Segmentation(labels, grid.ijk_to_ras, organs), tmp_path / "x.seg.nrrd")
    image = sitk.ReadImage(str(tmp_path / "x.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), labels)
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert [fields[f"Segment{n}_Name"] for n in range(4)] == ["pancreas", "spleen", "right kidney", "left kidney"]
    assert [fields[f"Segment{n}_LabelValue"] for n in range(4)] == ["1", "2", "3", "4"]
    assert fields["Segment0_Color"] == "0.976471 0.705882 0.435294"
    assert fields["Segment2_Tags"] == (
        "TerminologyEntry:Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure"
        "~SCT^64033007^Kidney~SCT^24028007^Right~Anatomic codes - DICOM master list~^^~^^|"
    )
    assert "~SCT^15776009^Pancreas~^^~" in organs[0].terminology_entry()
    assert "Segment4_Name" not in fields


@pytest.mark.parametrize("name", ["missing/x.nrrd", "missing/x.nii", "x" * 300 + ".nii.gz"])
def test_an_unwritable_place_is_an_os_error_and_nothing_else_is_printed(name, tmp_path, capfd):
    with pytest.raises(OSError, match="cannot be written: (No such file|File name too long)"):
        write_volume(volume(GRIDS["RAS"]), tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha"])
def test_a_file_that_is_cut_short_by_a_full_disk_is_an_os_error(ending, share, tmp_path):
    """ITK's writers say nothing of it: that of NIfTI never, the others not of the last 4 kB."""
    resource = pytest.importorskip("resource", reason="this system has no limit of file size to stand for a full disk")
    ct = volume(phantoms.grid((30, 40, 50)))
    write_volume(ct, tmp_path / f"whole{ending}")
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), limits[1]))
    try:
        with pytest.raises(OSError, match=rf"ct{ending} cannot be written"):
            write_volume(ct, tmp_path / f"ct{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_images_on_disk_are_in_lps():
    image = to_sitk(Volume(np.zeros((2, 2, 2), np.uint8), GRIDS["RAS"].ijk_to_ras))
    assert image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
