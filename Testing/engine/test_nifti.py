"""NIfTI files whose header says more than one thing, or speaks of more or less than the file holds."""

import gzip
import itertools
import re
import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.files import read_volume
from support import phantoms

SHAPE = (4, 5, 6)
CODES = [
    *itertools.product(range(3), repeat=2),
    (2, 4),
    (4, 2),
    (0, 9),
    (6, 0),
    (9, 9),
]  # none, scanner, others, unknown
PLACES = {
    "mirrored": (np.diag([3.0, 3, 3]), np.diag([-3.0, 3, 3]), (10, 20, 30), (-60, 20, 30)),
    "mirrored in place": (np.diag([3.0, 3, 3]), np.diag([-3.0, 3, 3]), (0, 0, 0), (0, 0, 0)),
    "turned": (phantoms.rotation(10, 20, 30) @ np.diag([1.0, 2, 3]), np.diag([1.0, 2, 3]), (5, 6, 7), (5, 6, 7)),
    "moved": (np.diag([-1.0, -2, 3]), np.diag([-1.0, -2, 3]), (5, 6, 7), (5, 16, 7)),
    "of other lengths": (np.diag([1.0, 2, 3]), np.diag([1.0, 2, 2.5]), (5, 6, 7), (5, 6, 7)),
}


def write(path, qform, q_code, sform, s_code, kind=nibabel.Nifti1Image, **fields):
    """Write an image of zeros with these codes and matrices, and header fields changed."""
    image = kind(np.arange(120, dtype=np.int16).reshape(SHAPE), np.eye(4))
    content = bytearray(image.to_bytes())
    size = kind.header_class.sizeof_hdr
    header = kind.header_class(bytes(content[:size]), check=False)
    header.set_qform(qform, 1)
    header.set_sform(sform, 1)
    for key, value in {"qform_code": q_code, "sform_code": s_code, **fields}.items():
        header[key] = value
    content[:size] = header.binaryblock
    path.write_bytes(gzip.compress(content) if path.name.endswith("gz") else content)
    return path


def matrix(linear, offset):
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = linear, offset
    return result


def place_of_simple_itk(path):
    image = sitk.ReadImage(str(path))
    points = [image.TransformIndexToPhysicalPoint(index) for index in ((0, 0, 0), (3, 4, 5), (3, 0, 5))]
    return np.array(points) * (-1, -1, 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("q_code", "s_code"), CODES)
def test_an_image_lies_where_simple_itk_puts_it_and_contradictions_are_said(q_code, s_code, place, tmp_path):
    q_linear, s_linear, q_offset, s_offset = PLACES[place]
    arguments = (matrix(q_linear, q_offset), q_code, matrix(s_linear, s_offset), s_code)
    path = write(tmp_path / "ct.nii.gz", *arguments)
    if q_code == s_code == 1 and "mirrored" in place:
        with pytest.raises(ValueError, match=r"ct.nii.gz .* mirror each other, both in scanner coordinates"):
            read_volume(path)
        return
    for kind, ending in ((nibabel.Nifti1Image, "gz"), (nibabel.Nifti2Image, "2.nii")):
        read = read_volume(write(tmp_path / f"ct.nii.{ending}", *arguments, kind))
        found = read.grid.ras_of(np.array([(0, 0, 0), (3, 4, 5), (3, 0, 5)]))
        np.testing.assert_allclose(found, place_of_simple_itk(path), atol=1e-4)
        if q_code and s_code:
            assert re.search(
                rf"qform \(code {q_code}\), sform \(code {s_code}\).* contradict each other", read.notes[0]
            )


def test_lengths_of_the_sform_that_are_not_those_of_pixdim_are_said(tmp_path):
    path = write(tmp_path / "ct.nii", np.diag([1.0, 2, 3, 1]), 0, np.diag([1.0, 2, 4, 1]), 1)
    read = read_volume(path)
    assert read.spacing_mm == (1, 2, 3)  # as 3D Slicer
    assert "sform (code 1) and voxel spacing in the header contradict each other by up to 5.0 mm" in read.notes[0]


