"""What a result is downloaded as: the files of ``attention-unet segment``, and an archive of them."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from AttentionUNetSegmentationLib.browser.downloads import write_download, write_results, write_zip
from AttentionUNetSegmentationLib.command import batch
from AttentionUNetSegmentationLib.command.cases import Case, find_sources
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.volume import Segmentation, Volume
from support import phantoms
from support.dicom_objects import by_highdicom, made_up
from support.phantom_files import scan, write_slices

FILES = ["labels.nii.gz", "overview.png", "report.json", "segmentation.seg.nrrd"]
OF_THE_RUN = {"run", "seconds_files", "sha256"}


@pytest.fixture(scope="module")
def result() -> tuple[Volume, Segmentation]:
    """A CT and its result, with one attention map to keep it short."""
    volume = scan()
    segmentation = segment(volume, phantoms.model(), Options(device="cpu"))
    gate = next(iter(segmentation.attention))
    segmentation.attention = {gate: segmentation.attention[gate]}
    return volume, segmentation


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_files_are_those_of_the_command(result, tmp_path, monkeypatch):
    volume, segmentation = result
    source, model = tmp_path / "ct.nii.gz", phantoms.model()
    write_volume(volume, source)
    monkeypatch.setattr(batch, "segment", lambda *_: segmentation)
    expected = batch.run_case(Case("ct", source, tmp_path / "command"), model, Options(device="cpu"))
    files = write_results(read_volume(source), segmentation, model.spec, tmp_path / "page", "/srv/up-1/ct.nii.gz")
    (gate,) = segmentation.attention
    assert [path.name for path in files] == sorted([*FILES, f"attention_{gate}.nrrd"]) == names(tmp_path / "page")
    for path in files:
        if path.name != "report.json":
            assert path.read_bytes() == (tmp_path / "command" / path.name).read_bytes(), path.name
    report = json.loads((tmp_path / "page" / "report.json").read_text(encoding="utf-8"))
    assert list(report) == list(expected)
    assert {key for key in report if report[key] != expected[key]} <= OF_THE_RUN - {"sha256"}
    assert report["run"] == {"input": "ct.nii.gz"} and report["input"]["name"] == "ct.nii.gz"
    assert str(tmp_path) not in json.dumps(report)
    np.testing.assert_array_equal(read_volume(tmp_path / "page" / "labels.nii.gz").voxels, segmentation.labels)


def test_a_new_result_takes_the_place_of_the_old_one(result, tmp_path, monkeypatch):
    volume, segmentation = result
    spec = phantoms.model().spec
    write_results(volume, segmentation, spec, tmp_path / "page", "a.nii")
    (tmp_path / "page" / "mine.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(batch, "write_overview", full)
        with pytest.raises(OSError, match="No space left"):
            write_results(volume, segmentation, spec, tmp_path / "page", "b.nii")
    assert {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()} == before
    without_maps = Segmentation(segmentation.labels, segmentation.ijk_to_ras, segmentation.organs)
    write_results(volume, without_maps, spec, tmp_path / "page", "b.nii")
    assert names(tmp_path / "page") == sorted([*FILES, "mine.txt"])


def test_an_unpacked_archive_is_a_result_of_the_command(result, tmp_path):
    """Its files have their own names, so that the report is right; the folder has the CT's name."""
    volume, segmentation = result
    spec = phantoms.model().spec
    files = write_results(volume, segmentation, spec, tmp_path / "page", "Ct 1.nii.gz")
    assert write_zip(files, tmp_path / "out" / "result.zip", "Ct 1.nii.gz") == tmp_path / "out" / "result.zip"
    with zipfile.ZipFile(tmp_path / "out" / "result.zip") as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")
    folder = tmp_path / "unpacked" / "Ct_1"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in files
    }
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for name, digest in report["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert find_sources([folder]) == [folder], "results are not taken for CTs"


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("../../x.nii.gz", "x"),
        ("C:\\a\\CT 1.NRRD", "CT_1"),
        (".", "ct"),
        ("a/..", "ct"),
        ("P1/series", "series"),
        ("M\u00fcller.zip", "M\u00fcller"),
        ("", "ct"),
    ],
)
def test_the_folder_in_an_archive_has_a_safe_name(tmp_path, source, folder):
    (tmp_path / "a.mrb").write_bytes(b"a")
    (tmp_path / "report.json").write_bytes(b"{}")
    write_zip([tmp_path / "a.mrb"], tmp_path / "a.zip", source)
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == [f"{folder}/a.mrb"]


