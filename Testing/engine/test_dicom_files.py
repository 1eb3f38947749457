"""Folders and files of DICOM that would take a batch down, or leave images out without a word."""

import struct
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from AttentionUNetSegmentationLib.command.cases import files_of_input
from AttentionUNetSegmentationLib.formats.dicom import series
from AttentionUNetSegmentationLib.formats.files import read_volume
from support.phantom_files import compress, scan, write_slices

READ = "import sys; from AttentionUNetSegmentationLib import read_volume; print(*read_volume(sys.argv[1]).notes)"


@pytest.fixture
def folder(tmp_path):
    write_slices(tmp_path / "dicom", scan())
    return tmp_path / "dicom"


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def change(path, **values):
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def insert_nested_sequences(path, depth: int, with_lengths: bool) -> None:
    """Put sequences within sequences in front of the pixels (explicit VR, little endian)."""
    element, item = struct.pack("<HH2sH", 0x40, 0x275, b"SQ", 0), struct.pack("<HH", 0xFFFE, 0xE000)
    unknown = struct.pack("<I", 0xFFFFFFFF)
    if with_lengths:
        levels = [(element, struct.pack("<I", 20 * n + 8), item, struct.pack("<I", 20 * n)) for n in range(depth)]
        nested = b"".join(b"".join(level) for level in reversed(levels))
    else:
        ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        nested = (element + unknown + item + unknown) * depth + ends * depth
    content = path.read_bytes()
    pixels = content.rindex(struct.pack("<HH", 0x7FE0, 0x10))
    path.write_bytes(content[:pixels] + nested + content[pixels:])


@pytest.mark.slow
@pytest.mark.parametrize("with_lengths", [True, False])
@pytest.mark.parametrize("depth", [5_000, 50_000])
def test_nested_sequences_do_not_end_the_process(depth, with_lengths, folder):
    """GDCM, which decodes this kind of JPEG, follows them until its stack ends."""
    for path in files(folder):
        compress(path, "JPEG")
    insert_nested_sequences(files(folder)[3], depth, with_lengths)
    result = subprocess.run([sys.executable, "-c", READ, folder], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert ("were left out" in result.stdout) == (not with_lengths)  # those with lengths are passed over unread


@pytest.mark.slow
def test_damaged_compressed_pixels_do_not_end_the_process(folder):
    """GDCM's JPEG decoder runs over its buffers when bits are wrong."""
    for path in files(folder):
        compress(path, "JPEG")
    damaged = files(folder)[3]
    content = damaged.read_bytes()
    pixels = content.rindex(struct.pack("<HH", 0x7FE0, 0x10))
    for seed in range(4):
        noise = np.random.default_rng(seed)
        changed = bytearray(content)
        for position in noise.integers(pixels + 60, len(content) - 10, 40):
            changed[position] = noise.integers(256)
        damaged.write_bytes(changed)
        with pytest.raises(ValueError, match="compressed pixels are damaged"):
            read_volume(folder)


def test_linked_folders_are_read_once_and_loops_end(folder, tmp_path):
    (tmp_path / "links").mkdir()
    for name, target in (("first", folder), ("second", folder), ("loop", tmp_path / "links")):
        (tmp_path / "links" / name).symlink_to(target, target_is_directory=True)
    read = read_volume(tmp_path / "links")
    np.testing.assert_array_equal(read.voxels, scan().voxels)
    assert read.notes == ()
    assert len(files_of_input(tmp_path / "links")) == len(scan().voxels)


def test_a_file_that_could_not_be_read_this_time_is_no_damaged_one(tmp_path, monkeypatch):
    """Without it the CT would be short, and count as done when the file can be read again."""
    write_slices(tmp_path / "dicom", scan())
    last = sorted((tmp_path / "dicom").iterdir())[-1]
    read = series.read_slices

    def refused(path):
        if path == last:
            raise ValueError(f"{path} cannot be read ([Errno 13] Permission denied)") from PermissionError(13, "denied")
        return read(path)

    monkeypatch.setattr(series, "read_slices", refused)
    with pytest.raises(ValueError, match=rf"{last.name} cannot be read .*Permission denied"):
        read_volume(tmp_path / "dicom")
    last = last.rename(last.with_suffix(".docx"))  # no slice by its name
    assert "1 DICOM files that are no images, empty, damaged, unreadable" in read_volume(tmp_path / "dicom").notes[0]


def test_links_that_lead_nowhere_are_said(folder):
    last = files(folder)[-1]
    last.unlink()
    last.symlink_to(folder / "gone")
    kinds = "no images, empty, damaged, unreadable or not named in UTF-8"
    assert f"1 DICOM files that are {kinds} were left out ({last.name})" in read_volume(folder).notes
    for path in files(folder):
        path.unlink()
    with pytest.raises(ValueError, match=rf"holds no DICOM images that can be read \({last.name}\)"):
        read_volume(folder)


@pytest.mark.parametrize(
    ("name", "content"), [("IM999", b""), ("IM999.dcm", b"version https://git-lfs.github.com/spec/v1\n")]
)
def test_slices_that_are_empty_or_mere_pointers_are_said(folder, name, content):
    lost = files(folder)[-1].rename(folder / name)
    lost.write_bytes(content)
    (folder / "notes.txt").write_text("short")
    (folder / ".keep").touch()
    (note,) = read_volume(folder).notes
    assert note.startswith("1 DICOM files that are no images, empty,") and note.endswith(f"left out ({name})")


def test_files_of_one_name_in_two_folders_are_told_apart(folder):
    for name, path in zip("ab" * 20, files(folder), strict=False):
        (folder / name).mkdir(exist_ok=True)
        path.rename(folder / name / f"IM{files(folder).index(path):03d}.dcm")
    bad = folder / "b" / "IM.dcm"
    files(folder / "b")[0].rename(bad)
    dataset = pydicom.dcmread(bad)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.save_as(bad)
    with pytest.raises(ValueError, match=rf"^{bad} lacks the rescale slope"):
        read_volume(folder)


def test_a_file_that_is_deflated_as_a_whole_is_not_unpacked(folder):
    path = files(folder)[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    assert f"left out ({path.name})" in read_volume(folder).notes[0]


def test_compressed_pixels_that_would_take_gigabytes_are_refused(folder):
    for path in files(folder):
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.RLELossless)
        dataset.Rows = dataset.Columns = 65535
        dataset.save_as(path)
    with pytest.raises(ValueError, match="1 compressed images of 65535 x 65535 pixels in so small a file"):
        read_volume(folder)


def test_texts_of_dicom_cannot_steer_a_terminal(folder):
    write_slices(folder / "other", scan())
    for path in files(folder):
        change(
            path, SeriesDescription="\x1b[31mCT \x9b", SeriesInstanceUID="1.2.9" if "other" in str(path) else "1.2.3"
        )
    assert r"images (\x1b[31mCT" in read_volume(folder).notes[0]
