"""What is segmented, into which folder, and what is done already."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.command import batch
from AttentionUNetSegmentationLib.command.cases import find_cases
from support.command_runs import FILES, ct, segment, tree
from support.permissions import needs_permissions
from support.phantom_files import scan, write_slices

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_model_folder", "no_picture")]


def test_a_batch_goes_on_after_a_failing_case_and_reports_it(tiny_model, tmp_path, capsys):
    ct(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_text("broken")
    ct(tmp_path / "in" / "c.nrrd")
    assert segment(tiny_model, tmp_path / "in", "--output-dir", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "c"]
    (error,) = captured.err.splitlines()
    assert error.startswith(f"error: {tmp_path}/in/b.nii.gz is not a readable NIfTI file: ")
    assert "2 done, 0 done already (use --overwrite to repeat), 1 failed" in captured.out


def test_a_batch_resumes_where_it_stopped(tiny_model, tmp_path, capsys):
    inputs = [ct(tmp_path / "in" / f"{name}.nii.gz") for name in "ab"]
    out = tmp_path / "out"
    assert segment(tiny_model, inputs[0], "--output-dir", out / "a", "--quiet") == 0
    first = (out / "a" / "report.json").read_text()
    assert segment(tiny_model, *inputs, "--output-dir", out) == 0
    assert "1 done, 1 done already" in capsys.readouterr().out
    assert (out / "a" / "report.json").read_text() == first


def test_a_case_of_a_batch_keeps_its_folder_when_it_is_given_alone(tmp_path):
    sources, out = [ct(tmp_path / "in" / f"{name}.nii.gz") for name in "ab"], tmp_path / "out"
    assert [case.folder for case in find_cases([tmp_path / "in"], out)] == [out / "a", out / "b"]
    (out / "b").mkdir(parents=True)
    report = {"files": [], "run": {"input": str(sources[1].resolve())}}
    (out / "b" / "report.json").write_text(json.dumps(report))
    assert [case.folder for case in find_cases([sources[1]], out)] == [out / "b"]
    assert [case.folder for case in find_cases([sources[0]], out)] == [out]
    sources[1].unlink()
    assert [case.folder for case in find_cases([tmp_path / "in"], out)] == [out / "a"]  # a folder that may grow


def test_a_copy_of_a_result_is_not_written_to(tmp_path):
    source, out = ct(tmp_path / "in" / "b.nii.gz"), tmp_path / "out"
    report = {"files": [], "run": {"input": str(source.resolve())}}
    for name in ("a copy", "b"):
        (out / name).mkdir(parents=True)
        (out / name / "report.json").write_text(json.dumps(report))
    assert [case.folder for case in find_cases([tmp_path / "in"], out)] == [out / "b"]


def test_a_link_that_leads_nowhere_is_a_case_that_fails(tiny_model, tmp_path, capsys):
    ct(tmp_path / "in" / "a.nii.gz")
    try:
        (tmp_path / "in" / "b.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    except OSError:
        pytest.skip("this system does not allow links")
    assert segment(tiny_model, tmp_path / "in", "--output-dir", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert f"error: {tmp_path}/in/b.nii.gz " in captured.err and "1 done" in captured.out


@pytest.mark.parametrize("change", ["input", "options", "missing file", "overwrite", "description"])
def test_what_is_no_longer_current_is_done_again(change, tiny_model, tmp_path):
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    before = (out / "report.json").stat().st_mtime_ns
    arguments = ["--quiet"]
    if change == "input":
        ct(source, hu=80.0)
    elif change == "options":
        arguments.append("--no-attention")
    elif change == "missing file":
        (out / "labels.nii.gz").unlink()
    elif change == "description":
        tiny_model = shutil.copytree(tiny_model, tmp_path / "model")
        content = json.loads((tiny_model / "model.json").read_text())
        (tiny_model / "model.json").write_text(json.dumps(content | {"version": "another"}))
    else:
        arguments.append("--overwrite")
    assert segment(tiny_model, source, "--output-dir", out, *arguments) == 0
    assert (out / "report.json").stat().st_mtime_ns > before
    expected = [name for name in FILES if "attention" not in name] if change == "options" else FILES
    assert tree(out) == sorted(expected)  # nothing stale is left


@needs_permissions
def test_a_folder_that_must_not_be_read_is_one_failing_case(tiny_model, tmp_path, capsys):
    ct(tmp_path / "a.nii.gz")
    (tmp_path / "closed").mkdir(mode=0)
    assert segment(tiny_model, tmp_path / "a.nii.gz", tmp_path / "closed", "--output-dir", tmp_path / "out") == 1
    assert "1 done, 0 done already" in capsys.readouterr().out


def test_an_output_that_cannot_be_made_is_refused_before_the_network_runs(tiny_model, tmp_path, capsys):
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    assert segment(tiny_model, ct(tmp_path / "a.nii.gz"), "--output-dir", tmp_path / "out") == 1
    assert f"cannot be made: {tmp_path / 'out'} is a broken link" in capsys.readouterr().err


def test_a_place_that_is_a_file_is_found_before_the_network_runs(tiny_model, tmp_path, capsys, monkeypatch):
    ran, run, out = [], batch.segment, tmp_path / "out"
    sources = [ct(tmp_path / f"{name}.nii.gz") for name in "ab"]
    out.mkdir()
    (out / "a").touch()
    monkeypatch.setattr(batch, "segment", lambda volume, *others: ran.append(volume.name) or run(volume, *others))
    assert segment(tiny_model, *sources, "--output-dir", out) == 1
    assert ran == ["b.nii.gz"]
    assert f"{out / 'a'} is a file" in capsys.readouterr().err


def test_an_empty_name_is_no_input(tmp_path):
    with pytest.raises(ValueError, match="the name of an input is empty"):
        find_cases([""], tmp_path)


@pytest.mark.parametrize("header", ["ct.mhd", "ct.nhdr"])
def test_a_case_whose_data_file_changed_is_done_again(header, tiny_model, tmp_path):
    def uncompressed(folder: Path, hu: float = 40.0) -> Path:
        path = ct(folder / header, hu)
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path))
        return path

    source, out = uncompressed(tmp_path), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    before = (out / "report.json").read_text()
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    assert (out / "report.json").read_text() == before
    uncompressed(tmp_path / "other", hu=80.0)
    shutil.copy(tmp_path / "other" / "ct.raw", tmp_path / "ct.raw")
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    assert (out / "report.json").read_text() != before


def test_a_folder_of_dicom_files_and_volumes_is_refused(tmp_path):
    (tmp_path / "0001").write_bytes(bytes(128) + b"DICM")
    ct(tmp_path / "tumour_mask.nii.gz")
    with pytest.raises(ValueError, match=r"holds DICOM files and tumour_mask\.nii\.gz: name what is to be segmented"):
        find_cases([tmp_path], tmp_path / "out")
    (tmp_path / "series").mkdir()
    (tmp_path / "0001").rename(tmp_path / "series" / "0001")
    with pytest.raises(ValueError, match=r"holds DICOM files and tumour_mask\.nii\.gz: name what is to be segmented"):
        find_cases([tmp_path], tmp_path / "out")


def test_names_of_cases_are_unique(tmp_path):
    sources = [ct(tmp_path / folder / "ct.nii.gz") for folder in ("p1", "p2")] + [ct(tmp_path / "p1" / "other.nrrd")]
    cases = find_cases([*sources, sources[0]], tmp_path / "out")
    assert [case.name for case in cases] == ["p1_ct", "p2_ct", "other", "p1_ct_2"]
    assert [case.folder.name for case in cases] == [case.name for case in cases]


def test_a_case_keeps_its_folder_whatever_it_is_given_with(tiny_model, tmp_path, capsys):
    first, second, third = (ct(tmp_path / folder / "ct.nii.gz") for folder in ("p1", "p2", "p3"))
    other, out = ct(tmp_path / "p3" / "other.nrrd"), tmp_path / "out"
    segment(tiny_model, first, other, "--output-dir", out, "--quiet")
    assert sorted(path.name for path in out.iterdir()) == ["ct", "other"]
    assert segment(tiny_model, first, second, third, "--output-dir", out) == 0
    assert "2 done, 1 done already" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["ct", "other", "p2_ct", "p3_ct"]
    fourth = [ct(tmp_path / "p4" / "ct.nii.gz"), ct(tmp_path / "p4" / "Other.nrrd")]
    cases = find_cases([third, *fourth], out)
    assert [case.name for case in cases] == ["p3_ct", "p4_ct", "p4_Other"]
    assert [case.name for case in find_cases([third, *fourth], out, overwrite=True)] == ["p3_ct", "p4_ct", "Other"]


def test_a_folder_that_another_input_has_taken_is_said(tiny_model, tmp_path, capsys):
    """As after a data set was moved."""
    for name in "ab":
        ct(tmp_path / "before" / f"{name}.nii.gz")
    out = tmp_path / "out"
    segment(tiny_model, tmp_path / "before", "--output-dir", out, "--quiet")
    (tmp_path / "before").rename(tmp_path / "after")
    assert segment(tiny_model, tmp_path / "after", "--output-dir", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a", "after_a", "after_b", "b"]
    text = capsys.readouterr().out
    assert (
        f"note: the results of {tmp_path}/after/a.nii.gz are in {out}/after_a, because {out}/a holds the result of "
        f"another input, {tmp_path}/before/a.nii.gz" in text
    )


def test_an_input_that_cannot_be_opened_does_not_stop_the_others(tiny_model, tmp_path, monkeypatch, capsys):
    inputs, out = [ct(tmp_path / f"{name}.mha") for name in "abc"], tmp_path / "out"
    segment(tiny_model, *inputs[:2], "--output-dir", out, "--quiet")
    opened = Path.open

    def locked(path, *arguments, **named):
        if path.name == "b.mha":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", locked)
    assert segment(tiny_model, *inputs, "--output-dir", out) == 1
    captured = capsys.readouterr()
    assert "1 done, 1 done already (use --overwrite to repeat), 1 failed" in captured.out
    assert "Permission denied" in captured.err


def test_a_report_of_another_program_does_not_stop_a_batch(tiny_model, tmp_path):
    inputs, out = [ct(tmp_path / f"{name}.nii.gz") for name in "ab"], tmp_path / "out"
    (out / "theirs").mkdir(parents=True)
    (out / "theirs" / "report.json").write_text("[" * 100_000)
    assert segment(tiny_model, *inputs, "--output-dir", out, "--quiet") == 0


def test_a_folder_given_by_dots_writes_into_the_output_folder(tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_slices(tmp_path / name / "inner", scan())
    monkeypatch.chdir(tmp_path / "a" / "inner")
    cases = find_cases(["..", "../../b/."], tmp_path / "out")
    assert [case.folder for case in cases] == [tmp_path / "out" / "a", tmp_path / "out" / "b"]


def test_results_beside_dicom_files_are_no_part_of_the_input(tiny_model, tmp_path, capsys):
    folder = tmp_path / "dicom"
    write_slices(folder, scan())
    assert segment(tiny_model, folder, "--output-dir", folder, "--quiet") == 0
    assert segment(tiny_model, folder, "--output-dir", folder) == 0
    assert "1 done already" in capsys.readouterr().out


def test_a_case_whose_voxels_lie_in_several_files_is_done_again_when_one_changes(tiny_model, tmp_path):
    source, out = ct(tmp_path / "in" / "ct.nhdr"), tmp_path / "out"
    sitk.WriteImage(sitk.ReadImage(str(source)), str(source))
    voxels = (source.parent / "ct.raw").read_bytes()
    half = len(voxels) // 2
    (source.parent / "a.raw").write_bytes(voxels[:half])
    (source.parent / "b.raw").write_bytes(voxels[half:])
    source.write_text(source.read_text().split("data file:")[0] + "data file: LIST 3\na.raw\nb.raw\n")
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    before = (out / "report.json").read_text()
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    assert (out / "report.json").read_text() == before
    os.utime(source.parent / "b.raw", (time.time() - 9000,) * 2)
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    assert (out / "report.json").read_text() != before


def test_a_slice_of_the_same_size_that_was_copied_in_counts(tiny_model, tmp_path, capsys):
    """With its time kept, as an older one: neither the sum of bytes nor the newest time tells."""
    folder, out = tmp_path / "dicom", tmp_path / "out"
    write_slices(folder, scan())
    segment(tiny_model, folder, "--output-dir", out, "--quiet")
    path = sorted(folder.iterdir())[0]
    os.utime(path, (time.time() - 9000,) * 2)
    assert segment(tiny_model, folder, "--output-dir", out) == 0
    assert "done already" not in capsys.readouterr().out


def test_results_in_the_input_folder_are_not_taken_for_cases(tiny_model, tmp_path):
    ct(tmp_path / "ct.nii.gz")
    segment(tiny_model, tmp_path, "--output-dir", tmp_path, "--quiet")
    assert [case.name for case in find_cases([tmp_path], tmp_path / "out")] == ["ct"]


def test_linked_files_keep_the_name_of_the_link(tmp_path):
    ct(tmp_path / "store" / "MD5-abc.nrrd")
    link = tmp_path / "case1.nrrd"
    try:
        link.symlink_to(tmp_path / "store" / "MD5-abc.nrrd")
    except OSError:
        pytest.skip("this system does not allow links")
    assert find_cases([link], tmp_path / "out")[0].name == "case1"
