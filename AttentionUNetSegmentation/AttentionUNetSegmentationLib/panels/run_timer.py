"""The timer that keeps a background run going while Slicer's event loop runs."""

from __future__ import annotations

import time

import qt

from ..scene.background_run import BackgroundRun

TICK_MS = 20
YIELD_SECONDS = 0.01  # PythonQt holds the GIL in Slicer's event loop: without this the worker thread starves


class RunTimer:
    """Polls a run on the main thread until it has ended.

    (In Slicer the emptied object itself stays until the application ends: singleShot never lets go of what it called.)

    Args:
        run: The run, started.
    """

    def __init__(self, run: BackgroundRun) -> None:
        self._run: BackgroundRun | None = run
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def _tick(self) -> None:
        run = self._run
        if run is None:
            return
        time.sleep(YIELD_SECONDS)
        try:
            run.poll()
        finally:
            if not run.is_running:
                self.stop()

    def stop(self) -> None:
        """Let go of the run."""
        if self._run is None:
            return
        self._run = None
        self._timer.stop()
        self._timer.disconnect("timeout()", self._tick)  # PythonQt's connection keeps this alive, unseen by gc
        qt.QTimer.singleShot(0, lambda: self)  # the last reference may be gone, but the timer must outlive its slot
