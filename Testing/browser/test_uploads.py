"""What a visitor sends: taken into a folder of its own, or refused in one sentence with nothing left of it."""

import asyncio
import bz2
import gzip
import io
import stat
import struct
import threading
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.browser import archives
from AttentionUNetSegmentationLib.browser.uploads import receive
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from support.detached_headers import METAIMAGE, NRRD, VOXELS, leading_away
from support.phantom_files import compress, scan, write_slices

LIMIT = 1 << 20
DICOM = bytes(128) + b"DICM" + bytes(100)


@pytest.fixture
def session(tmp_path) -> Path:
    """A session's folder beside a secret that is readable as voxels."""
    (tmp_path / "secret.raw").write_bytes(b"-top secret-data")
    (tmp_path / "session").mkdir()
    return tmp_path / "session"


async def pieces(content: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def upload(session: Path, name: str, content: bytes, limit: int = LIMIT) -> Path:
    return asyncio.run(receive(name, pieces(content), session, limit))


def refusal(session: Path, name: str, content: bytes, limit: int = LIMIT) -> str:
    """The sentence, which is one line and does not say where the folder lies; nothing is left or written elsewhere."""
    before = sorted(session.parent.iterdir())
    with pytest.raises(ValueError, match=r"\A.+\Z") as error:
        upload(session, name, content, limit)
    assert list(session.iterdir()) == []
    assert sorted(session.parent.iterdir()) == before
    assert str(session.parent) not in str(error.value) and str(error.value).isprintable()
    assert len(str(error.value)) < 400
    return str(error.value)


def archive(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as written:
        for name, content in members:
            written.writestr(name, content)
    return stream.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (kind | 0o644) << 16
    return member


def nifti(shape=(8, 8, 8), name: str = "ct.nii.gz") -> bytes:
    """A file as it comes from nibabel."""
    image = nibabel.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), np.diag([2.0, 2, 2, 1]))
    return gzip.compress(image.to_bytes()) if name.endswith(".gz") else image.to_bytes()


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> list[tuple[str, bytes]]:
    """The files of a real series."""
    folder = tmp_path_factory.mktemp("series")
    write_slices(folder, scan())
    return [(f"DICOM/S1/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("zipped", [False, True])
def test_an_image_file_is_taken_as_it_is(session, tmp_path, ending, zipped):
    write_volume(scan(), tmp_path / f"ct{ending}")
    content = (tmp_path / f"ct{ending}").read_bytes()
    if zipped:
        content = archive((f"a/b/CT{ending.upper()}", content), ("readme.txt", b"x"), ("__MACOSX/._ct.nii", b"x"))
    path = upload(session, f"My CT (1){'.zip' if zipped else ending.upper()}", content)
    assert path.name == f"My_CT_1{ending}" and path.parent.parent == session
    assert list(path.parent.iterdir()) == [path]
    np.testing.assert_array_equal(read_volume(path).voxels, scan().voxels)


def test_a_zip_of_a_series_is_unpacked_under_names_of_its_own(session, series):
    noise = [("DICOMDIR", DICOM), ("viewer/start.exe", b"MZ" + bytes(500)), ("more.zip", archive(("x", DICOM)))]
    noise += [("DICOM/", b""), ("__MACOSX/DICOM/._a", DICOM), (".DS_Store", b"x")]
    path = upload(session, "Scan 1.ZIP", archive(*noise, *series))
    assert path.name == "Scan_1" and [entry.name for entry in path.parent.iterdir()] == ["Scan_1"]
    assert len(list(path.iterdir())) == len(series)
    assert all(file.name[5:] == ".dcm" and file.name[:5].isdigit() for file in path.iterdir())
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, scan().voxels)
    assert not volume.notes


def test_a_series_may_be_called_like_an_image_file(session, series):
    path = upload(session, "ct.nrrd.zip", archive(*series))
    np.testing.assert_array_equal(read_volume(path).voxels, scan().voxels)


@pytest.mark.parametrize("name", ["ct.dcm", "ct", "", "ct.nii.exe", "ct.gz", "ct.tar.gz", "ct.nii\0.txt", "x" * 5000])
def test_other_kinds_of_files_are_refused(session, name):
    assert "is of no kind that can be uploaded: .nii, .nii.gz, .nrrd, .mha, or a .zip" in refusal(session, name, b"x")


@pytest.mark.parametrize("name", ["ct.nhdr", "ct.mhd", "ct.hdr", "ct.IMG"])
def test_headers_without_their_voxels_are_refused(session, name):
    assert refusal(session, name, NRRD) == (
        f"{name} is one of two files that belong together; convert them to a single file"
    )


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/cron.nii", "cron.nii"),
        ("C:\\Users\\x\\ct.nii", "ct.nii"),
        ("/etc/passwd/.nii", "ct.nii"),
        ("....nii", "ct.nii"),
        ("a\0b\nc\u202e.nii", "a_b_c.nii"),
        ("<img src=x>.nii", "img_src_x.nii"),
        ("M\u00fcller \U0001f600.nii", "M\u00fcller.nii"),
        ("Mu\u0308ller.nii", "M\u00fcller.nii"),
        ("\ud800.nii", "ct.nii"),
        ("y" * 3000 + ".nii", "y" * 60 + ".nii"),
    ],
)
def test_the_name_of_an_upload_is_made_safe(session, name, kept):
    path = upload(session, name, nifti(name=name))
    assert path.name == kept and path.parent.parent == session


