"""How headers of NRRD and MetaImage files may be written, and which are refused."""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from AttentionUNetSegmentationLib.command.cases import files_of_input
from AttentionUNetSegmentationLib.formats.files import (
    read_volume,
    write_volume,
)
from support.grids import GRIDS, volume


def with_another_header(path: Path, old: bytes, new: bytes) -> Path:
    """Write a volume, then change what a regular expression finds first in its header."""
    write_volume(volume(GRIDS["LPS"]), path)
    content = path.read_bytes()
    assert re.search(old, content)
    path.write_bytes(re.sub(old, new, content, count=1))
    return path


@pytest.mark.parametrize(
    ("ending", "line", "instead"),
    [
        ("nrrd", b"space directions: .*\n", b""),
        ("nrrd", b"space directions: .*\n", b"space directions: none none none\n"),
        ("nrrd", b"space directions: .*\n", b"spacings: nan nan nan\n"),
        ("mha", b"ElementSpacing = .*\n", b""),
        ("mhd", b"ElementSpacing = .*\n", b""),
    ],
)
def test_other_files_without_a_voxel_spacing_are_refused(ending, line, instead, tmp_path):
    """ITK would take 1 mm."""
    path = with_another_header(tmp_path / f"ct.{ending}", line, instead)
    with pytest.raises(ValueError, match="has no voxel spacing: its header does not say one"):
        read_volume(path)


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_other_files_that_do_not_say_how_the_patient_lies_are_read_like_itk_with_a_note(ending, tmp_path):
    path = tmp_path / f"ct.{ending}"
    write_volume(volume(GRIDS["LPS"]), path)
    content = re.sub(b"TransformMatrix = .*\n", b"", path.read_bytes(), count=1)
    content = re.sub(b"space: .*\n", b"", content, count=1)
    content = re.sub(b"space directions: .*\n", b"spacings: 1 2 3\n", content, count=1)
    path.write_bytes(re.sub(b"space origin: .*\n", b"", content, count=1))
    read = read_volume(path)
    assert read.spacing_mm == (1, 2, 3)
    np.testing.assert_array_equal(np.sign(np.diag(read.ijk_to_ras)), (-1, -1, 1, 1))
    assert "does not say how the patient lies" in read.notes[0]


@pytest.mark.parametrize(
    ("ending", "old", "new"),
    [
        ("mha", b" = ", b" : "),
        ("nrrd", b"space directions:", b"spacedirections:"),
        ("nrrd", b"type: short", b"spacings:=none\ntype: short"),
        ("nhdr", b"data file:", b"datafile:"),
    ],
)
def test_headers_may_be_written_in_other_ways(ending, old, new, tmp_path):
    path = tmp_path / f"ct.{ending}"
    write_volume(volume(GRIDS["LPS"]), path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    read = read_volume(path)
    np.testing.assert_array_equal(read.voxels, volume(GRIDS["LPS"]).voxels)
    np.testing.assert_allclose(read.ijk_to_ras, GRIDS["LPS"].ijk_to_ras, atol=1e-4)
    assert read.notes == ()
    assert len(set(files_of_input(path))) == (2 if ending == "nhdr" else 1)


def test_metaimage_voxels_may_be_compressed_as_gzip(tmp_path):
    path, data = tmp_path / "ct.mhd", tmp_path / "ct.zraw"
    write_volume(volume(GRIDS["LPS"]), path)
    data.write_bytes(gzip.compress(zlib.decompress(data.read_bytes())))
    size = str(data.stat().st_size).encode()
    path.write_bytes(re.sub(rb"CompressedDataSize = \d+", b"CompressedDataSize = " + size, path.read_bytes()))
    np.testing.assert_array_equal(read_volume(path).voxels, volume(GRIDS["LPS"]).voxels)


@pytest.mark.parametrize(
    ("ending", "old", "new", "message"),
    [
        ("mha", rb"CompressedDataSize = \d+\n", b"", "does not say how long the compressed voxels are"),
        ("mhd", rb"CompressedDataSize = \d+", b"CompressedDataSize = 200", "end too early"),
        ("mhd", rb"ElementDataFile = .*", b"ElementDataFile = s%03d.raw 1 6 1", "voxels in several files or none"),
        ("mhd", rb"ElementDataFile = .*", b"ElementDataFile = LIST\na.raw", "voxels in several files or none"),
        ("mha", rb"ElementSpacing", b"DistanceUnits = cm\nElementSpacing", "gives lengths in cm; convert it to mm"),
        ("nrrd", rb"space: .*\n", b'space: LPS\nspace units: "cm" "mm" "mm"\n', "gives lengths in cm"),
        (
            "mha",
            rb"TransformMatrix = .*",
            b"TransformMatrix = 2 0 0 0 2 0 0 0 2",
            "axes whose directions are not of len",
        ),
        ("mha", rb"ElementSpacing", b"ElementToIntensityFunctionSlope = 2\nElementSpacing", "are not HU until"),
    ],
)
def test_headers_that_itk_would_not_heed_are_refused(ending, old, new, message, tmp_path):
    path = with_another_header(tmp_path / f"ct.{ending}", old, new)
    with pytest.raises(ValueError, match=message):
        read_volume(path)


@pytest.mark.parametrize("place", [0, 3])
def test_a_nrrd_may_have_an_axis_of_one_entry(place, tmp_path):
    path = tmp_path / "ct.nrrd"
    write_volume(volume(GRIDS["LPS"]), path)
    content = path.read_bytes()
    for key, entry in ((b"sizes", b"1"), (b"space directions", b"none"), (b"kinds", b"list")):
        (line,) = re.findall(key + rb": (.*)\n", content)
        entries = line.split()
        entries.insert(place, entry)
        content = content.replace(key + b": " + line, key + b": " + b" ".join(entries))
    path.write_bytes(content.replace(b"dimension: 3", b"dimension: 4"))
    read = read_volume(path)
    np.testing.assert_array_equal(read.voxels, volume(GRIDS["LPS"]).voxels)
    np.testing.assert_allclose(read.ijk_to_ras, GRIDS["LPS"].ijk_to_ras, atol=1e-4)


def test_a_nrrd_space_without_anatomical_directions_is_said(tmp_path):
    path = tmp_path / "ct.nrrd"
    write_volume(volume(GRIDS["LPS"]), path)
    path.write_bytes(path.read_bytes().replace(b"space: left-posterior-superior", b"space: scanner-xyz"))
    assert "does not say how the patient lies" in read_volume(path).notes[0]
