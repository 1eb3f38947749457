"""Headers of NRRD and MetaImage that contradict themselves or their files, and files that are something else."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from AttentionUNetSegmentationLib.formats.files import read_volume

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype("<i2")
NRRD = """NRRD0004
type: short
dimension: 3
sizes: 7 6 5
encoding: raw
endian: little
space: left-posterior-superior
space directions: (1,0,0) (0,1,0) (0,0,1)

"""
META = """ObjectType = Image
NDims = 3
BinaryData = True
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
DimSize = 7 6 5
ElementSpacing = 1 1 1
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""


def write(path, old="", new="", data=None):
    header = NRRD if path.suffix == ".nrrd" else META
    assert old in header
    path.write_bytes(header.replace(old, new, 1).encode() + (data or VOXELS.tobytes()))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("DimSize", "Position = 1 2 4\nDimSize", "gives Offset = 1 2 3 and Position = 1 2 4"),
        ("DimSize", "Origin = 1 2 4\nDimSize", "gives Offset = 1 2 3 and Origin = 1 2 4"),
        ("DimSize", "Rotation = -1 0 0 0 -1 0 0 0 1\nDimSize", "gives TransformMatrix = .* and Rotation = "),
        ("Offset", "Orientation = -1 0 0 0 -1 0 0 0 1\nOffset", "gives TransformMatrix = .* and Orientation = "),
        ("DimSize", "DimSize = 7 6 4\nDimSize", "gives DimSize = 7 6 4 and DimSize = 7 6 5"),
        ("ElementSpacing = 1", "ElementSpacing = -1", "spacing that is not positive"),
        (
            "Offset",
            "ElementByteOrderMSB = True\nBinaryDataByteOrderMSB = False\nOffset",
            "gives ElementByteOrderMSB = True and BinaryDataByteOrderMSB = False",
        ),
        ("Offset = 1", "Offset = nan", "has no valid position: Offset is nan 2 3"),
        ("Offset = 1", "Origin = inf", "has no valid position: Origin is inf 2 3"),
        ("Matrix = 1", "Matrix = x", "has no valid position: TransformMatrix is x 0 0"),
        ("NDims = 3", "NDims = 1000000000", "too few, or the wrong number of axes"),
        ("7 6 5", "7 -6 5", "it has 7 x -6 x 5 voxels"),
    ],
)
def test_a_metaimage_that_contradicts_itself_is_refused(old, new, message, tmp_path):
    with pytest.raises(ValueError, match=rf"ct.mha .*{message}"):
        read_volume(write(tmp_path / "ct.mha", old, new))


def test_statements_that_agree_are_read(tmp_path):
    keys = "BinaryDataByteOrderMSB = False\nElementByteOrderMSB = false\nPosition = 1.0 2.0 3.0\nElementSize = 1 1 1"
    path = write(tmp_path / "ct.mha", "DimSize", f"{keys}\nDimSize")
    assert read_volume(path).notes == ()


def test_voxels_that_are_larger_than_their_distance_are_said(tmp_path):
    read = read_volume(write(tmp_path / "ct.mha", "DimSize", "ElementSize = 1 1 5\nDimSize"))
    assert read.spacing_mm == (1, 1, 1)
    assert read.notes == ("voxels are 1 1 5 mm large, but 1 1 1 mm apart; the distance counts",)


@pytest.mark.parametrize(
    ("axes", "letters"), [("1 0 0 0 1 0 0 0 1", "RAI"), ("-1 0 0 0 -1 0 0 0 1", "LPI"), ("0 1 0 0 0 -1 1 0 0", "ASR")]
)
def test_letters_of_a_metaimage_that_contradict_its_axes_are_said(axes, letters, tmp_path):
    for said in ("RAI", "LPI", "ASR", "RPS"):
        path = write(tmp_path / "ct.mha", "1 0 0 0 1 0 0 0 1", f"{axes}\nAnatomicalOrientation = {said}")
        note = f"AnatomicalOrientation is {said}, but the axes are {letters}; the axes count"
        assert read_volume(path).notes == (() if said == letters else (note,))
    assert read_volume(write(tmp_path / "ct.mha", "Offset", "AnatomicalOrientation = ???\nOffset")).notes == ()


def test_a_nrrd_without_a_finite_origin_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ct.nrrd has no valid position: spaceorigin is \(nan,0,0\)"):
        read_volume(write(tmp_path / "ct.nrrd", "encoding", "space origin: (nan,0,0)\nencoding"))


