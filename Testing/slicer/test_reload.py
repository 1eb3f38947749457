"""Reload, in a process of its own: it replaces the engine's modules, which other tests hold on to."""

import subprocess
import sys
from pathlib import Path

import pytest

import slicer_host

pytestmark = pytest.mark.slow
FOLDER = Path(slicer_host.__file__).parents[1]
SCRIPT = f"""
import sys, threading, time
sys.path.insert(0, {str(FOLDER)!r})
import numpy, slicer_host
slicer = slicer_host.start()
slicer_host.load_module({str(FOLDER.parent / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py")!r})
widget = slicer_host.enter("AttentionUNetSegmentation")
voxels = (numpy.arange(8000) % 300).astype(numpy.int16).reshape(20, 20, 20)
volume = slicer.util.addVolumeFromArray(voxels, name="CT")
slicer_host.wait_until(lambda: widget.ui.segmentButton.enabled)

begun = []

def endless(x):
    begun.append(True)
    while True:
        time.sleep(0.02)
        x = x + 0

widget.logic.start(volume, predictor=endless)
slicer_host.wait_until(lambda: begun, 60)  # PyTorch is loaded, which cannot be stopped
assert widget.logic.isRunning
old = sys.modules["AttentionUNetSegmentationLib.scene.mrml"]
new = slicer_host.reload_module("AttentionUNetSegmentation")
assert not widget.logic.isRunning and new is not widget
assert not [thread for thread in threading.enumerate() if thread.name == "AttentionUNet"]
assert sys.modules["AttentionUNetSegmentationLib.scene.mrml"] is not old
slicer_host.wait_until(lambda: new.ui.segmentButton.enabled)
assert new.ui.inputSelector.currentNode() is volume
new.ui.segmentButton.click()
slicer_host.wait_until(lambda: not new.logic.isRunning, 60)
assert new.ui.organTable.rowCount == 4, slicer_host.shown_messages()
slicer_host.check()
print("reloaded")
"""


def test_reload_stops_a_run_and_loads_the_engine_anew(slicer_session):
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=180, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "reloaded"
