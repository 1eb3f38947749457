"""A segmentation that goes on in a thread of its own while the scene can be used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import slicer

from ..monitor import Cancelled, ProgressCallback
from ..volume import Segmentation
from . import runtimes
from .request import Inputs, Request, Work, write

STOP_SECONDS = 4.0  # cancelling takes effect within two
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Callbacks:
    """Whom a run tells, on the thread that polls it; one of the last three is called, once, as the last thing.

    Attributes:
        on_progress: Called with the fraction done in [0, 1] and the current step.
        on_finished: Called with the segmentation node.
        on_error: Called with the exception.
        on_cancelled: Called after a run that was cancelled.
    """

    on_progress: ProgressCallback
    on_finished: Callable[[slicer.vtkMRMLSegmentationNode], None]
    on_error: Callable[[Exception], None]
    on_cancelled: Callable[[], None]


@dataclass(frozen=True)
class _Job:
    """What a run has to hold until its end, and lets go of then."""

    request: Request
    inputs: Inputs
    callbacks: Callbacks


class BackgroundRun:
    """Does the work on a worker thread; whoever owns the scene polls it, and writes the result by that.

    The worker touches neither the scene nor the callbacks. The scene is touched by ``poll`` only, and only while the
    input volume is in it: closing the scene or removing the input cancels the run. A run that ended keeps nothing:
    neither the volumes, nor the results, nor the callbacks.

    Args:
        request: What was asked for.
        inputs: What was copied out of the scene for it.
        work: Does it; reports its progress, and raises ``Cancelled`` when asked to stop.
        callbacks: Whom to tell.
    """

    def __init__(self, request: Request, inputs: Inputs, work: Work, callbacks: Callbacks) -> None:
        self._job: _Job | None = _Job(request, inputs, callbacks)
        self._work = work
        self._cancel = threading.Event()
        self._done = threading.Event()
        self._progress = self._shown = (0.0, "")
        self._results: Sequence[Segmentation] = ()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._do_work, name="AttentionUNet", daemon=True)
        self.is_running = False

    def start(self) -> None:
        """Start the thread; from now on ``poll`` has to be called often."""
        self.is_running = True
        self._thread.start()

    def cancel(self) -> None:
        """Ask the work to stop; ``on_cancelled`` follows within two seconds. Nothing happens after the end.

        PyTorch and OpenVINO cannot be stopped while they load: the run ends at once, its thread when that is done.
        """
        self._cancel.set()

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Cancel, and wait for the thread; nothing is written any more. True if the thread ended in time.

        A scene that is being closed does not wait for packages to load.
        """
        if self._job is None or not self.is_running:
            return True
        self._cancel.set()
        ended = self._done.wait(0.0 if runtimes.is_loading() and slicer.mrmlScene.IsClosing() else seconds)
        if not ended and not runtimes.is_loading():
            logger.warning("the segmentation has not stopped after %.0f s; its result will be dropped", seconds)
        self._give_up(self._job)
        return ended

    def poll(self) -> None:
        """Report progress, and when the work is done write its results; for the thread that owns the scene."""
        if self._job is None or not self.is_running:
            return
        if not _is_in_scene(self._job.request.volume_node):
            self._cancel.set()
        if self._progress != self._shown and not self._cancel.is_set():
            self._shown = self._progress
            self._job.callbacks.on_progress(*self._shown)
        if not self.is_running or self._job is None:  # a callback may have stopped it
            return
        if self._done.is_set():
            if not slicer.mrmlScene.IsBatchProcessing():  # timers run while Slicer loads a scene
                self._finish(self._job)
        elif self._cancel.is_set() and runtimes.is_loading():
            self._give_up(self._job)

    def _give_up(self, job: _Job) -> None:
        self._end()
        job.callbacks.on_cancelled()

    def _finish(self, job: _Job) -> None:
        results, error = self._results, self._error
        self._end()
        try:
            if error is not None:
                raise error
            if self._cancel.is_set():
                raise Cancelled
            node = write(job.request, job.inputs, results)
        except Cancelled:
            job.callbacks.on_cancelled()
        except Exception as failure:  # a boundary: reported to the user by the callback
            logger.error("the segmentation failed", exc_info=failure)
            job.callbacks.on_error(failure)
        else:
            job.callbacks.on_finished(node)
        finally:
            del error  # its traceback refers to this frame, and the frames of the work to its voxels

    def _end(self) -> None:
        """Let go of everything; what is still needed is the caller's now."""
        self.is_running = False
        self._job = self._error = None
        self._results = ()

    def _report(self, fraction: float, step: str) -> None:
        self._progress = (fraction, step)

    def _do_work(self) -> None:
        try:
            results = self._work(self._report, self._cancel.is_set)
            if self.is_running:  # else it was given up, and nobody will ask
                self._results = results
        except BaseException as error:  # a boundary: raised again by the thread that polls
            logger.debug("the work ended early", exc_info=True)
            if self.is_running:
                self._error = error
        finally:
            self._work = lambda progress, cancel: []  # lets go of the voxels
            self._done.set()


def _is_in_scene(node: slicer.vtkMRMLNode) -> bool:
    return slicer.mrmlScene.GetNodeByID(node.GetID() or "") is node
