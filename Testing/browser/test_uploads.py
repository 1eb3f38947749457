"""What a visitor sends: taken into a folder of its own, or refused in one sentence with nothing left of it."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.browser import archives, uploads
from AttentionUNetSegmentationLib.browser.uploads import receive
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from support.detached_headers import METAIMAGE, NRRD, VOXELS, leading_away
from support.phantom_files import compress, scan, write_slices
from support.visitor_uploads import DICOM, LIMIT, archive, pieces, refusal, upload


def nifti(shape=(8, 8, 8), name: str = "ct.nii.gz") -> bytes:
    """A file as it comes from nibabel."""
    image = nibabel.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), np.diag([2.0, 2, 2, 1]))
    return gzip.compress(image.to_bytes()) if name.endswith(".gz") else image.to_bytes()


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
    assert "cannot be uploaded; supported: .nii, .nii.gz, .nrrd, .mha, or a .zip" in refusal(session, name, b"x")


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

    with pytest.raises(ValueError, match=r"^ct.nii is larger than 1 MB, the most that can be uploaded$"):
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


def test_an_upload_that_falls_silent_is_given_up(session, monkeypatch):
    monkeypatch.setattr(uploads, "SILENCE_SECONDS", 0.05)

    async def silent() -> AsyncIterator[bytes]:
        yield bytes(1000)
        await asyncio.Event().wait()

    with pytest.raises(ValueError, match=r"^nothing more of ct\.nii came for 0\.05 seconds$"):
        asyncio.run(receive("ct.nii", silent(), session, LIMIT))
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


# headers that lead to other files


@pytest.mark.parametrize("how", leading_away(b""))
def test_headers_that_lead_to_another_file_are_refused(session, how):
    for target in (bytes(session.parent / "secret.raw"), b"../../secret.raw", b"ct.nrrd"):
        ending, content = leading_away(target)[how]
        for name, sent in ((f"ct{ending}", content), ("ct.zip", archive((f"x{ending}", content)))):
            assert "convert it to a single file" in refusal(session, name, sent), (target, name)


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
    assert refusal(session, f"ct{ending}", content) == f"ct{ending} has voxels of more than 1 MB"


def test_a_compressed_file_that_unpacks_to_too_much_is_refused_by_its_header(session):
    content = gzip.compress(nibabel.Nifti1Image(np.zeros((512, 512, 40), np.int16), np.eye(4)).to_bytes())
    assert len(content) < LIMIT
    assert refusal(session, "ct.nii.gz", content) == "ct.nii.gz has voxels of more than 1 MB"
    assert refusal(session, "a.zip", archive(("ct.nii.gz", content))) == "a.zip has voxels of more than 1 MB"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ct.nrrd", NRRD.replace(b"4 2 2", b"99999 99999 99999") + b"\n" + VOXELS),
        ("ct.mha", METAIMAGE.replace(b"4 2 2", b"99999 99999 99999") + b"ElementDataFile = LOCAL\n" + VOXELS),
    ],
)
def test_a_text_header_that_promises_more_than_fits_is_refused(session, name, content):
    assert refusal(session, name, content) == f"{name} has voxels of more than 1 MB"


def test_compressed_images_of_a_series_that_unpack_to_too_much_are_refused(session, tmp_path):
    write_slices(tmp_path / "large", scan((40, 128, 128)))
    for path in (tmp_path / "large").iterdir():
        compress(path, "1.2.840.10008.1.2.5")
    files = [(path.name, path.read_bytes()) for path in (tmp_path / "large").iterdir()]
    assert sum(len(content) for _, content in files) < LIMIT
    assert refusal(session, "a.zip", archive(*files)) == "a.zip has voxels of more than 1 MB"


def test_damaged_image_files_are_refused_in_a_sentence(session):
    assert refusal(session, "ct.nii", b"<html>").startswith("ct.nii is ")
    assert refusal(session, "ct.nii.gz", b"\x1f\x8b\x08\x00junk").startswith("ct.nii.gz is ")
    assert refusal(session, "ct.nrrd", b"junk").startswith("ct.nrrd does not say how many voxels")
    assert refusal(session, "ct.mha", b"").startswith("ct.mha is empty")
