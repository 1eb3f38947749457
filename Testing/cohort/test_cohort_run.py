"""A cohort on this computer's own Ray: retries, deaths, errors, going on, the ledger."""

import json
import shutil

import pytest

from AttentionUNetSegmentationLib.cohort import driver
from AttentionUNetSegmentationLib.cohort.driver import Driver
from AttentionUNetSegmentationLib.cohort.inputs import find_cohort
from AttentionUNetSegmentationLib.cohort.ledger import Ledger
from AttentionUNetSegmentationLib.cohort.worker import Settings
from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.models.loading import load_model
from AttentionUNetSegmentationLib.pipeline import Options
from support import phantom_files
from support.dying_workers import DeadOnArrival, DyingWorker


@pytest.fixture
def settings(tiny_model) -> Settings:
    sha256 = load_model(tiny_model).spec.weights.sha256
    return Settings(str(tiny_model), sha256, Options(backend="openvino"), overwrite=False, threads=1)


@pytest.fixture
def cohort(tmp_path):
    """A folder with two CTs in "in", for results in "out"."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        write_volume(phantom_files.scan(), tmp_path / "in" / f"{name}.nii.gz")
    return tmp_path


def run(cohort, settings, workers=1):
    cases = find_cohort(cohort / "in", cohort / "out")
    return {ended.case.name: ended for ended in Driver(settings).run(cases, workers)}


def test_cases_are_run_once_and_what_fails_is_told(ray_here, cohort, settings):
    (cohort / "in" / "bad.nii.gz").write_text("hello")
    first = run(cohort, settings)
    assert {name: ended.outcome.result.as_json()["status"] for name, ended in first.items()} == {
        "a": "done",
        "b": "done",
        "bad": "failed",
    }
    assert str(cohort / "in" / "bad.nii.gz") in first["bad"].outcome.result.error
    assert (cohort / "out" / "cases" / "a" / "labels.nii.gz").is_file()
    assert not (cohort / "out" / "cases" / "bad").exists()
    shutil.copy(cohort / "in" / "a.nii.gz", cohort / "in" / "new.nii.gz")
    again = run(cohort, settings)
    assert {name for name, ended in again.items() if ended.outcome.result.skipped} == {"a", "b"}
    assert again["new"].outcome.seconds > 0


def test_another_mount_of_the_same_files_is_the_same_cohort(ray_here, cohort, settings):
    run(cohort, settings)
    moved = cohort / "elsewhere"
    moved.mkdir()
    for folder in ("in", "out"):
        (cohort / folder).rename(moved / folder)
    assert all(ended.outcome.result.skipped for ended in run(moved, settings).values())


def test_another_cohort_with_the_same_names_replaces_nothing(ray_here, cohort, settings):
    run(cohort, settings)
    before = (cohort / "out" / "cases" / "a" / "report.json").read_bytes()
    (cohort / "in").rename(cohort / "other")
    cases = find_cohort(cohort / "other", cohort / "out")
    errors = [ended.outcome.result.error for ended in Driver(settings).run(cases, 1)]
    assert all("holds the result of another input, in/" in error for error in errors)
    assert (cohort / "out" / "cases" / "a" / "report.json").read_bytes() == before


def test_a_case_that_kills_its_worker_costs_only_itself(ray_here, cohort, settings, monkeypatch):
    monkeypatch.setattr(driver, "Worker", DyingWorker)
    for name in ("deadly", "unlucky"):
        shutil.copy(cohort / "in" / "a.nii.gz", cohort / "in" / f"{name}.nii.gz")
    ended = run(cohort, settings, workers=2)
    assert {name: entry.attempts for name, entry in ended.items()} == {"a": 1, "b": 1, "deadly": 3, "unlucky": 2}
    error = ended["deadly"].outcome.result.error
    assert error.startswith(f"{cohort / 'in' / 'deadly.nii.gz'}: the process that ran it died, 3 times")
    assert [name for name, entry in ended.items() if not entry.outcome.result.succeeded] == ["deadly"]


def test_workers_that_die_at_once_end_the_cohort(ray_here, cohort, settings, monkeypatch):
    monkeypatch.setattr(driver, "Worker", DeadOnArrival)
    with pytest.raises(RuntimeError, match="workers die while they start"):
        run(cohort, settings)


def test_other_weights_on_a_computer_end_the_cohort(ray_here, cohort, settings):
    other = Settings(settings.model, "0" * 64, settings.options, False, 1)
    with pytest.raises(RuntimeError, match="has other weights of model"):
        run(cohort, other)
    assert not (cohort / "out").exists()


def test_a_study_without_a_scan_fails_with_its_series(ray_here, tmp_path, settings):
    phantom_files.write_slices(tmp_path / "in" / "p" / "mr", phantom_files.scan(), series="1.2.9", modality="MR")
    ended = run(tmp_path, settings)["p/mr"]
    assert "no CT series" in ended.outcome.result.error
    assert [(row["series_uid"], row["used"], row["reason"]) for row in ended.outcome.series] == [
        ("1.2.9", False, "of modality MR, not CT")
    ]


def test_the_ledger_tells_how_each_case_ended(ray_here, cohort, settings):
    phantom_files.write_slices(cohort / "in" / "study", phantom_files.scan())
    phantom_files.write_slices(cohort / "in" / "study", phantom_files.scan((2, 20, 22)), series="1.2.4")
    (cohort / "in" / "bad.nii.gz").write_text("hello")
    ledger = Ledger(cohort / "out")
    with pytest.raises(RuntimeError, match="another attention-unet cohort writes to"):
        Ledger(cohort / "out")
    for ended in run(cohort, settings).values():
        ledger.enter(ended)
    ledger.close()
    lines = [json.loads(line) for line in (cohort / "out" / "ledger.jsonl").read_text().splitlines()]
    assert {line["case"]: line["status"] for line in lines} == {
        "a": "done",
        "b": "done",
        "bad": "failed",
        "study": "done",
    }
    assert ledger.counts == {"done": 3, "failed": 1}
    records = {record["case"]: record for record in ledger.records()}
    assert list(records) == ["a", "b", "bad", "study"]
    written = json.loads((cohort / "out" / "cases" / "a" / "report.json").read_text())
    assert records["a"]["report"] == written
    assert records["a"]["source"] == written["run"]["input"] == "in/a.nii.gz"
    assert records["bad"]["report"] is None and "bad.nii.gz" in records["bad"]["error"]
    used = {row["series_uid"]: (row["images"], row["used"], row["reason"]) for row in records["study"]["series"]}
    assert used == {
        "1.2.3": (24, True, ""),
        "1.2.4": (2, False, "another CT series of the folder is larger"),
    }
    with (cohort / "out" / "ledger.jsonl").open("a") as stream:
        stream.write('{"time": ')  # as a full disk leaves it
    (cohort / "out" / "tables" / ".writing-x").mkdir(parents=True)
    Ledger(cohort / "out").close()
    assert (cohort / "out" / "ledger.jsonl").read_text().endswith('{"time": \n')
    assert not list((cohort / "out" / "tables").iterdir())


def test_a_report_that_lost_a_number_is_a_failed_case_that_names_it(ray_here, cohort, settings):
    ended = run(cohort, settings)
    path = cohort / "out" / "cases" / "a" / "report.json"
    report = json.loads(path.read_text())
    del report["provenance"]["seconds"]
    path.write_text(json.dumps(report))
    ledger = Ledger(cohort / "out")
    for entry in ended.values():
        ledger.enter(entry)
    ledger.close()
    assert ledger.counts == {"done": 1, "failed": 1}
    (record, _) = ledger.records()
    assert record["error"] == (
        f"{path} was changed, or is another version's (KeyError: 'seconds'): delete it, and run again"
    )


def test_no_computer_left_ends_the_cohort(settings, monkeypatch):
    monkeypatch.setattr(driver, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(driver.ray, "wait", lambda *_, **__: ([], []))
    monkeypatch.setattr(driver.ray, "nodes", lambda: [{"Alive": False}, {"Alive": False}])
    with pytest.raises(RuntimeError, match="Ray has ended on all computers, so no worker can start"):
        Driver(settings)._next_answer()


def test_a_result_that_cannot_be_seen_from_here_is_no_result(ray_here, cohort, settings):
    ended = run(cohort, settings)
    ledger = Ledger(cohort / "out")
    shutil.rmtree(cohort / "out" / "cases" / "a")
    for entry in ended.values():
        ledger.enter(entry)
    ledger.close()
    assert ledger.counts == {"done": 1, "failed": 1}
    (record, _) = ledger.records()
    assert (record["status"], record["report"]) == ("failed", None) and "has no report" in record["error"]
