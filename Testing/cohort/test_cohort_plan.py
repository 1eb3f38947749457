"""How a computer is shared out among workers, and how progress is told."""

from pathlib import Path

import pytest

from AttentionUNetSegmentationLib.cohort.driver import Ended
from AttentionUNetSegmentationLib.cohort.plan import Node, Plan, plan_workers, takes_gpus
from AttentionUNetSegmentationLib.cohort.worker import Outcome
from AttentionUNetSegmentationLib.command.batch import CaseResult
from AttentionUNetSegmentationLib.command.cases import Case
from AttentionUNetSegmentationLib.command.cohort_progress import Pace


@pytest.mark.parametrize(
    ("nodes", "asked", "plan"),
    [
        ([Node(2)], {}, Plan(1, 2)),
        ([Node(64)], {}, Plan(16, 4)),
        ([Node(2)], {"workers": 2}, Plan(2, 1)),
        ([Node(8)], {"threads": 1}, Plan(8, 1)),
        ([Node(8)], {"workers": 4, "threads": 2}, Plan(4, 2)),
        ([Node(2), Node(2)], {}, Plan(2, 2)),
        ([Node(0), Node(6), Node(6)], {}, Plan(2, 4)),
        ([Node(4)], {"workers": 40}, Plan(40, 1)),
        ([Node(32, 2)], {}, Plan(6, 4, 1 / 3)),
        ([Node(2, 1)], {}, Plan(2, 1, 1 / 3)),
        ([Node(32, 2)], {"workers": 2}, Plan(2, 4, 1.0)),
        ([Node(32, 2)], {"workers": 5}, Plan(5, 4, 1 / 3)),
        ([Node(0, 2), Node(16), Node(16, 2)], {}, Plan(6, 2, 1 / 3)),
    ],
)
def test_what_is_there_is_shared_out(nodes, asked, plan):
    assert plan_workers(nodes, **asked) == plan


def test_a_worker_that_fits_no_computer_is_refused():
    with pytest.raises(ValueError, match="no computer has 4 cores for a worker"):
        plan_workers([Node(2), Node(3)], threads=4)


def test_a_gpu_by_its_number_is_refused():
    with pytest.raises(ValueError, match="give --device cuda, not cuda:1"):
        takes_gpus("cuda:1", "auto")


@pytest.mark.parametrize(
    ("device", "backend", "expected"),
    [("auto", "auto", True), ("cuda", "torch", True), ("cpu", "auto", False), ("auto", "openvino", False)],
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
