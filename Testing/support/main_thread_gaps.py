"""How long the main thread is kept from its event loop in the first run of a process, on the CPU.

Run as a script, for a CT of K J I voxels and an import of OpenVINO that takes some seconds longer, by a sleep:
``python main_thread_gaps.py 240 512 512 0``; ``torch`` as last argument takes PyTorch, as if OpenVINO were missing.
Prints JSON: the longest gap between two ticks of a timer up to the end of the work (of all, and by what the panel
shows as the gap begins), what the write of the nodes took, and on which threads either package was imported.
"""

import importlib.abc
import json
import sys
import threading
import time
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
MODULE = TESTING.parent / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"


class SlowImports(importlib.abc.MetaPathFinder):
    """Makes the import of OpenVINO and PyTorch slower, and notes the thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.threads = seconds, {}

    def find_spec(self, name, path=None, target=None):
        if name in ("torch._C", "openvino._pyopenvino"):  # what an import needs, and a search for a spec does not
            self.threads[name.split(".")[0]] = threading.current_thread().name
            time.sleep(self.seconds)
        return None


def measure(shape_kji: tuple[int, int, int], import_seconds: float, torch: bool = False, cancel: bool = False) -> dict:
    """Click Segment on a CT of that shape; with ``cancel``, Cancel as soon as the package is being imported."""
    imports = SlowImports(import_seconds)
    sys.meta_path.insert(0, imports)
    import numpy as np

    import slicer_host

    slicer = slicer_host.start()
    import qt

    slicer_host.load_module(MODULE)
    from AttentionUNetSegmentationLib.inference import devices

    devices.find_gpu = lambda: ""
    if torch:
        devices.has_openvino = lambda: False
    widget = slicer_host.enter("AttentionUNetSegmentation")
    k, j, i = np.ogrid[: shape_kji[0], : shape_kji[1], : shape_kji[2]]
    ct = slicer.util.addVolumeFromArray((40 + (k + j + i) % 30).astype(np.int16), name="CT")
    ct.SetSpacing(*(min(2.0, 320 / n) for n in shape_kji[::-1]))
    slicer_host.wait_until(lambda: widget.ui.segmentButton.enabled)
    assert not {"torch", "openvino", "SimpleITK"} & set(sys.modules)
    ticks, steps, write_seconds = [], [], []
    timer = qt.QTimer()
    timer.setInterval(5)
    timer.connect("timeout()", lambda: ticks.append((time.monotonic(), widget.ui.statusLabel.text)))
    from AttentionUNetSegmentationLib.scene import background_run

    write = background_run.write

    def timed_write(*arguments):
        timer.stop()
        began = time.monotonic()
        ticks.append((began, "the end"))
        try:
            return write(*arguments)
        finally:
            write_seconds.append(time.monotonic() - began)

    background_run.write = timed_write
    timer.start()
    slicer_host.process_events(0.05)
    clicked = time.monotonic()
    widget.ui.segmentButton.click()
    click_seconds = time.monotonic() - clicked
    if cancel:
        slicer_host.wait_until(lambda: imports.threads, 60)
        clicked = time.monotonic()
        widget.ui.cancelButton.click()
    while widget.logic.isRunning:
        steps.append(widget.ui.statusLabel.text)
        slicer_host.process_events(0.005)
    ended = time.monotonic() - clicked
    gaps = np.diff([moment for moment, _ in ticks])
    longest: dict[str, float] = {}
    for gap, (_, step) in zip(gaps.tolist(), ticks, strict=False):
        longest[step] = max(longest.get(step, 0.0), round(gap, 3))
    found = {
        "longest_gap_s": max(longest.values()),
        "longest_gap_by_step_s": longest,
        "click_s": round(click_seconds, 3),
        "write_s": [round(seconds, 3) for seconds in write_seconds],
        "run_s": round(ended, 3),
        "threads": imports.threads,
        "steps": list(dict.fromkeys(steps)),
        "status": widget.ui.statusLabel.text,
        "errors": [message.text for message in slicer_host.shown_messages("error")],
    }
    slicer_host.check()
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(TESTING))
    *size, delay = (float(argument) for argument in sys.argv[1:5])
    print(json.dumps(measure(tuple(int(n) for n in size), delay, "torch" in sys.argv, "cancel" in sys.argv)))
