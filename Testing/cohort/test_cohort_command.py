"""The command: a whole cohort, one that is killed, and what it refuses."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import nullcontext

import pytest

from AttentionUNetSegmentationLib.atomic import SCRATCH
from AttentionUNetSegmentationLib.cohort import connection
from AttentionUNetSegmentationLib.command import cohort
from AttentionUNetSegmentationLib.command.cli import main
from AttentionUNetSegmentationLib.formats.files import write_volume
from support import phantom_files


@pytest.fixture
def command(tmp_path, tiny_model):
    """A folder of three CTs and a broken one, and the arguments that segment them."""
    for name in ("p1/ct", "p2/ct", "p3/ct"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        write_volume(phantom_files.scan(), tmp_path / "in" / f"{name}.nii.gz")
    arguments = ["cohort", str(tmp_path / "in"), "--output-dir", str(tmp_path / "out"), "--model", str(tiny_model)]
    return [*arguments, "--backend", "openvino", "--workers", "1", "--threads", "1"]


@pytest.fixture
def quick(command, ray_here, monkeypatch) -> list[str]:
    """The same for a Ray that runs already: starting one takes seconds."""
    monkeypatch.setattr(connection, "connected", lambda address, cpus: nullcontext(ray_here))
    return command


def statuses(tmp_path) -> dict[str, str]:
    with (tmp_path / "out" / "tables" / "cases.csv").open(encoding="utf-8-sig", newline="") as stream:
        return {row["case"]: row["status"] for row in csv.DictReader(stream)}


def test_a_cohort_is_segmented_and_gone_on_with(tmp_path, command, capsys):
    (tmp_path / "in" / "broken.nrrd").write_text("hello")
    assert main(command) == 1
    told = capsys.readouterr()
    assert "3 done, 0 done already, 1 failed" in told.out
    assert str(tmp_path / "in" / "broken.nrrd") in told.err
    expected = {"broken": "failed", "p1/ct": "done", "p2/ct": "done", "p3/ct": "done"}
    assert statuses(tmp_path) == expected
    with (tmp_path / "out" / "tables" / "organs.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        report = json.loads((tmp_path / "out" / "cases" / row["case"] / "report.json").read_text())
        (organ,) = (organ for organ in report["organs"] if organ["name"] == row["organ"])
        assert float(row["volume_ml"]) == organ["volume_ml"]
    assert {row["case"] for row in rows} == {"p1/ct", "p2/ct", "p3/ct"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "broken" in page and "Research use only" in page

    (tmp_path / "in" / "broken.nrrd").unlink()
    assert main([*command, "--quiet"]) == 0
    assert statuses(tmp_path) == {"p1/ct": "done", "p2/ct": "done", "p3/ct": "done"}
    assert [line["status"] for line in ledger(tmp_path)[4:]] == ["skipped"] * 3


def ledger(tmp_path) -> list[dict]:
    path = tmp_path / "out" / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_cohort_that_is_killed_goes_on_where_it_was(tmp_path, quick):
    run = [sys.executable, "-m", "AttentionUNetSegmentationLib.command.cli", *quick]
    process = subprocess.Popen(run, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    for _ in range(1200):
        if ledger(tmp_path) or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [line["status"] for line in ledger(tmp_path)][:1] == ["done"]
    assert not (tmp_path / "out" / "report.html").exists()
    before = {line["case"] for line in ledger(tmp_path)}
    (tmp_path / "out" / "cases" / "p3" / "ct" / f"{SCRATCH}left").mkdir(parents=True)  # as if killed while it wrote
    assert main([*quick, "--quiet"]) == 0
    skipped = {line["case"] for line in ledger(tmp_path)[len(before) :] if line["status"] == "skipped"}
    assert before <= skipped
    assert statuses(tmp_path) == {"p1/ct": "done", "p2/ct": "done", "p3/ct": "done"}
    assert not list((tmp_path / "out").rglob(f"{SCRATCH}*"))


def test_tables_that_are_older_than_some_cases_are_said_to_be(tmp_path, quick, monkeypatch, capsys):
    (tmp_path / "out" / "tables").mkdir(parents=True)
    (tmp_path / "out" / "ledger.jsonl").touch()  # of an earlier run
    ended_cases, done = cohort._ended_cases, []

    def interrupted(*arguments):
        if not done:
            done.append(next(ended_cases(*arguments)))
            yield done[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(cohort, "_ended_cases", interrupted)
    assert main([*quick, "--quiet"]) == 130
    assert "tables and the report are of an earlier run, older than some cases" in capsys.readouterr().err
    assert main([*quick, "--quiet"]) == 130  # nothing is newer
    assert "of an earlier run" not in capsys.readouterr().err


def test_a_full_disk_ends_the_cohort(tmp_path, quick, monkeypatch, capsys):
    (tmp_path / "in" / "a_broken.nrrd").write_text("hello")
    monkeypatch.setattr(cohort, "disk_usage", lambda _: namedtuple("Usage", "free")(5 << 20))
    assert main(quick) == 1
    assert f"the disk of {tmp_path / 'out'} is full" in capsys.readouterr().err
    assert [line["case"] for line in ledger(tmp_path)] == ["a_broken"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--model", "no-such-model"], "there is no model 'no-such-model'"),
        (["--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["--device", "cuda:0"], "give --device cuda"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(tmp_path, command, capsys, change, sentence):
    assert main([*command, *change]) == 1
    assert re.search(sentence, capsys.readouterr().err)
    assert not (tmp_path / "out" / "cases").exists()


def test_what_no_cohort_wrote_is_not_replaced(tmp_path, command, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("mine")
    assert main(command) == 1
    assert f"{tmp_path / 'out'} holds report.html, which no cohort wrote" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.html").read_text() == "mine"


def test_missing_packages_are_named(command, monkeypatch, capsys):
    monkeypatch.setattr(cohort, "find_spec", lambda name: None if name == "ray" else name)
    assert main(command) == 1
    assert "pip install 'slicer-attention-unet[cohort]'" in capsys.readouterr().err
