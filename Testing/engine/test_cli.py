import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

import phantoms
from AttentionUNetSegmentationLib import batch, console
from AttentionUNetSegmentationLib.cases import find_cases
from AttentionUNetSegmentationLib.cli import ending_in_order, main
from AttentionUNetSegmentationLib.files import write_volume
from AttentionUNetSegmentationLib.model import save_model
from AttentionUNetSegmentationLib.model_store import MODEL_FOLDER_VARIABLE
from AttentionUNetSegmentationLib.monitor import Monitor
from AttentionUNetSegmentationLib.volume import Volume
from phantom_files import bad_files, scan, write_slices

GATES = ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]
FILES = ["labels.nii.gz", "overview.png", "report.json", "segmentation.seg.nrrd"]
FILES += [f"attention_{gate}.nrrd" for gate in GATES]
GRID = phantoms.grid((24, 30, 28), (3, 3, 4), np.diag([-1.0, -1, 1]))


@pytest.fixture(autouse=True)
def _own_model_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(tmp_path / "models"))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    untrained = phantoms.model()
    save_model(folder, untrained.network, untrained.spec)
    return folder


def ct(path: Path, hu: float = 40.0) -> Path:
    voxels = phantoms.hu_from([(phantoms.ball(GRID, (0, 0, 0), 40), hu)], -1000.0).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(voxels, GRID.ijk_to_ras), path)
    return path


def segment(tiny_model, *arguments) -> int:
    return main(["segment", *map(str, arguments), "--model", str(tiny_model), "--device", "cpu"])


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_input_writes_into_the_folder_itself(tiny_model, tmp_path, capsys):
    assert segment(tiny_model, ct(tmp_path / "ct.nii.gz"), "--output-dir", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == sorted(FILES)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "labels.nii.gz")))
    assert labels.shape == GRID.shape_kji
    for organ in report["organs"]:
        assert organ["voxels"] == np.count_nonzero(labels == organ["value"])
        assert organ["volume_ml"] == pytest.approx(organ["voxels"] * 0.036, abs=0.001)
    assert list(report["attention"]) == GATES
    attention = sitk.ReadImage(str(tmp_path / "out" / "attention_s3-1.nrrd"))
    np.testing.assert_allclose(attention.GetSpacing(), (8, 8, 8))
    output = capsys.readouterr().out
    assert "overview.png" in output
    assert "pancreas" in output


def test_labels_keep_the_inputs_geometry(tiny_model, tmp_path):
    source = ct(tmp_path / "ct.nii.gz")
    segment(tiny_model, source, "--output-dir", tmp_path / "out", "--quiet")
    np.testing.assert_allclose(
        nibabel.load(tmp_path / "out" / "labels.nii.gz").affine, nibabel.load(source).affine, atol=1e-4
    )


def test_options_decide_what_is_written(tiny_model, tmp_path):
    arguments = ("--output-dir", tmp_path / "out", "--no-attention", "--probabilities", "--quiet")
    assert segment(tiny_model, ct(tmp_path / "ct.nrrd"), *arguments) == 0
    written = tree(tmp_path / "out")
    assert [name for name in written if "attention" in name] == []
    assert [name for name in written if "prob" in name] == [
        f"probability_{organ}.nii.gz" for organ in ("kidney", "pancreas", "spleen")
    ]


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


@pytest.mark.parametrize("change", ["input", "options", "missing file", "overwrite"])
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
    else:
        arguments.append("--overwrite")
    assert segment(tiny_model, source, "--output-dir", out, *arguments) == 0
    assert (out / "report.json").stat().st_mtime_ns > before
    expected = [name for name in FILES if "attention" not in name] if change == "options" else FILES
    assert tree(out) == sorted(expected)  # nothing stale is left


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


def test_the_result_of_another_ct_is_not_replaced_unasked(tiny_model, tmp_path, capsys):
    first, second, out = ct(tmp_path / "a.nii.gz"), ct(tmp_path / "b.nii.gz"), tmp_path / "out"
    segment(tiny_model, first, "--output-dir", out, "--quiet")
    before = (out / "report.json").read_text()
    assert segment(tiny_model, second, "--output-dir", out, "--quiet") == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert f"{out} holds the result of another input, {first}: choose another output folder" in error
    assert (out / "report.json").read_text() == before
    assert segment(tiny_model, second, "--output-dir", out, "--quiet", "--overwrite") == 0
    assert (out / "report.json").read_text() != before


