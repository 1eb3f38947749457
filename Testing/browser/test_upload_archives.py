"""Zip archives that a visitor sends: unpacked under names of their own, or refused with nothing left of them."""

import bz2
import stat
import struct
import zipfile

import numpy as np
import pytest

from AttentionUNetSegmentationLib.browser import archives
from support.detached_headers import METAIMAGE, VOXELS
from support.visitor_uploads import DICOM, LIMIT, archive, refusal, special, upload


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../x.dcm",
            "a/../../x.dcm",
            "..",
            "..\\x.dcm",
            "a\\..\\..\\x.dcm",
            "/etc/x.dcm",
            "\\x.dcm",
            "//server/x.dcm",
        ),
        *("C:\\x.dcm", "C:x.dcm", "c:/x.dcm"),
    ],
)
def test_archives_with_names_that_lead_out_are_refused(session, name):
    assert "a.zip holds a file that would lie outside of it" in refusal(session, "a.zip", archive((name, DICOM)))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFSOCK])
def test_archives_with_links_or_devices_are_refused(session, kind):
    for name in ("a.dcm", "a.nii", "folder/"):
        content = archive((special(name, kind), bytes(session.parent / "secret.raw")), ("b.dcm", DICOM))
        assert refusal(session, "a.zip", content) == f"a.zip holds a link or a device, {name}"


def test_archives_with_empty_names_are_refused(session):
    content = archive(("N.dcm", DICOM)).replace(b"N.dcm", b"\0.dcm")
    assert refusal(session, "a.zip", content) == "a.zip holds a file without a name"


def test_encrypted_archives_are_refused(session):
    content = bytearray(archive(("a.dcm", DICOM)))
    for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + offset] |= 1
    assert refusal(session, "a.zip", bytes(content)) == "a.zip is encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_at_once_are_refused(session, method):
    content = archive(("a.dcm", DICOM), method=method)
    assert refusal(session, "a.zip", content) == "a.zip is compressed by another method than deflate"


@pytest.mark.parametrize("name", ["a.dcm", "a.nii", "a.nrrd"])
def test_what_unpacks_to_too_much_is_refused_while_it_is_unpacked(session, name):
    content = archive((name, DICOM + bytes(30 << 20)))
    assert len(content) < 100_000
    assert refusal(session, "a.zip", content) == "a.zip unpacks to more than 1 MB"
    many = archive(*((f"{n}.txt", bytes(LIMIT // 10)) for n in range(12)))
    assert refusal(session, "a.zip", many) == "a.zip unpacks to more than 1 MB"


def test_the_size_that_an_archive_declares_is_not_trusted(session):
    """Members that overlap, as in the archives of a few megabytes that unpack to petabytes."""
    content = archive(("a.dcm", DICOM + bytes(LIMIT // 3)))
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry, count = content[start:end], 100
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, start, 0)
    said = refusal(session, "a.zip", content[:start] + entry * count + tail)
    assert said == "a.zip unpacks to more than 1 MB" or "Overlapped entries" in said


def test_too_many_members_are_refused(session, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    content = archive(*((f"{n}/", b"") for n in range(11)))
    assert refusal(session, "a.zip", content) == "a.zip holds more than 10 files"
    monkeypatch.setattr(archives, "MAX_LIST_BYTES", 400)
    assert "a.zip is no zip archive, damaged or truncated: its list of files takes" in refusal(
        session, "a.zip", content
    )


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "holds neither DICOM files nor one of .nii, .nii.gz, .nrrd, .mha"),
        ([("a/", b""), ("b/c/", b"")], "holds neither DICOM files nor one of"),
        ([("inner.zip", archive(("a.dcm", DICOM)))], "holds neither DICOM files nor one of"),
        ([("a.mhd", METAIMAGE), ("a.raw", VOXELS)], "holds neither DICOM files nor one of"),
        ([(".hidden/a.dcm", DICOM), ("DICOMDIR", DICOM)], "holds neither DICOM files nor one of"),
        ([("a.nii", b"x"), ("b.nii", b"x")], "holds 2 image files; upload the one that is to be segmented"),
        ([("a.dcm", DICOM), ("b/c.nii", b"x")], "holds DICOM files and c.nii; upload what is to be segmented"),
    ],
)
def test_archives_without_one_ct_are_refused(session, members, said):
    assert said in refusal(session, "a.zip", archive(*members))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_in_an_archive_do_not_matter(session):
    """They are twice the same, too long for a file system, with backslashes, those of devices. Bad UTF-8 is damage."""
    names = ["same.dcm"] * 2 + ["x" * 60_000, "a\\b", "CON", "nul.dcm", "ab:c", " ", "caf\u00e9", "\u202e", "~", "-rf"]
    content = archive(*((name, DICOM + bytes([n])) for n, name in enumerate(names)))
    said = refusal(session, "a.zip", content.replace("caf\u00e9".encode(), b"caf\xff\xff"))
    assert "a.zip is no zip archive, damaged or truncated" in said
    path = upload(session, "a.zip", content)
    assert sorted(file.name for file in path.iterdir()) == [f"{n:05d}.dcm" for n in range(1, len(names) + 1)]


def test_damaged_archives_are_refused(session, series):
    content = archive(*series[:4], method=zipfile.ZIP_STORED)
    wrong = bytearray(content)
    wrong[len(content) // 3] ^= 0xFF  # a pixel: its checksum does not fit
    assert "Bad CRC-32" in refusal(session, "a.zip", bytes(wrong))
    for end in (3, 500, len(content) // 2, len(content) - 60, len(content) - 1):
        assert "a.zip is no zip archive, damaged or truncated: " in refusal(session, "a.zip", content[:end])
    assert "a.zip is no zip archive" in refusal(session, "a.zip", bz2.compress(content))
    assert "a.zip is no zip archive" in refusal(session, "a.zip", content[1000:])


def test_any_damage_to_an_archive_ends_in_a_sentence(session, series, tmp_path):
    """Bytes changed at random in its lists and headers."""
    random = np.random.default_rng(0)
    whole = archive(*series[:2])
    start = whole.index(b"PK\x01\x02")
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            place = random.integers(start, len(whole)) if random.random() < 0.8 else random.integers(0, 60)
            content[place] = random.integers(0, 256)
        said, path = "", None
        try:
            path = upload(session, "a.zip", bytes(content))
        except ValueError as error:
            said = str(error)
        if path:
            assert {file.name for file in path.iterdir()} <= {"00001.dcm", "00002.dcm"}
            path.parent.rename(tmp_path / f"kept-{path.parent.name}")
        else:
            assert said.startswith("a.zip ") and said.isprintable()
        assert list(session.iterdir()) == []
