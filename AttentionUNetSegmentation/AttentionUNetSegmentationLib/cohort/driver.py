"""Hands cases to workers one by one, and hands a case on when its worker dies.

A worker gets a case when it has none, so memory is bounded by the number of workers. A process that dies, or a computer
that is lost, costs the case that ran there an attempt; another worker takes it up, after all others.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from ..command.batch import CaseResult
from ..command.cases import Case
from ..errors import one_sentence, printable, sentence_on
from .worker import Outcome, Settings, Worker

MAX_ATTEMPTS = 3
SILENT_SECONDS = 60.0  # after which it is asked whether any computer is left to start workers on
MAX_FAILED_STARTS = 3  # in a row, of workers that die before they have loaded the model


@dataclass(frozen=True)
class Ended:
    """A case that has ended, and in which attempt."""

    case: Case
    outcome: Outcome
    attempts: int


class Driver:
    """Runs a cohort on a cluster that Ray is connected to.

    Args:
        settings: What is the same for all cases.
        gpus: Of each worker, a fraction if several share one.
    """

    def __init__(self, settings: Settings, gpus: float = 0.0) -> None:
        self._settings = settings
        self._actor = ray.remote(num_cpus=settings.threads, num_gpus=gpus, max_restarts=0)(Worker)
        self._starting: dict[Any, Any] = {}  # workers by what they will answer
        self._running: dict[Any, tuple[Any, Case]] = {}
        self._failed_starts = 0
        self._stopped = False

    def run(self, cases: Sequence[Case], workers: int) -> Generator[Ended, None, None]:
        """Run cases; yields each as it ends. Closing the iterator ends those that run.

        Raises:
            RuntimeError: If workers cannot start.
        """
        waiting = deque(cases)
        attempts: Counter[str] = Counter()
        idle: list[Any] = []
        for _ in range(min(workers, len(cases))):
            self._start_worker()
        try:
            while self._running or (waiting and not self._stopped):
                while waiting and idle and not self._stopped:
                    worker, case = idle.pop(), waiting.popleft()
                    attempts[case.name] += 1
                    self._running[worker.run.remote(case)] = worker, case
                answer = self._next_answer()
                if answer in self._starting:
                    idle += self._started(answer)
                    continue
                worker, case = self._running.pop(answer)
                try:
                    outcome = ray.get(answer)
                    idle.append(worker)
                except RayError as death:
                    ray.kill(worker)  # an error that nothing foresaw leaves it alive
                    self._start_worker()
                    if attempts[case.name] < MAX_ATTEMPTS and not self._stopped:
                        waiting.append(case)
                        continue
                    outcome = Outcome(CaseResult(case, error=_sentence_on_death(case, death, attempts[case.name])))
                yield Ended(case, outcome, attempts[case.name])
        finally:
            for worker in [*idle, *self._starting.values(), *(worker for worker, _ in self._running.values())]:
                ray.kill(worker)

    def stop(self) -> None:
        """Let no more cases begin."""
        self._stopped = True

    def _start_worker(self) -> None:
        worker: Any = self._actor.remote(self._settings)
        self._starting[worker.start.remote()] = worker

    def _next_answer(self) -> Any:
        """The next answer of any worker; asked for again and again, so that Ctrl-C is noticed."""
        asked = time.monotonic()
        while True:
            answered, _ = ray.wait([*self._starting, *self._running], num_returns=1, timeout=1)
            if answered:
                return answered[0]
            if not self._running and time.monotonic() - asked > SILENT_SECONDS:
                if not any(node["Alive"] for node in ray.nodes()):
                    raise RuntimeError("Ray has ended on all computers, so no worker can start")
                asked = time.monotonic()

    def _started(self, answer: Any) -> list[Any]:
        worker = self._starting.pop(answer)
        try:
            ray.get(answer)
        except RayTaskError as error:
            raise RuntimeError(f"workers cannot start: {one_sentence(error.cause)}") from error
        except RayError as death:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                last_line = printable(str(death).strip().splitlines()[-1])
                raise RuntimeError(f"workers die while they start: {last_line}") from death
            self._start_worker()
            return []
        self._failed_starts = 0
        return [worker]


def _sentence_on_death(case: Case, death: RayError, attempts: int) -> str:
    if isinstance(death, RayTaskError):
        return sentence_on(case.source, death.cause)
    why = "memory ran out" if isinstance(death, OutOfMemoryError) else "it was killed, or a library failed"
    times = f", {attempts} times" if attempts > 1 else ""
    return f"{printable(case.source)}: the process that ran it died{times} ({why})"