@pytest.mark.parametrize("codes", [(1, 2), (2, 1), (1, 1), (0, 1), (4, 3)])
def test_a_matrix_that_is_claimed_and_singular_is_refused(codes, tmp_path):
    flat = np.diag([3.0, 3, 0, 1])
    path = write(tmp_path / "ct.nii", np.diag([3.0, 3, 3, 1]), codes[0], flat, codes[1])
    with pytest.raises(ValueError, match="ct.nii has an unusable qform or sform: .*cannot be inverted"):
        read_volume(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pixdim": [1, 3, 0, 3, 1, 1, 1, 1]}, "has no voxel spacing: its header says 3 x 0 x 3 mm"),
        ({"quatern_b": np.nan}, "has a qform that is no rotation"),
        ({"qoffset_y": np.nan}, "has an unusable qform: its offset is not finite"),
        ({"quatern_b": 5}, "has a qform that is no rotation"),
    ],
)
def test_a_qform_that_cannot_be_used_is_refused_beside_a_good_sform(fields, message, tmp_path):
    path = write(tmp_path / "ct.nii", np.diag([3.0, 3, 3, 1]), 1, np.diag([3.0, 3, 3, 1]), 2, **fields)
    with pytest.raises(ValueError, match=message):
        read_volume(path)


def test_a_quaternion_that_is_longer_than_1_by_rounding_is_read_as_simple_itk_does(tmp_path):
    half = np.sqrt(0.5) + 4e-7
    path = write(tmp_path / "ct.nii", np.diag([-3.0, 3, -3, 1]), 1, np.eye(4), 0, quatern_b=half, quatern_c=half)
    found = read_volume(path).grid.ras_of(np.array([(0, 0, 0), (3, 4, 5), (3, 0, 5)]))
    np.testing.assert_allclose(found, place_of_simple_itk(path), atol=1e-4)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("packed", [True, False])
def test_content_decides_whether_a_file_is_compressed(packed, name, tmp_path):
    content = nibabel.Nifti1Image(np.arange(120, dtype=">i2").reshape(SHAPE), np.eye(4)).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    np.testing.assert_array_equal(read_volume(tmp_path / name).voxels.T, np.arange(120).reshape(SHAPE))


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_file_that_goes_on_after_its_voxels_says_so(ending, tmp_path):
    path = write(tmp_path / f"ct.{ending}", np.eye(4), 1, np.eye(4), 1)
    with path.open("ab") as stream:
        stream.write(gzip.compress(b"more") if ending.endswith("gz") else b"more")
    read = read_volume(path)
    np.testing.assert_array_equal(read.voxels.T, np.arange(120).reshape(SHAPE))
    assert read.notes == ("the file goes on after the voxels that its header describes; the rest is ignored",)


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "2.nii"])
def test_voxels_that_cannot_be_in_the_file_are_not_waited_for(ending, tmp_path):
    kind = nibabel.Nifti2Image if ending == "2.nii" else nibabel.Nifti1Image
    size = 60000 if ending == "2.nii" else 30000
    path = write(tmp_path / f"ct.{ending}", np.eye(4), 1, np.eye(4), 1, kind, dim=[3, size, size, size, 1, 1, 1, 1])
    with pytest.raises(ValueError, match=rf"damaged or truncated: {size} x {size} x {size} voxels of int16"):
        read_volume(path)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_a_file_that_is_compressed_twice_is_told_so(name, tmp_path):
    path = write(tmp_path / "inner.nii.gz", np.eye(4), 1, np.eye(4), 1)
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{name} is not a readable NIfTI file: it is compressed twice"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("offset", [np.nan, np.inf])
def test_voxels_that_begin_nowhere_are_refused(offset, tmp_path):
    path = write(tmp_path / "ct.nii", np.eye(4), 1, np.eye(4), 1, vox_offset=offset)
    with pytest.raises(ValueError, match=rf"ct.nii is damaged or truncated: .* begin at byte {offset}"):
        read_volume(path)


def test_a_slope_beyond_what_voxels_can_hold_prints_no_warning(tmp_path):
    path = write(tmp_path / "ct.nii", np.eye(4), 1, np.eye(4), 1, scl_slope=1e38, scl_inter=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.isfinite(read_volume(path).voxels).all()
