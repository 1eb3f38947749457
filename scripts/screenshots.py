"""Draws the README's picture of the module's panel after a run (``make screenshots``).

It is drawn off screen by the headless host, by Qt through stand-ins of Slicer's widgets: no photograph of the
application's window.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import slicer_host

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"
SAMPLE = "SyntheticAbdomenCT"
GATE = "s2-2"
WIDTH = 600
TIMEOUT_S = 300.0


def main() -> int:
    """Segment the sample CT by the panel's buttons and draw; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs/panel.png", help="where the picture goes")
    parsed = parser.parse_args()
    parsed.output.parent.mkdir(parents=True, exist_ok=True)
    slicer = slicer_host.start()
    try:
        slicer_host.load_module(MODULE)
        widget = slicer_host.enter("AttentionUNetSegmentation")
        _segment(widget, slicer)
        _draw(widget, parsed.output)
        slicer_host.check()
    finally:
        slicer_host.stop()
    return 0


def _segment(widget, slicer) -> None:
    import SampleData

    node = SampleData.SampleDataLogic().downloadSample(SAMPLE)
    slicer.util.setSliceViewerLayers(background=node)
    slicer_host.process_events(0.5)
    if widget.ui.inputSelector.currentNode() is not node:
        raise RuntimeError("the only CT was not chosen as input")
    widget.ui.segmentButton.click()
    slicer_host.wait_until(lambda: not widget.logic.isRunning, TIMEOUT_S)
    slicer_host.process_events(0.5)


def _draw(widget, path: Path) -> None:
    from slicer_host import render

    widget.ui.gateSelector.setCurrentText(GATE)
    slicer_host.process_events(0.2)
    panel = widget.parent
    panel.resize(WIDTH, panel.heightForWidth(WIDTH))
    render.save_widget(panel, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
