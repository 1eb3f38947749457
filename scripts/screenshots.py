"""Draws the pictures of the README (``make screenshots``): slice views, attention overlays, 3D and the module's panel.

They are rendered off screen by the headless host: Slicer's own slice and 3D pipelines (slicer-core), the panel by Qt
through stand-ins of Slicer's widgets. They are no photographs of the application's window.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import slicer_host

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"
SAMPLE = "SyntheticAbdomenCT"
ORGAN = "pancreas"  # the views are centred on it
GATES = ("s2-2", "s3-1", "mean s2")
VIEW = (460, 400)  # pixels
GAP = 6
TIMEOUT_S = 300.0


def main() -> int:
    """Segment the sample CT by the panel's buttons and draw; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for the pictures")
    parsed = parser.parse_args()
    parsed.output.mkdir(parents=True, exist_ok=True)
    slicer = slicer_host.start()
    try:
        slicer_host.load_module(MODULE)
        widget = slicer_host.enter("AttentionUNetSegmentation")
        _segment(widget, slicer)
        _jump_to(widget, ORGAN)
        _draw(widget, parsed.output)
        slicer_host.check()
    finally:
        slicer_host.stop()
    return 0


def _segment(widget, slicer) -> None:
    import SampleData

    node = SampleData.SampleDataLogic().downloadSample(SAMPLE)
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(400, 40)
    slicer.util.setSliceViewerLayers(background=node)
    slicer_host.process_events(0.5)
    if widget.ui.inputSelector.currentNode() is not node:
        raise RuntimeError("the only CT was not chosen as input")
    widget.ui.segmentButton.click()
    slicer_host.wait_until(lambda: not widget.logic.isRunning, TIMEOUT_S)
    slicer_host.process_events(0.5)


def _jump_to(widget, organ: str) -> None:
    table = widget.ui.organTable
    for row in range(table.rowCount):
        for column in range(table.columnCount):
            item = table.item(row, column)
            if item is not None and item.text() == organ:
                table.cellDoubleClicked.emit(row, column)
                slicer_host.process_events(0.2)
                return
    raise RuntimeError(f"the table lists no {organ}")


def _draw(widget, folder: Path) -> None:
    from slicer_host import render

    widget.ui.show3DButton.click()
    slicer_host.process_events(0.2)
    views = [render.render_slice(name, VIEW) for name in ("Red", "Yellow", "Green")]
    render.save_png(_montage([views[0], render.render_3d(VIEW), views[1], views[2]], 2), folder / "slice_views.png")
    overlays = []
    for gate in GATES:
        widget.ui.gateSelector.setCurrentText(gate)
        slicer_host.process_events(0.2)
        overlays.append(render.render_slice("Red", VIEW))
    render.save_png(_montage(overlays, len(GATES)), folder / "attention.png")
    panel = widget.parent
    panel.resize(520, panel.sizeHint.height())
    render.grab_widget(panel, folder / "panel.png")
    for name in ("slice_views", "attention", "panel"):
        print(f"wrote {folder / name}.png")


def _montage(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size (H, W, 3) side by side, with a gap of a few pixels."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for n, picture in enumerate(pictures):
        top, left = (n // columns) * (height + GAP), (n % columns) * (width + GAP)
        canvas[top : top + height, left : left + width] = picture
    return canvas


if __name__ == "__main__":
    sys.exit(main())
