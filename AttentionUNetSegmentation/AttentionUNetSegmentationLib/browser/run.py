"""One run of the network in a session: waits for its turn, runs in the background, and keeps what can be downloaded."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

import slicer

from ..models.cache import ModelCache
from ..monitor import CancelCheck, ProgressCallback
from ..scene.background_run import BackgroundRun, Callbacks
from ..scene.request import Request, Work, read, work
from ..volume import Segmentation
from .control import Control
from .ct import LoadedCT

POLL_SECONDS = 0.05
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a run made.

    Attributes:
        ct: Of which CT.
        segmentation: The engine's result.
        model: Name of the model.
        node: The organs in the scene.
    """

    ct: LoadedCT
    segmentation: Segmentation
    model: str
    node: slicer.vtkMRMLSegmentationNode


class Runner:
    """Runs the network for a session, one run at a time, when the front gives it a turn.

    Args:
        control: Asks the front.
        on_progress: Called with the fraction done in [0, 1] and the step.
        on_result: Called with what a run made.
        on_end: Called after every run with an error, or None after success and cancelling.
    """

    def __init__(
        self,
        control: Control,
        on_progress: ProgressCallback,
        on_result: Callable[[Result], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self._control, self._on_progress, self._on_result, self._on_end = control, on_progress, on_result, on_end
        self._cache = ModelCache()
        self._wanted: tuple[LoadedCT, Request] | None = None  # while it waits for its turn
        self._run: BackgroundRun | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a run waits or works."""
        return self._wanted is not None or self._run is not None

    def start(self, ct: LoadedCT, model: str, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Ask for a turn to segment a CT.

        Args:
            ct: The CT.
            model: Name of the model.
            node: Where the organs of an earlier run are, which are replaced; None for the first.
        """
        if self.is_busy:
            return
        request = Request(ct.node, node, model, replace_edited=True)
        read(request)  # what cannot be segmented is said before it waits
        self._wanted = (ct, request)
        self._control.ask()

    def cancel(self) -> None:
        """Stop the run, or do not wait for it any more."""
        if self._run is not None:
            self._run.cancel()
        elif self._wanted is not None:
            self._end(None)

    def begin(self) -> None:
        """It is this session's turn."""
        if self._wanted is None:  # cancelled meanwhile
            if self._run is None:
                self._control.release()
            return
        (ct, request), self._wanted = self._wanted, None
        try:
            # the voxels as they were read: the result is that of the command line
            inputs = dataclasses.replace(read(request), volumes=[ct.volume])
            kept: list[Segmentation] = []
            callbacks = Callbacks(
                on_progress=self._on_progress,
                on_finished=lambda node: self._finish(Result(ct, kept[0], inputs.model, node)),
                on_error=self._end,
                on_cancelled=lambda: self._end(None),
            )
            self._run = BackgroundRun(request, inputs, _keeping(work(request, inputs, self._cache), kept), callbacks)
            self._run.start()
        except Exception as error:  # a boundary: the page shows it
            logger.error("the run did not start", exc_info=error)
            self._end(error)
            return
        asyncio.get_running_loop().create_task(self._poll(self._run))

    def stop(self) -> None:
        """End a run; nothing is told any more."""
        if self._run is not None:
            self._run.stop(0)

    async def _poll(self, run: BackgroundRun) -> None:
        while run.is_running:
            run.poll()
            await asyncio.sleep(POLL_SECONDS)

    def _finish(self, result: Result) -> None:
        try:
            self._on_result(result)
        except Exception as error:  # a boundary: the page shows it
            logger.error("the result cannot be shown", exc_info=error)
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._run = self._wanted = None
        self._control.release()
        self._on_end(error)


def _keeping(make: Work, kept: list[Segmentation]) -> Work:
    """The same work, whose results are also kept for downloads."""

    def run(progress: ProgressCallback, cancel: CancelCheck) -> list[Segmentation]:
        results = make(progress, cancel)
        kept.extend(results)
        return results

    return run
