"""Interruptions, full disks and other inputs: no result and no file of the user's is lost or half-written."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from AttentionUNetSegmentationLib import atomic
from AttentionUNetSegmentationLib.atomic import BACKUP
from AttentionUNetSegmentationLib.command import batch
from AttentionUNetSegmentationLib.command.cases import find_cases
from AttentionUNetSegmentationLib.command.cli import ending_in_order
from AttentionUNetSegmentationLib.monitor import Monitor
from support.command_runs import FILES, ct, segment, tree

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_model_folder", "no_picture")]


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
    assert f"{out} holds labels.nii.gz, which no complete run wrote" in capsys.readouterr().err
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

    monkeypatch.setattr(atomic.os, "replace", interrupted)
    assert segment(tiny_model, source, "--output-dir", out, "--overwrite", "--quiet") == 128 + signal.SIGTERM
    assert len(moves) > len(FILES) + 4
    assert {name: (out / name).read_bytes() for name in tree(out)} == before


def test_a_signal_that_a_library_swallows_ends_the_batch_all_the_same(
    handle_signal, tiny_model, tmp_path, monkeypatch, capsys
):
    """While a compiled module is imported, it comes out as an ImportError."""
    handle_signal(signal.SIGTERM, signal.SIG_DFL)
    begun = []

    def importing(case, *_):
        begun.append(case.name)
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    monkeypatch.setattr(batch, "run_case", importing)
    sources = [ct(tmp_path / f"{name}.nii.gz") for name in "ab"]
    assert segment(tiny_model, *sources, "--output-dir", tmp_path / "out", "--quiet") == 128 + signal.SIGTERM
    assert begun == ["a"]
    assert capsys.readouterr().err == "cancelled; nothing of the running case was written\n"


def test_an_ignored_signal_stays_ignored(handle_signal):
    """``nohup`` relies on it."""
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("this system has no SIGHUP")
    handle_signal(signal.SIGHUP, signal.SIG_IGN)
    with ending_in_order():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_reports_of_finished_cases_survive_an_interruption(tiny_model, tmp_path, monkeypatch, capsys):
    sources, run_case = [ct(tmp_path / f"{name}.nii.gz") for name in "ab"], batch.run_case

    def interrupted(case, *arguments):
        if case.name == "b":
            raise KeyboardInterrupt
        return run_case(case, *arguments)

    monkeypatch.setattr(batch, "run_case", interrupted)
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

    monkeypatch.setattr(atomic.os, "replace", failing)
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
    (scratch / BACKUP).mkdir(parents=True)
    (out / "report.json").rename(scratch / "report.json")
    return scratch


def test_a_run_that_was_killed_while_it_moved_files_is_repeated(tiny_model, tmp_path, capsys):
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    killed_while_moving(out)
    assert segment(tiny_model, ct(tmp_path / "other.nii.gz"), "--output-dir", out, "--quiet") == 1
    assert "which no complete run wrote" in capsys.readouterr().err
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    assert set(FILES) < set(tree(out))


def test_what_a_killed_run_was_about_to_replace_does_not_stay_beside_the_next_result(tiny_model, tmp_path):
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    scratch = killed_while_moving(out)
    (scratch / "report.json").rename(scratch / BACKUP / "report.json")
    assert segment(tiny_model, source, "--output-dir", out, "--quiet", "--no-attention") == 0
    assert not [name for name in tree(out) if name.startswith("attention_")]


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


def test_a_file_that_lost_its_content_is_not_done(tiny_model, tmp_path, capsys):
    source, out = ct(tmp_path / "a.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    (out / "attention_s2-1.nrrd").write_bytes(b"")
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 1
    assert "attention_s2-1.nrrd was changed since it was written" in capsys.readouterr().err
    assert segment(tiny_model, source, "--output-dir", out, "--quiet", "--overwrite") == 0


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


def test_what_a_killed_run_left_is_removed_later(tiny_model, tmp_path):
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    for name, age_s in (("old", 7200), ("running", 10)):
        (out / f".writing-{name}" / BACKUP).mkdir(parents=True)
        (out / f".writing-{name}" / BACKUP / "report.json").write_text("{}")
        os.utime(out / f".writing-{name}", (time.time() - age_s,) * 2)
    bad = tmp_path / "bad.nii.gz"
    bad.write_text("broken")
    assert segment(tiny_model, bad, "--output-dir", out, "--quiet") == 1
    assert sorted(path.name for path in out.glob(".writing-*")) == [".writing-old", ".writing-running"]
    assert segment(tiny_model, source, "--output-dir", out, "--quiet") == 0
    assert [path.name for path in out.glob(".writing-*")] == [".writing-running"]


def test_a_file_that_cannot_be_replaced_leaves_the_old_result(tiny_model, tmp_path, monkeypatch):
    """On Windows a picture that is open in a viewer cannot be replaced."""
    source, out = ct(tmp_path / "ct.nii.gz"), tmp_path / "out"
    segment(tiny_model, source, "--output-dir", out, "--quiet")
    before = {name: (out / name).read_bytes() for name in tree(out)}
    replace = os.replace

    def locked(old, new):
        if Path(old).name == "overview.png" and BACKUP not in str(new) and BACKUP not in str(old):
            raise PermissionError(13, "The file is in use", str(new))
        replace(old, new)

    monkeypatch.setattr(atomic.os, "replace", locked)
    assert segment(tiny_model, source, "--output-dir", out, "--overwrite", "--quiet") == 1
    assert {name: (out / name).read_bytes() for name in tree(out)} == before