@pytest.mark.parametrize("spacing", ["spacings: 2 2 2", "spacings: 1 1 1", "space: RAS"])
def test_a_nrrd_that_contradicts_itself_is_refused(spacing, tmp_path):
    with pytest.raises(ValueError, match=r"ct.nrrd .*axis\[0\] has a direction vector|already set field space"):
        read_volume(write(tmp_path / "ct.nrrd", "encoding", f"{spacing}\nencoding"))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ct.nrrd", "raw", "raw"),
        ("ct.nrrd", "raw", "gzip"),
        ("ct.nrrd", "raw", "ascii"),
        ("ct.nrrd", "raw", "raw\nbyte skip: -1"),
        ("ct.mha", "BinaryData = True", "BinaryData = True"),
        ("ct.mha", "BinaryData = True", "BinaryData = False"),
        ("ct.mha", "Offset", "HeaderSize = -1\nOffset"),
        ("ct.mha", "Offset", "CompressedData = True\nCompressedDataSize = 9999999999\nOffset"),
    ],
)
def test_a_grid_that_cannot_be_in_the_file_is_refused_before_anything_is_reserved(name, old, new, tmp_path):
    data = gzip.compress(VOXELS.tobytes()) if new == "gzip" else VOXELS.tobytes()
    path = write(tmp_path / name, old, new, data)
    path.write_bytes(path.read_bytes().replace(b"7 6 5", b"60000 60000 60000"))
    with pytest.raises(ValueError, match=f"{name} is damaged or truncated"):
        read_volume(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_a_file_that_goes_on_after_its_voxels_says_so(name, packed, tmp_path):
    data = VOXELS.tobytes() + bytes(100)
    if not packed:
        path = write(tmp_path / name, data=data)
    elif name == "ct.nrrd":
        path = write(tmp_path / name, "raw", "gzip", gzip.compress(data))
    else:
        data = zlib.compress(data)
        keys = f"CompressedData = True\nCompressedDataSize = {len(data)}\nOffset"
        path = write(tmp_path / name, "Offset", keys, data)
    read = read_volume(path)
    np.testing.assert_array_equal(read.voxels, VOXELS)
    assert read.notes == ("the file goes on after the voxels that its header describes; the rest is ignored",)


OTHER_THINGS = {
    "empty": (b"", "it is empty"),
    "web page": (b"\n<!DOCTYPE html><html>", r"it is a web page or XML \(did a download fail"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "it is a pointer of Git LFS"),
    "zip": (b"PK\x03\x04" + bytes(40), "it is a zip archive; unpack it"),
    "dicom": (bytes(128) + b"DICM" + bytes(40), "it is a DICOM file; give the folder"),
}


@pytest.mark.parametrize("thing", OTHER_THINGS)
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_a_file_that_is_something_else_is_told_what_it_is(name, thing, tmp_path):
    content, words = OTHER_THINGS[thing]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not a readable \w+ file: {words}"):
        read_volume(tmp_path / name)


def test_a_compressed_nrrd_is_told_so(tmp_path):
    (tmp_path / "ct.nrrd").write_bytes(gzip.compress(NRRD.encode()))
    with pytest.raises(ValueError, match=r"ct.nrrd .* is compressed as a whole; unpack it with gzip"):
        read_volume(tmp_path / "ct.nrrd")


def test_a_folder_and_a_broken_link_that_are_called_like_files_are_told_so(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(ValueError, match=r"folder.nii is a folder that holds no DICOM images"):
        read_volume(tmp_path / "folder.nii")
    (tmp_path / "link.nii").symlink_to("gone.nii")
    with pytest.raises(ValueError, match=r"link.nii does not exist \(it is a link to gone.nii\)"):
        read_volume(tmp_path / "link.nii")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("ct.nhdr", "encoding", "data file: voxels.raw\nencoding"), ("ct.mhd", "= LOCAL", "= voxels.raw")],
)
def test_a_missing_data_file_is_named_and_not_looked_for_in_the_working_folder(name, old, new, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "voxels.raw").write_bytes(VOXELS.tobytes())
    monkeypatch.chdir(tmp_path / "elsewhere")
    header = (NRRD if name == "ct.nhdr" else META).replace(old, new)
    (tmp_path / name).write_text(header)
    with pytest.raises(ValueError, match=rf"{name} .*voxels.raw"):
        read_volume(Path("..") / name)
