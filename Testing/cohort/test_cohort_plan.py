"""How a computer is shared out among workers, and how progress is told."""

from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.cohort.driver import Ended
from AttentionUNetSegmentationLib.cohort.plan import Plan, plan_workers, takes_gpus
from AttentionUNetSegmentationLib.cohort.worker import Outcome
from AttentionUNetSegmentationLib.command.batch import CaseResult
from AttentionUNetSegmentationLib.command.cases import Case
from AttentionUNetSegmentationLib.command.cohort_progress import Pace


@pytest.mark.parametrize(
    ("asked", "plan"),
    [
        ({"cores": 2, "gpus": 0}, Plan(1, 2)),
        ({"cores": 64, "gpus": 0}, Plan(16, 4)),
        ({"cores": 2, "gpus": 0, "workers": 2}, Plan(2, 1)),
        ({"cores": 8, "gpus": 0, "threads": 1}, Plan(8, 1)),
        ({"cores": 2, "gpus": 0, "workers": 4, "threads": 2}, Plan(4, 2)),
        ({"cores": 32, "gpus": 2}, Plan(6, 4, 1 / 3)),
        ({"cores": 2, "gpus": 1}, Plan(2, 1, 1 / 2)),
        ({"cores": 32, "gpus": 2, "workers": 2}, Plan(2, 4, 1.0)),
        ({"cores": 32, "gpus": 2, "workers": 5}, Plan(5, 4, 1 / 3)),
    ],
)
def test_what_is_there_is_shared_out(asked, plan):
    assert plan_workers(**asked) == plan


@pytest.mark.parametrize(
    ("device", "backend", "expected"),
    [("auto", "auto", True), ("cuda:1", "torch", True), ("cpu", "auto", False), ("auto", "openvino", False)],
)
def test_a_gpu_is_taken_only_by_what_can_use_it(device, backend, expected):
    assert takes_gpus(device, backend) is expected


def test_pace_counts_only_cases_that_ran():
    pace = Pace(total=10, now=100.0)
    case = Case("a", Path("a"), Path("out"))
    assert pace.line(100.0) == "0 of 10 cases, 0 failed"
    pace.count(Ended(case, Outcome(CaseResult(case, skipped=True)), 1))
    assert pace.line(101.0) == "1 of 10 cases, 0 failed"
    pace.count(Ended(case, Outcome(CaseResult(case)), 1))
    pace.count(Ended(case, Outcome(CaseResult(case, error="no")), 3))
    assert pace.line(1300.0) == "3 of 10 cases, 1 failed, 6 an hour, 1 h 10 min 00 s left"