def test_uploads_of_one_name_do_not_meet(session):
    first, second = (upload(session, "ct.nii", nifti((8, 8, size), "ct.nii")) for size in (8, 9))
    assert [read_volume(path).grid.shape_kji[0] for path in (first, second)] == [8, 9]


def test_what_is_too_large_is_refused_before_it_has_all_come(session):
    came = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            came.append(len(came))
            yield bytes(1 << 16)

    with pytest.raises(ValueError, match=r"^ct.nii is larger than 1.049 MB, the most that can be uploaded$"):
        asyncio.run(receive("ct.nii", endless(), session, LIMIT))
    assert len(came) == 17 and list(session.iterdir()) == []
    assert refusal(session, "ct.nii", b"") == "ct.nii is empty"


@pytest.mark.parametrize(
    "error", [ConnectionResetError, asyncio.CancelledError, OSError(28, "No space left on device")]
)
def test_an_upload_that_breaks_off_leaves_nothing(session, error):
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(1000)
        assert len(list(session.iterdir())) == 1
        raise error

    with pytest.raises(error if isinstance(error, type) else OSError):
        asyncio.run(receive("ct.nii", broken(), session, LIMIT))
    assert list(session.iterdir()) == []


def test_an_upload_that_is_cancelled_while_it_is_unpacked_leaves_nothing(session, series, monkeypatch):
    unpacking, cancelled, ended = threading.Event(), threading.Event(), []
    is_dicom_file = archives.is_dicom_file

    def waiting(path: Path) -> bool:
        unpacking.set()
        assert cancelled.wait(10)
        ended.append(is_dicom_file(path))
        return ended[-1]

    monkeypatch.setattr(archives, "is_dicom_file", waiting)

    async def cancel() -> None:
        task = asyncio.create_task(receive("a.zip", pieces(archive(*series)), session, LIMIT))
        await asyncio.to_thread(unpacking.wait, 10)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, cancelled.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True] and list(session.iterdir()) == []  # one file, and the thread writes no more

    asyncio.run(cancel())
    assert ended == [True] and list(session.iterdir()) == []