def test_files_of_the_users_own_are_not_replaced_unasked(tiny_model, tmp_path, capsys):
    source, out = ct(tmp_path / "a.nii.gz"), tmp_path / "out"
    out.mkdir()
    (out / "labels.nii.gz").write_text("drawn by hand")
    (out / "precious.dat").write_text("mine")
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 1
    assert f"{out} holds labels.nii.gz, which is no result of a complete run" in capsys.readouterr().err
    assert (out / "labels.nii.gz").read_text() == "drawn by hand"
    (out / "report.json").write_text('{"files": ["precious.dat", "../a.nii.gz"]}')  # another program's
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 1
    assert segment(tiny_model, source, "--output-dir", out, "--quiet", "--overwrite") == 0
    assert (out / "precious.dat").read_text() == "mine" and source.is_file()


def test_a_ct_called_like_a_result_is_never_replaced(tiny_model, tmp_path, capsys):
    source = ct(tmp_path / "labels.nii.gz")
    before = source.read_bytes()
    assert segment(tiny_model, source, "--output-dir", tmp_path, "--quiet", "--overwrite") == 1
    assert "would replace" in capsys.readouterr().err
    assert source.read_bytes() == before


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
        f"note: the results of {tmp_path}/after/a.nii.gz are in {out}/after_a, as {out}/a holds the result of another "
        f"input, {tmp_path}/before/a.nii.gz" in text
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


def test_dicom_folders_work_from_the_command_line(tiny_model, tmp_path):
    write_slices(tmp_path / "dicom", scan())
    assert segment(tiny_model, tmp_path / "dicom", "--output-dir", tmp_path / "out", "--quiet") == 0
    assert tree(tmp_path / "out") == sorted(FILES)


def bad_inputs(folder: Path) -> list[str]:
    names = list(bad_files(folder))
    for name, voxels in {
        "one slice": np.zeros((1, 20, 20), np.int16),
        "nan": np.where(np.arange(8000).reshape(20, 20, 20) == 77, np.nan, 0).astype(np.float32),
        "zero": np.zeros((20, 20, 20), np.int16),
    }.items():
        write_volume(Volume(voxels, np.eye(4)), folder / f"{name}.nii.gz")
        names.append(f"{name}.nii.gz")
    return names


def test_bad_input_gives_one_line_status_1_and_writes_nothing(tiny_model, tmp_path, capfd):
    for name in bad_inputs(tmp_path):
        assert segment(tiny_model, tmp_path / name, "--output-dir", tmp_path / "out") == 1, name
        errors = capfd.readouterr().err.splitlines()  # what C++ libraries print counts too
        assert len(errors) == 1, (name, errors)
        assert errors[0].startswith("error: "), errors
        assert name in errors[0], errors
        assert not (tmp_path / "out").exists(), name


def test_models_that_cannot_be_used(tiny_model, tmp_path, capsys):
    source = ct(tmp_path / "ct.nii.gz")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "weights.pt").unlink()
    for wanted, message in (
        (broken, "weights.pt is missing: the model has no weights"),
        (tmp_path / "nowhere", "there is no model"),
        (source, "is not a readable zip"),
    ):
        status = main(["segment", str(source), "--output-dir", str(tmp_path / "out"), "--model", str(wanted)])
        errors = capsys.readouterr().err.splitlines()
        assert (status, len(errors)) == (1, 1)
        assert message in errors[0]
        assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made(tiny_model, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    source = ct(tmp_path / "ct.nii.gz")
    assert segment(tiny_model, source, "--output-dir", tmp_path / "file" / "out") == 1
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission(tiny_model, tmp_path, capsys):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert segment(tiny_model, ct(tmp_path / "ct.nii.gz"), "--output-dir", folder) == 1
    assert "is not writable" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_result_untouched(tiny_model, tmp_path, monkeypatch, capsys):
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    before = {name: (out / name).read_bytes() for name in tree(out)}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch, "write_overview", full)
    assert segment(tiny_model, source, "--output-dir", out, "--overwrite") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert {name: (out / name).read_bytes() for name in tree(out)} == before
    assert segment(tiny_model, source, "--output-dir", tmp_path / "new", "--overwrite") == 1
    assert not (tmp_path / "new").exists()


def test_wrong_options_are_refused(tiny_model, tmp_path, capsys):
    source = ct(tmp_path / "ct.nii.gz")
    status = main(["segment", str(source), "--output-dir", str(tmp_path / "out"), "--device", "tpu"])
    assert status == 1
    assert "device must be one of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        segment(tiny_model, source, "--output-dir", tmp_path / "out", "--tile", "50")


