"""The folder that is served: what is listed, and that no name of a page leads out of it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.browser import detached, served
from AttentionUNetSegmentationLib.browser.served import Entry, list_entries, resolve
from AttentionUNetSegmentationLib.formats.files import read_volume
from support.detached_headers import METAIMAGE, NRRD, VOXELS, leading_away
from support.phantom_files import scan, write_slices


@pytest.fixture
def root(tmp_path) -> Path:
    """A served folder beside a secret that is readable as voxels."""
    (tmp_path / "secret.raw").write_bytes(b"-top secret-data")
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def dicom(folder: Path, count: int = 3) -> Path:
    for n in range(count):
        put(folder / f"IM{n}", bytes(128) + b"DICM" + bytes(1000))
    return folder


def refusal(root: Path, name: str) -> str:
    """The sentence, which is one line and does not say where the folder lies."""
    with pytest.raises(ValueError, match=r"\A.+\Z") as error:
        resolve(root, name)
    assert str(root.parent) not in str(error.value) and str(error.value).isprintable()
    return str(error.value)


def test_volumes_and_folders_of_dicom_files_are_listed_by_name(root):
    put(root / "b.nii.gz", bytes(2_000_000))
    put(root / "A" / "ct.MHA")
    put(root / "A" / "notes.txt")
    dicom(root / "A" / "series")
    dicom(root)
    names = [(entry.name, entry.kind) for entry in list_entries(root)]
    assert names == [("b.nii.gz", "file"), (".", "dicom"), ("A/ct.MHA", "file"), ("A/series", "dicom")]
    assert list_entries(root)[0] == Entry("b.nii.gz", "file", 2.0)
    assert list_entries(root).note == ""
    for name, _ in names:
        assert resolve(root, name).relative_to(root.resolve()).as_posix() == name


def test_a_series_is_listed_whatever_else_its_folder_holds(root):
    for n in range(40):
        put(dicom(root / "series") / f"!{n}.json")
    assert [entry.name for entry in list_entries(root)] == ["series"]


def test_what_is_no_ct_is_not_listed(root, tmp_path):
    for name in (".hidden.nii", ".git/a.nii", "a\\b.nii", "c:a.nii", "DICOMDIR", "x/.writing-1/labels.nii.gz"):
        put(root / name, bytes(128) + b"DICM")
    os.mkfifo(root / "pipe.nii")
    os.mkfifo(root / "IM0")
    put(Path(os.fsdecode(bytes(root) + b"/\xff.nii")))
    (root / "link.nii").symlink_to(put(tmp_path / "outside.nii"))
    (root / "series").symlink_to(dicom(tmp_path / "outside"))
    (root / "IM1").symlink_to(tmp_path / "outside" / "IM0")
    (root / "gone.nii").symlink_to(tmp_path / "nowhere.nii")
    (root / "circle.nii").symlink_to(root / "circle.nii")
    assert list_entries(root) == []


def test_results_of_the_command_are_not_listed(root):
    put(root / "out" / "labels.nii.gz")
    put(root / "out" / "my_labels.nii.gz")
    report = {"files": ["labels.nii.gz"], "run": {"input": "/data/ct.nii.gz"}}
    put(root / "out" / "report.json", json.dumps(report).encode())
    assert [entry.name for entry in list_entries(root)] == ["out/my_labels.nii.gz"]


def test_a_long_or_deep_list_is_cut_and_says_so(root, monkeypatch):
    monkeypatch.setattr(served, "MAX_ENTRIES", 3)
    monkeypatch.setattr(served, "MAX_DEPTH", 2)
    put(root / "1" / "2" / "a.nii")
    assert [entry.name for entry in list_entries(root)] == ["1/2/a.nii"]
    assert list_entries(root).note == ""
    put(root / "1" / "2" / "3" / "too_deep.nii")
    assert [entry.name for entry in list_entries(root)] == ["1/2/a.nii"]
    assert list_entries(root).note == "only the first 3 CTs, down to 2 folders deep, are listed"
    shutil.rmtree(root / "1" / "2" / "3")
    for n in range(4):
        put(root / f"{n}.nii")
    assert [entry.name for entry in list_entries(root)] == ["0.nii", "1.nii", "2.nii"]
    assert list_entries(root).note == "only the first 3 CTs, down to 2 folders deep, are listed"


def test_endless_folders_end(root, monkeypatch):
    monkeypatch.setattr(served, "MAX_FOLDERS", 5)
    for n in range(8):
        put(root / f"{n}" / "a.nii")
    assert len(list_entries(root)) == 4 and list_entries(root).note


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "..",
            "../secret.raw",
            "a/../../secret.nii",
            "a/..",
            "./a.nii",
            "/etc/passwd",
            "//etc/passwd",
            "a//b.nii",
        ),
        *(
            "a/",
            "..\\secret.nii",
            "\\\\server\\x.nii",
            "C:\\a.nii",
            "C:a.nii",
            "a.nii\0",
            "\0",
            "a\n.nii",
            ".hidden.nii",
        ),
        *(".git/x.nii", "a/./b.nii", "\ud800.nii", "\u202eiin.a", "..%2f\\x", ". ", ".. /x.nii"),
    ],
)
def test_names_that_step_out_or_are_hidden_are_refused(root, name):
    put(root / "a" / "b.nii")
    put(root / ".hidden.nii")
    put(root / ".git" / "x.nii")
    assert "is no name below the served folder" in refusal(root, name)


@pytest.mark.parametrize("name", ["missing.nii", "b.nii/c.nii", "%2e%2e/secret.nii", "x" * 300, "x/" * 3000 + "a"])
def test_what_does_not_exist_is_said_so(root, name):
    put(root / "b.nii")
    assert "does not exist" in refusal(root, name) or "cannot be read: File name too long" in refusal(root, name)
    assert len(refusal(root, name)) < 250


def test_what_is_no_ct_is_refused(root):
    put(root / "notes.txt")
    put(root / "ct.raw")
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe.nii")
    assert "notes.txt is not a supported file; supported: .nii, .nii.gz" in refusal(root, "notes.txt")
    assert "ct.raw is not a supported file" in refusal(root, "ct.raw")
    assert refusal(root, "empty") == "empty is a folder that directly holds no DICOM files"
    assert "directly holds no DICOM files" in refusal(root, ".")
    assert refusal(root, "pipe.nii") == "pipe.nii does not exist in the served folder, or is no file"


def test_links_that_lead_out_are_refused_wherever_they_stand(root, tmp_path):
    outside = dicom(tmp_path / "outside")
    put(outside / "a.nii")
    (root / "file.nii").symlink_to(outside / "a.nii")
    (root / "relative.nii").symlink_to("../outside/a.nii")
    (root / "folder").symlink_to(outside)
    (root / "gone.nii").symlink_to(tmp_path / "nowhere.nii")
    (root / "chain.nii").symlink_to(root / "file.nii")
    (root / "circle.nii").symlink_to(root / "circle.nii")
    for name in ("file.nii", "relative.nii", "folder", "folder/a.nii", "gone.nii", "chain.nii", "circle.nii"):
        assert refusal(root, name) == f"{name} leads out of the served folder"


def test_a_folder_called_like_the_served_one_is_outside(root, tmp_path):
    (root / "a.nii").symlink_to(put(tmp_path / "served_too" / "a.nii"))
    assert "leads out" in refusal(root, "a.nii")


def test_links_within_the_folder_and_a_root_that_is_a_link_are_followed(root, tmp_path):
    put(root / "objects" / "1.nii")
    (root / "ct.nii").symlink_to(root / "objects" / "1.nii")
    (tmp_path / "link").symlink_to(root)
    assert resolve(tmp_path / "link", "ct.nii") == root.resolve() / "ct.nii"
    assert "ct.nii" in [entry.name for entry in list_entries(tmp_path / "link")]


@pytest.mark.parametrize("where", ["series", "series/deeper"])
@pytest.mark.parametrize("target", ["outside", "outside/IM0", "empty", "nowhere"])
def test_a_series_of_which_something_leads_out_is_refused(root, tmp_path, where, target):
    """Reading it goes through all folders below, and follows links."""
    dicom(tmp_path / "outside")
    (tmp_path / "empty").mkdir()
    dicom(root / "series")
    (root / where).mkdir(exist_ok=True)
    (root / where / "x").symlink_to(tmp_path / target)
    assert refusal(root, "series") == "series holds a link that leads out of the served folder"


def test_a_series_with_a_link_to_a_folder_with_such_a_link_is_refused(root, tmp_path):
    dicom(root / "series")
    (root / "aside").mkdir()
    (root / "series" / "more").symlink_to(root / "aside")
    (root / "series" / "round").symlink_to(root / "series")
    assert resolve(root, "series") == root.resolve() / "series"
    (root / "aside" / "IM").symlink_to(dicom(tmp_path / "outside") / "IM0")
    assert "holds a link that leads out" in refusal(root, "series")


def test_a_real_series_is_read(root):
    write_slices(root / "P1" / "ct", scan())
    assert [(entry.name, entry.kind) for entry in list_entries(root)] == [("P1/ct", "dicom")]
    assert read_volume(resolve(root, "P1/ct")).grid.shape_kji == scan().grid.shape_kji


@pytest.mark.parametrize("how", leading_away(b""))
def test_headers_that_lead_out_are_refused(root, tmp_path, how):
    (root / "link.raw").symlink_to(tmp_path / "secret.raw")
    for target in (bytes(tmp_path / "secret.raw"), b"../secret.raw", b"link.raw"):
        ending, content = leading_away(target)[how]
        for name in (f"a{ending}", {".nrrd": "a.nhdr", ".mha": "a.MHD"}[ending]):
            put(root / name, content)
            assert refusal(root, name) in (
                f"{name} takes its voxels from a file that is not in the served folder",
                f"{name} does not clearly say where its voxels are; convert it to a single file",
                f"{name} has its voxels in several files; convert it to a single file",
            ), target


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.nhdr", NRRD + b"data file: LIST\n../secret.raw\n"),
        ("a.nhdr", NRRD + b"data file: %d.raw 0 0 1\n\n"),
        ("a.mhd", METAIMAGE + b"ElementDataFile = LIST\n../secret.raw\n"),
        ("a.mhd", METAIMAGE + b"ElementDataFile = %d.raw 0 0 1\n"),
    ],
)
def test_headers_of_several_files_are_refused(root, name, header):
    put(root / name, header)
    for other in ("LIST", "%d.raw 0 0 1"):
        put(root / other, VOXELS)
    assert refusal(root, name) == f"{name} has its voxels in several files; convert it to a single file"


def test_a_header_behind_four_megabytes_is_refused(root, tmp_path):
    filler = b"# " + b"x" * (5 << 20) + b"\n"
    put(root / "a.nrrd", NRRD + filler + b"data file: ../secret.raw\n\n")
    assert "does not clearly say where its voxels are" in refusal(root, "a.nrrd")
    put(
        root / "a.mha",
        METAIMAGE + b"Comment = ElementDataFile = LOCAL\n" + filler + b"ElementDataFile = ../secret.raw\n",
    )
    assert "does not clearly say where its voxels are" in refusal(root, "a.mha")


def test_words_are_found_wherever_the_pieces_of_a_file_meet(root, monkeypatch):
    content = METAIMAGE + b"Comment = ElementDataFile = LOCAL\nElementDataFile = ../secret.raw\n"
    put(root / "a.mha", content)
    for size in range(20, len(content)):
        monkeypatch.setattr(detached, "CHUNK_BYTES", size)
        assert "does not clearly say where its voxels are" in refusal(root, "a.mha")


def test_headers_with_their_voxels_in_the_folder_are_read(root):
    put(root / "voxels.raw", VOXELS)
    put(root / "a.nhdr", NRRD + b"data file: voxels.raw\n\n")
    put(root / "a.mhd", METAIMAGE + b"ElementDataFile = voxels.raw\n")
    put(root / "a.nrrd", NRRD + b"\n" + VOXELS)
    put(root / "a.mha", METAIMAGE + b"ElementDataFile = LOCAL\n" + VOXELS)
    for name in ("a.nhdr", "a.mhd", "a.nrrd", "a.mha"):
        assert read_volume(resolve(root, name)).voxels.tobytes() == VOXELS
    (root / "voxels.raw").unlink()
    assert "takes its voxels from a file that is not in the served folder" in refusal(root, "a.nhdr")
    assert "takes its voxels from a file that is not in the served folder" in refusal(root, "a.mhd")