def test_an_archive_that_cannot_be_made_leaves_the_old_one(tmp_path):
    (tmp_path / "a.mrb").write_bytes(b"a")
    write_zip([tmp_path / "a.mrb"], tmp_path / "a.zip", "ct.nii")
    before = (tmp_path / "a.zip").read_bytes()
    with pytest.raises(FileNotFoundError, match=r"gone\.mrb"):
        write_zip([tmp_path / "a.mrb", tmp_path / "gone.mrb"], tmp_path / "a.zip", "ct.nii")
    assert (tmp_path / "a.zip").read_bytes() == before
    assert names(tmp_path) == ["a.mrb", "a.zip"]


@pytest.fixture(scope="module")
def dicom(tmp_path_factory) -> tuple[Path, Volume, Segmentation]:
    """A DICOM folder, the CT in it, and a made-up result."""
    folder = tmp_path_factory.mktemp("dicom") / "series"
    write_slices(folder, scan())
    return folder, read_volume(folder), made_up(folder)


def test_dicom_files_come_with_a_dicom_ct(dicom, tmp_path):
    folder, volume, segmentation = dicom
    arguments = (volume, segmentation, phantoms.model().spec, tmp_path / "page", "series", folder)
    archive = write_download("dicom.zip", *arguments)
    assert archive.name == "series_dicom.zip"
    with zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == ["series/measurements.dcm", "series/segmentation.dcm"]
        opened.extractall(tmp_path)
    found = {name: mask.sum() for name, (mask, _) in by_highdicom(tmp_path / "series" / "segmentation.dcm").items()}
    assert found == {m.organ.name: m.voxels for m in segmentation.organ_measures if m.voxels}
    with zipfile.ZipFile(write_download("all.zip", *arguments)) as opened:
        assert {"series/segmentation.dcm", "series/labels.nii.gz"} < set(opened.namelist())


def test_where_there_can_be_no_dicom_files_the_reason_is_told(dicom, tmp_path):
    folder, volume, segmentation = dicom
    nothing = Segmentation(
        np.zeros_like(segmentation.labels), volume.ijk_to_ras, segmentation.organs, provenance=segmentation.provenance
    )
    arguments = (volume, nothing, phantoms.model().spec, tmp_path / "page", "series")
    with pytest.raises(ValueError, match="^no DICOM files can be written: no organ was found$"):
        write_download("dicom.zip", *arguments, folder)
    with pytest.raises(ValueError, match="^this CT is not DICOM"):
        write_download("dicom.zip", *arguments)
    with zipfile.ZipFile(write_download("all.zip", *arguments, folder)) as opened:
        assert "series/labels.nii.gz" in opened.namelist()


def test_the_reason_names_no_path_of_the_server(dicom, tmp_path):
    folder, volume, segmentation = dicom
    bare = tmp_path / "upload-1" / "series"
    shutil.copytree(folder, bare)
    for path in bare.iterdir():
        image = pydicom.dcmread(path)
        del image.StudyInstanceUID
        image.save_as(path)
    with pytest.raises(ValueError, match="StudyInstanceUID") as told:
        write_download("dicom.zip", volume, segmentation, phantoms.model().spec, tmp_path / "page", "series", bare)
    assert str(tmp_path) not in str(told.value)