def test_json_is_the_only_thing_on_standard_output(tiny_model, tmp_path, capsys):
    sources = [ct(tmp_path / "a.nii.gz"), tmp_path / "missing.nii.gz"]
    assert segment(tiny_model, *sources, "--output-dir", tmp_path / "out", "--json") == 1
    done, failed = json.loads(capsys.readouterr().out)
    assert (done["status"], failed["status"]) == ("done", "failed")
    assert [organ["name"] for organ in done["report"]["organs"]][:2] == ["pancreas", "spleen"]
    assert "does not exist" in failed["error"]


def test_an_interrupted_run_leaves_nothing_half_written(tiny_model, tmp_path, monkeypatch, capsys):
    """Ctrl-C while the network runs, and while results are written."""
    source = ct(tmp_path / "ct.nii.gz")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for target, name in ((Monitor, "update"), (batch, "write_overview")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, interrupted)
            assert segment(tiny_model, source, "--output-dir", tmp_path / "out") == 130
        assert capsys.readouterr().err == "cancelled; nothing of the running case was written\n"
        assert not (tmp_path / "out").exists()


@pytest.fixture
def handle_signal() -> Iterator[Callable[[int, object], None]]:
    """Set what a signal does; what it did before comes back afterwards (under nohup, SIGHUP is ignored)."""
    earlier = {}

    def handle(number: int, handler: object) -> None:
        earlier.setdefault(number, signal.signal(number, handler))

    yield handle
    for number, handler in earlier.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_told_to_end_leaves_nothing_half_written(
    signal_name, handle_signal, tiny_model, tmp_path, monkeypatch, capsys
):
    """As a cluster's scheduler, ``timeout`` or ``kill`` does."""
    number = getattr(signal, signal_name, None)
    if number is None:
        pytest.skip(f"this system has no {signal_name}")
    handle_signal(number, signal.SIG_DFL)

    source = ct(tmp_path / "ct.nii.gz")
    monkeypatch.setattr(batch, "write_overview", lambda *_: signal.raise_signal(number))
    assert segment(tiny_model, source, "--output-dir", tmp_path / "out") == 128 + number
    assert capsys.readouterr().err == "cancelled; nothing of the running case was written\n"
    assert not (tmp_path / "out").exists()
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_second_signal_does_not_disturb_the_tidying_up(second, handle_signal, tiny_model, tmp_path, monkeypatch):
    """The first comes while the new result takes the old one's place, the second while that is put back."""
    handle_signal(signal.SIGTERM, signal.SIG_DFL)
    handle_signal(signal.SIGINT, signal.default_int_handler)
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    before = {name: (out / name).read_bytes() for name in tree(out)}
    replace, moves = os.replace, []

    def interrupted(old, new):
        moves.append(new)
        if len(moves) == len(FILES) + 2:
            signal.raise_signal(signal.SIGTERM)
        if len(moves) == len(FILES) + 4:
            signal.raise_signal(getattr(signal, second))
        replace(old, new)

    monkeypatch.setattr(batch.os, "replace", interrupted)
    assert segment(tiny_model, source, "--output-dir", out, "--overwrite", "--quiet") == 128 + signal.SIGTERM
    assert len(moves) > len(FILES) + 4
    assert {name: (out / name).read_bytes() for name in tree(out)} == before


def test_an_ignored_signal_stays_ignored(handle_signal):
    """``nohup`` relies on it."""
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("this system has no SIGHUP")
    handle_signal(signal.SIGHUP, signal.SIG_IGN)
    with ending_in_order():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_reports_of_finished_cases_survive_an_interruption(tiny_model, tmp_path, monkeypatch, capsys):
    sources, run_case = [ct(tmp_path / f"{name}.nii.gz") for name in "ab"], console.run_case

    def interrupted(case, *arguments):
        if case.name == "b":
            raise KeyboardInterrupt
        return run_case(case, *arguments)

    monkeypatch.setattr(console, "run_case", interrupted)
    assert segment(tiny_model, *sources, "--output-dir", tmp_path / "out", "--json") == 130
    (done,) = json.loads(capsys.readouterr().out)
    assert (done["case"], done["status"]) == ("a", "done")