# archives


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
@pytest.mark.parametrize("name", ["a.dcm", "a.nii", "folder/"])
def test_archives_with_links_or_devices_are_refused(session, kind, name):
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
    assert refusal(session, "a.zip", content) == "a.zip unpacks to more than 1.049 MB"
    many = archive(*((f"{n}.txt", bytes(LIMIT // 10)) for n in range(12)))
    assert refusal(session, "a.zip", many) == "a.zip unpacks to more than 1.049 MB"


def test_the_size_that_an_archive_declares_is_not_trusted(session):
    """Members that overlap, as in the archives of a few megabytes that unpack to petabytes."""
    content = archive(("a.dcm", DICOM + bytes(LIMIT // 3)))
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry, count = content[start:end], 100
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, start, 0)
    said = refusal(session, "a.zip", content[:start] + entry * count + tail)
    assert said == "a.zip unpacks to more than 1.049 MB" or "Overlapped entries" in said


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


# headers that lead to other files


@pytest.mark.parametrize("how", leading_away(b""))
@pytest.mark.parametrize("target", ["absolute", "relative", "itself"])
@pytest.mark.parametrize("zipped", [False, True])
def test_headers_that_lead_to_another_file_are_refused(session, how, target, zipped):
    secret = {"absolute": bytes(session.parent / "secret.raw"), "relative": b"../../secret.raw", "itself": b"ct.nrrd"}
    ending, content = leading_away(secret[target])[how]
    name = "ct.zip" if zipped else f"ct{ending}"
    said = refusal(session, name, archive((f"x{ending}", content)) if zipped else content)
    assert "convert it to a single file" in said


@pytest.mark.parametrize("how", ["nrrd, plain", "nrrd, return", "nrrd, nul", "mha, empty lines", "mha, nul"])
def test_the_readers_in_itk_would_follow_them(tmp_path, how):
    (tmp_path / "secret.raw").write_bytes(b"-top secret-data")
    ending, content = leading_away(bytes(tmp_path / "secret.raw"))[how]
    (tmp_path / f"ct{ending}").write_bytes(content)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"ct{ending}"))).tobytes() == b"-top secret-data"


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_another_format_under_the_name_is_not_opened(session, tmp_path, ending):
    """The reader of HDF5 follows a file to others."""
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4), np.int16)), str(tmp_path / "a.hdf5"))
    said = refusal(session, f"ct{ending}", (tmp_path / "a.hdf5").read_bytes())
    assert said == f"ct{ending} does not say how many voxels of which type it has"


# headers that promise more than fits


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_header_that_promises_more_than_fits_is_refused(session, ending):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((32000, 32000, 32000))
    content = header.binaryblock + bytes(1000)
    content = gzip.compress(content) if ending.endswith(".gz") else content
    assert refusal(session, f"ct{ending}", content) == f"ct{ending} has voxels of more than 1.049 MB"


def test_a_compressed_file_that_unpacks_to_too_much_is_refused_by_its_header(session):
    content = gzip.compress(nibabel.Nifti1Image(np.zeros((512, 512, 40), np.int16), np.eye(4)).to_bytes())
    assert len(content) < LIMIT
    assert refusal(session, "ct.nii.gz", content) == "ct.nii.gz has voxels of more than 1.049 MB"
    assert refusal(session, "a.zip", archive(("ct.nii.gz", content))) == "a.zip has voxels of more than 1.049 MB"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ct.nrrd", NRRD.replace(b"4 2 2", b"99999 99999 99999") + b"\n" + VOXELS),
        ("ct.mha", METAIMAGE.replace(b"4 2 2", b"99999 99999 99999") + b"ElementDataFile = LOCAL\n" + VOXELS),
    ],
)
def test_a_text_header_that_promises_more_than_fits_is_refused(session, name, content):
    assert refusal(session, name, content) == f"{name} has voxels of more than 1.049 MB"


def test_compressed_images_of_a_series_that_unpack_to_too_much_are_refused(session, tmp_path):
    write_slices(tmp_path / "large", scan((40, 128, 128)))
    for path in (tmp_path / "large").iterdir():
        compress(path, "1.2.840.10008.1.2.5")
    files = [(path.name, path.read_bytes()) for path in (tmp_path / "large").iterdir()]
    assert sum(len(content) for _, content in files) < LIMIT
    assert refusal(session, "a.zip", archive(*files)) == "a.zip has voxels of more than 1.049 MB"


def test_damaged_image_files_are_refused_in_a_sentence(session):
    assert refusal(session, "ct.nii", b"<html>").startswith("ct.nii is ")
    assert refusal(session, "ct.nii.gz", b"\x1f\x8b\x08\x00junk").startswith("ct.nii.gz is ")
    assert refusal(session, "ct.nrrd", b"junk").startswith("ct.nrrd does not say how many voxels")
    assert refusal(session, "ct.mha", b"").startswith("ct.mha is empty")
