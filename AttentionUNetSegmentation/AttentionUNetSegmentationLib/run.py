"""A segmentation that goes on in the background while Slicer can be used. Lives on Slicer's main thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import qt
import slicer

from .job import Job
from .monitor import Cancelled, ProgressCallback
from .request import Inputs, Request, write

TICK_MS = 20
YIELD_SECONDS = 0.01  # PythonQt holds the GIL in Slicer's event loop: without this the worker thread starves
STOP_SECONDS = 4.0  # cancelling takes effect within two
logger = logging.getLogger(__name__)


class Run:
    """Watches a job by a timer, and writes its results when it is done.

    The scene is touched by the timer's slot only, and only while the input volume is in it: closing the scene or
    removing the input cancels the run. One of the last three callbacks is called, once, as the last thing.

    Args:
        request: What was asked for.
        inputs: What was copied out of the scene for it.
        job: The work, not yet started.
        on_progress: Called with the fraction done in [0, 1] and the current step.
        on_finished: Called with the segmentation node.
        on_error: Called with the exception.
        on_cancelled: Called after a run that was cancelled.
    """

    def __init__(
        self,
        request: Request,
        inputs: Inputs,
        job: Job,
        on_progress: ProgressCallback,
        on_finished: Callable[[slicer.vtkMRMLSegmentationNode], None],
        on_error: Callable[[Exception], None],
        on_cancelled: Callable[[], None],
    ) -> None:
        self._request, self._inputs, self._job = request, inputs, job
        self._on_progress, self._on_finished = on_progress, on_finished
        self._on_error, self._on_cancelled = on_error, on_cancelled
        self._shown: tuple[float, str] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self._tick)
        self.is_running = False

    def start(self) -> None:
        """Start the work and the timer."""
        self.is_running = True
        self._job.start()
        self._timer.start()

    def cancel(self) -> None:
        """Ask the run to stop; ``on_cancelled`` follows within two seconds."""
        self._job.cancel()

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Cancel, and wait for the thread; nothing is written any more. True if the thread ended in time."""
        if not self.is_running:
            return True
        self._job.cancel()
        ended = self._job.wait(seconds)
        if not ended:
            logger.warning("the segmentation has not stopped after %.0f s; its result will be dropped", seconds)
        self._end()
        self._on_cancelled()
        return ended

    def _tick(self) -> None:
        if not self.is_running:
            return
        time.sleep(YIELD_SECONDS)
        if not self._input_is_there():
            self._job.cancel()
        if self._job.progress != self._shown and not self._job.is_cancelled:
            self._shown = self._job.progress
            self._on_progress(*self._shown)
        if self._job.is_done and self.is_running:
            self._finish()

    def _input_is_there(self) -> bool:
        node = self._request.volume_node
        return slicer.mrmlScene.GetNodeByID(node.GetID() or "") is node

    def _finish(self) -> None:
        self._end()
        try:
            outcomes = self._job.result()
            if self._job.is_cancelled:
                raise Cancelled
            node = write(self._request, self._inputs, outcomes)
        except Cancelled:
            self._on_cancelled()
        except Exception as error:  # a boundary: reported to the user by the callback
            logger.error("the segmentation failed", exc_info=error)
            self._on_error(error)
        else:
            self._on_finished(node)

    def _end(self) -> None:
        self.is_running = False
        self._timer.stop()
