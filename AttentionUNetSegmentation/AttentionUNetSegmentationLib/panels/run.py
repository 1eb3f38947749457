"""A segmentation that goes on in the background while Slicer can be used. Lives on Slicer's main thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import qt
import slicer

from ..monitor import Cancelled, ProgressCallback
from ..scene.job import Job
from ..scene.request import Inputs, Request, write

TICK_MS = 20
YIELD_SECONDS = 0.01  # PythonQt holds the GIL in Slicer's event loop: without this the worker thread starves
STOP_SECONDS = 4.0  # cancelling takes effect within two
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """All that a run needs while it goes on; see ``Run``."""

    request: Request
    inputs: Inputs
    job: Job
    on_progress: ProgressCallback
    on_finished: Callable[[slicer.vtkMRMLSegmentationNode], None]
    on_error: Callable[[Exception], None]
    on_cancelled: Callable[[], None]


class Run:
    """Watches a job by a timer, and writes its results when it is done.

    The scene is touched by the timer's slot only, and only while the input volume is in it: closing the scene or
    removing the input cancels the run. One of the last three callbacks is called, once, as the last thing. A run that
    ended keeps nothing: neither the volumes, nor the results, nor the callbacks. (In Slicer the emptied object itself
    stays until the application ends: Slicer's singleShot never lets go of what it called.)

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
        self._task: _Task | None = _Task(request, inputs, job, on_progress, on_finished, on_error, on_cancelled)
        self._shown: tuple[float, str] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self._tick)
        self.is_running = False

    def start(self) -> None:
        """Start the work and the timer."""
        self.is_running = True
        self._task.job.start()
        self._timer.start()

    def cancel(self) -> None:
        """Ask the run to stop; ``on_cancelled`` follows within two seconds. Nothing happens after its end."""
        if self._task is not None:
            self._task.job.cancel()

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Cancel, and wait for the thread; nothing is written any more. True if the thread ended in time."""
        if not self.is_running:
            return True
        task = self._end()
        task.job.cancel()
        ended = task.job.wait(seconds)
        if not ended:
            logger.warning("the segmentation has not stopped after %.0f s; its result will be dropped", seconds)
        task.on_cancelled()
        return ended

    def _tick(self) -> None:
        if not self.is_running:
            return
        time.sleep(YIELD_SECONDS)
        try:
            self._watch(self._task)
        finally:
            if not self.is_running:  # the last reference may be gone, but Qt's timer must outlive its own slot
                qt.QTimer.singleShot(0, lambda: self)

    def _watch(self, task: _Task) -> None:
        if not _input_is_there(task.request):
            task.job.cancel()
        if task.job.progress != self._shown and not task.job.is_cancelled:
            self._shown = task.job.progress
            task.on_progress(*self._shown)
        if task.job.is_done and self.is_running:
            self._end()
            _finish(task)

    def _end(self) -> _Task:
        """Stop watching, and let go of the task, which is the caller's now."""
        self.is_running = False
        self._timer.stop()
        self._timer.disconnect("timeout()", self._tick)  # PythonQt's connection keeps the run alive, unseen by gc
        task, self._task = self._task, None
        return task


def _input_is_there(request: Request) -> bool:
    node = request.volume_node
    return slicer.mrmlScene.GetNodeByID(node.GetID() or "") is node


def _finish(task: _Task) -> None:
    try:
        outcomes = task.job.result()
        if task.job.is_cancelled:
            raise Cancelled
        node = write(task.request, task.inputs, outcomes)
    except Cancelled:
        task.on_cancelled()
    except Exception as error:  # a boundary: reported to the user by the callback
        logger.error("the segmentation failed", exc_info=error)
        task.on_error(error)
    else:
        task.on_finished(node)
