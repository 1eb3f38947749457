"""One piece of work on a thread of its own, watched from another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..monitor import CancelCheck, ProgressCallback

Result = TypeVar("Result")
Work = Callable[[ProgressCallback, CancelCheck], Result]
logger = logging.getLogger(__name__)


class Job(Generic[Result]):
    """Runs ``work(progress, cancel)`` on a worker thread; nothing of it touches the caller's thread.

    Args:
        work: Does the work; reports through ``progress``, and raises ``Cancelled`` when ``cancel`` says so.
    """

    def __init__(self, work: Work[Result]) -> None:
        self._work: Work[Result] | None = work
        self._cancel = threading.Event()
        self._done = threading.Event()
        self._progress: tuple[float, str] = (0.0, "")
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._is_handed_over = False
        self._thread = threading.Thread(target=self._run, name="AttentionUNet", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask the work to stop; it raises ``Cancelled`` soon after."""
        self._cancel.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; True if it came in time."""
        return self._done.wait(seconds)

    @property
    def is_done(self) -> bool:
        """Whether the work ended, in whatever way."""
        return self._done.is_set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work was asked to stop, be it done or not."""
        return self._cancel.is_set()

    @property
    def progress(self) -> tuple[float, str]:
        """Fraction done in [0, 1], and the current step."""
        return self._progress

    def result(self) -> Result:
        """What the work returned; handed over once, so that it is freed when the caller is done with it.

        Raises:
            RuntimeError: If it is still running, or was asked for before.
            BaseException: Whatever the work raised.
        """
        if not self.is_done:
            raise RuntimeError("the work is still running")
        if self._is_handed_over:
            raise RuntimeError("the result of the work was handed over already")
        self._is_handed_over = True
        result, error = self._result, self._error
        self._result = self._error = None
        if error is not None:
            try:
                raise error
            finally:
                del error  # whose traceback refers to this frame, and the frames of the work to its voxels
        return result

    def _report(self, fraction: float, step: str) -> None:
        self._progress = (fraction, step)

    def _run(self) -> None:
        try:
            self._result = self._work(self._report, self._cancel.is_set)
        except BaseException as error:  # a boundary: raised again by result()
            logger.debug("the work ended early", exc_info=True)
            self._error = error
        finally:
            self._work = None  # lets go of the voxels
            self._done.set()