@pytest.mark.parametrize("fails", [OSError, KeyboardInterrupt])
def test_files_that_were_moved_already_are_taken_back(fails, tiny_model, tmp_path, monkeypatch):
    source, out, replace = ct(tmp_path / "ct.nii.gz"), tmp_path / "out", os.replace

    def failing(old, new):
        if Path(new).name == "overview.png":
            raise fails
        replace(old, new)

    monkeypatch.setattr(batch.os, "replace", failing)
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == (130 if fails is KeyboardInterrupt else 1)
    assert not out.exists()


def test_a_folder_in_the_way_leaves_the_old_result(tiny_model, tmp_path):
    """A file cannot be moved onto it, and it is not the run's to delete."""
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    before = {name: (out / name).read_bytes() for name in tree(out)}
    (out / "probability_kidney.nii.gz" / "mine").mkdir(parents=True)
    assert segment(tiny_model, source, "--output-dir", out, "--quiet", "--probabilities", "--overwrite") == 1
    assert {name: (out / name).read_bytes() for name in tree(out)} == before
    assert (out / "probability_kidney.nii.gz" / "mine").is_dir()


def killed_while_moving(out: Path) -> Path:
    """Make a folder look as if a run was killed before the report, the last file, was moved; returns the scratch."""
    scratch = out / ".writing-killed"
    (scratch / "backup").mkdir(parents=True)
    (out / "report.json").rename(scratch / "report.json")
    return scratch


def test_a_run_that_was_killed_while_it_moved_files_is_repeated(tiny_model, tmp_path, capsys):
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    killed_while_moving(out)
    assert segment(tiny_model, ct(tmp_path / "other.nii.gz"), "--output-dir", out, "--quiet") == 1
    assert "which is no result of a complete run" in capsys.readouterr().err
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    assert set(FILES) < set(tree(out))


def test_what_a_killed_run_left_is_neither_an_input_nor_a_case(tiny_model, tmp_path):
    source = ct(tmp_path / "in" / "ct.nii.gz")
    segment(tiny_model, source, "--output-dir", tmp_path / "in", "--quiet")
    killed_while_moving(tmp_path / "in")
    cases = find_cases([tmp_path / "in", ct(tmp_path / "b.nii.gz")], tmp_path / "in")
    assert [case.name for case in cases] == ["ct", "b"]
    assert [case.folder for case in cases] == [tmp_path / "in" / "ct", tmp_path / "in" / "b"]


def test_of_two_runs_into_one_folder_the_first_to_end_keeps_it(tiny_model, tmp_path, monkeypatch, capsys):
    first, second, out = ct(tmp_path / "a.nii.gz"), ct(tmp_path / "b.nii.gz"), tmp_path / "out"
    compute = batch.segment

    def overtaken(*arguments):
        monkeypatch.setattr(batch, "segment", compute)
        assert segment(tiny_model, second, "--output-dir", out, "--quiet") == 0
        return compute(*arguments)

    monkeypatch.setattr(batch, "segment", overtaken)
    assert segment(tiny_model, first, "--output-dir", out, "--quiet") == 1
    assert f"{out} holds the result of another input, {second}" in capsys.readouterr().err
    assert json.loads((out / "report.json").read_text())["run"]["input"] == str(second)
    assert tree(out) == sorted(FILES)


