"""What a worker does, and what is said of its death, without Ray's processes."""

import json
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError

from AttentionUNetSegmentationLib.cohort import worker as worker_module
from AttentionUNetSegmentationLib.cohort.driver import _sentence_on_death
from AttentionUNetSegmentationLib.cohort.worker import Settings, Worker
from AttentionUNetSegmentationLib.command.cases import Case
from AttentionUNetSegmentationLib.inference import devices
from AttentionUNetSegmentationLib.models.loading import load_model
from AttentionUNetSegmentationLib.pipeline import Options
from support import phantom_files


@pytest.fixture
def settings(tiny_model) -> Settings:
    sha256 = load_model(tiny_model).spec.weights.sha256
    return Settings(str(tiny_model), sha256, Options(backend="openvino"), overwrite=False, threads=1)


def test_a_worker_that_runs_openvino_starts_where_there_is_a_gpu(settings, monkeypatch):
    monkeypatch.setattr(devices, "find_gpu", lambda: "cuda")
    monkeypatch.setattr(devices, "_why_unavailable", lambda *_: "")
    assert devices.choose_device("auto") == "cuda"
    Worker(settings).start()


def test_the_series_of_a_case_that_fails_after_reading_are_not_called_unreadable(settings, tmp_path, monkeypatch):
    phantom_files.write_slices(tmp_path / "study", phantom_files.scan())
    worker = Worker(settings)
    worker.start()
    monkeypatch.setattr(worker_module, "result_of", lambda case, *_: worker_module.CaseResult(case, error="disk full"))
    outcome = worker.run(Case("study", tmp_path / "study", tmp_path / "out"))
    assert [(row["used"], row["reason"]) for row in outcome.series] == [(False, "its case failed")]
    json.dumps(outcome.series)


@pytest.mark.parametrize(("attempts", "said"), [(1, "died (it was"), (3, "died, 3 times (it was")])
def test_a_death_is_told_with_the_number_of_attempts(attempts, said):
    case = Case("a", Path("a.nii.gz"), Path("out"))
    assert said in _sentence_on_death(case, ActorDiedError(), attempts)
