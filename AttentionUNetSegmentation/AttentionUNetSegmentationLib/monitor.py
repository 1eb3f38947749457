"""Progress and cancellation, handed from the caller down to the network's stages."""

from __future__ import annotations

import time
from collections.abc import Callable

ProgressCallback = Callable[[float, str], None]
CancelCheck = Callable[[], bool]


class Cancelled(RuntimeError):
    """The caller asked to stop; nothing was written."""

    def __init__(self) -> None:
        super().__init__("cancelled")


class Monitor:
    """Reports progress as a fraction of the whole run and raises ``Cancelled`` when asked to stop.

    Args:
        progress: Called with the fraction done in [0, 1], never falling, and the current step.
        cancel: Asked often; True stops the run.
    """

    def __init__(self, progress: ProgressCallback | None = None, cancel: CancelCheck | None = None) -> None:
        self._progress, self._cancel = progress, cancel
        self._low, self._high, self._step = 0.0, 1.0, ""
        self._done = 0.0
        self._step_began = time.monotonic()
        self.seconds: dict[str, float] = {}

    def check(self) -> None:
        """Raise ``Cancelled`` if the caller asked to stop."""
        if self._cancel is not None and self._cancel():
            raise Cancelled

    def begin(self, step: str, low: float, high: float) -> None:
        """Start a named step that covers the fractions ``low`` to ``high`` of the run."""
        self._finish_step()
        self._low, self._high, self._step = low, high, step
        self.update(0.0)

    def update(self, fraction: float, detail: str = "") -> None:
        """Report the fraction of the current step that is done."""
        self.check()
        done = self._low + min(1.0, max(0.0, fraction)) * (self._high - self._low)
        self._done = max(self._done, done)
        if self._progress is not None:
            self._progress(self._done, f"{self._step}: {detail}" if detail else self._step)

    def finish(self) -> None:
        """End the last step; the whole run is done."""
        self._finish_step()
        self._low = self._high = 1.0
        if self._progress is not None:
            self._progress(1.0, "done")

    def _finish_step(self) -> None:
        now = time.monotonic()
        if self._step:
            self.seconds[self._step] = round(self.seconds.get(self._step, 0.0) + now - self._step_began, 3)
        self._step, self._step_began = "", now
