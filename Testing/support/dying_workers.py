"""Workers of a cohort whose process ends in a case, as a fault in a decoder ends it."""

import os
import signal
from pathlib import Path

from AttentionUNetSegmentationLib.cohort.worker import Outcome, Worker
from AttentionUNetSegmentationLib.command.cases import Case


class DyingWorker(Worker):
    """Dies of every case called "deadly", and of one called "unlucky" the first time."""

    def run(self, case: Case) -> Outcome:
        """See Worker."""
        mark = Path(f"{case.folder}.died")
        if case.name == "deadly" or (case.name == "unlucky" and not mark.exists()):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(case)


class DeadOnArrival(Worker):
    """Dies before it has loaded the model."""

    def start(self) -> None:
        """See Worker."""
        os.kill(os.getpid(), signal.SIGKILL)