def test_a_result_that_was_edited_is_not_replaced_unasked(tiny_model, tmp_path, capsys):
    source, out = ct(tmp_path / "a.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    shutil.copy(ct(tmp_path / "drawn.nii.gz"), out / "labels.nii.gz")
    edited = (out / "labels.nii.gz").read_bytes()
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0  # done already
    assert segment(tiny_model, source, "--output-dir", out, "--quiet", "--no-split") == 1
    assert f"{out}/labels.nii.gz was changed since it was written: choose" in capsys.readouterr().err
    assert (out / "labels.nii.gz").read_bytes() == edited
    assert segment(tiny_model, source, "--output-dir", out, "--quiet", "--no-split", "--overwrite") == 0
    assert (out / "labels.nii.gz").read_bytes() != edited


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


def test_what_a_killed_run_left_is_removed_later(tiny_model, tmp_path):
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    for name, age_s in (("old", 7200), ("running", 10)):
        (out / f".writing-{name}" / "backup").mkdir(parents=True)
        (out / f".writing-{name}" / "backup" / "report.json").write_text("{}")
        os.utime(out / f".writing-{name}", (time.time() - age_s,) * 2)
    bad = tmp_path / "bad.nii.gz"
    bad.write_text("broken")
    assert segment(tiny_model, bad, "--output-dir", out, "--quiet") == 1
    assert sorted(path.name for path in out.glob(".writing-*")) == [".writing-old", ".writing-running"]
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    assert [path.name for path in out.glob(".writing-*")] == [".writing-running"]


@pytest.mark.parametrize("command", ["segment", "segment --json", "info", "info --json"])
def test_names_that_the_terminal_cannot_show_do_not_end_a_run(command, tiny_model, tmp_path):
    name, *options = command.split()
    arguments = [name, str(ct(tmp_path / "Müller 腹部.nii.gz")), *options]
    if name == "segment":
        arguments += ["--output-dir", str(tmp_path / "out"), "--model", str(tiny_model), "--device", "cpu"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "AttentionUNetSegmentationLib.cli", *arguments], capture_output=True, env=environment
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout


def test_a_tiny_scan_has_a_picture(tiny_model, tmp_path):
    """Less than a pixel of the picture along two axes."""
    voxels = np.random.default_rng(0).integers(-1000, 1000, (8, 8, 40)).astype(np.int16)
    write_volume(Volume(voxels, np.diag([5.0, 0.1, 0.1, 1.0])), tmp_path / "ct.nii.gz")
    assert segment(tiny_model, tmp_path / "ct.nii.gz", "--output-dir", tmp_path / "out", "--quiet") == 0
    assert (tmp_path / "out" / "overview.png").is_file()


def test_a_file_that_cannot_be_replaced_leaves_the_old_result(tiny_model, tmp_path, monkeypatch):
    """On Windows a picture that is open in a viewer cannot be replaced."""
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    before = {name: (out / name).read_bytes() for name in tree(out)}
    replace = os.replace

    def locked(old, new):
        if Path(old).name == "overview.png" and "backup" not in str(new) and "backup" not in str(old):
            raise PermissionError(13, "The file is in use", str(new))
        replace(old, new)

    monkeypatch.setattr(batch.os, "replace", locked)
    assert segment(tiny_model, source, "--output-dir", out, "--overwrite", "--quiet") == 1
    assert {name: (out / name).read_bytes() for name in tree(out)} == before


def test_odd_names_are_shown_as_they_are(tiny_model, tmp_path, capsys):
    source = ct(tmp_path / "a[b] $x_{ study" / "case[red].nrrd")
    assert segment(tiny_model, source, "--output-dir", source.parent / "out") == 0
    captured = capsys.readouterr()
    assert "a[b] $x_{ study/out" in captured.out.replace("\n", "")
    assert "case[red]" in captured.out
    assert captured.err == ""


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


def test_models_are_added_listed_and_removed(tiny_model, tmp_path, capsys):
    assert main(["models", "--path"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "models")
    assert main(["models", "add", str(tiny_model)]) == 0
    assert main(["models"]) == 0
    listing = capsys.readouterr().out
    assert "test-model" in listing
    assert "measured: no figures were measured" in listing
    assert "licence: Apache-2.0" in listing
    assert main(["models", "remove", "test-model"]) == 0
    assert main(["models", "remove", "test-model"]) == 1
    assert "there is no model 'test-model'" in capsys.readouterr().err


def test_info_prints_geometry_range_and_warnings(tmp_path, capsys):
    assert main(["info", str(ct(tmp_path / "ct.nii.gz"))]) == 0
    text = capsys.readouterr().out
    assert "spacing (mm): 3 x 3 x 4" in text
    assert "axes point to: LPS" in text
    assert "HU (lowest, median, highest): -1000, -1000, 40" in text
    assert "warning: the body is at most" in text
    assert main(["info", str(tmp_path / "missing.nii.gz"), str(tmp_path / "ct.nii.gz")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_info_takes_a_folder_of_volumes(tmp_path, capsys):
    for name in "ab":
        ct(tmp_path / "in" / f"{name}.nii.gz")
    assert main(["info", str(tmp_path / "in"), "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ["a.nii.gz", "b.nii.gz"]


def test_a_linked_model_is_removed_without_what_it_links_to(tiny_model, tmp_path, capsys):
    (tmp_path / "models").mkdir()
    try:
        (tmp_path / "models" / "linked").symlink_to(tiny_model, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not allow links")
    assert main(["models", "remove", "linked"]) == 0
    assert not (tmp_path / "models" / "linked").exists()
    assert (tiny_model / "weights.pt").is_file()


def test_the_installed_command_answers():
    command = Path(sys.executable).with_name("attention-unet")
    if not command.exists():
        pytest.skip("the package is not installed in this environment")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("attention-unet 0.")
