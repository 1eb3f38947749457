"""The panel without PyTorch or OpenVINO: a click runs with what there is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import slicer_host

MODULE = Path(slicer_host.__file__).parents[2] / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"
SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(slicer_host.__file__).parents[1])!r})
blocked = sys.argv[1]

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == blocked:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == blocked else found(name, package)
import numpy, slicer_host
slicer = slicer_host.start()
slicer_host.load_module({str(MODULE)!r})
widget = slicer_host.enter("AttentionUNetSegmentation")
voxels = (numpy.arange(8000) % 300).astype(numpy.int16).reshape(20, 20, 20)
slicer.util.addVolumeFromArray(voxels, name="CT")
slicer_host.wait_until(lambda: widget.ui.segmentButton.enabled)
assert "abdomen-ct" in widget.ui.modelSelector.currentText
assert not {{"torch", "openvino"}} & set(sys.modules)
widget.ui.segmentButton.click()
slicer_host.wait_until(lambda: not widget.logic.isRunning, 60)
widget.ui.freeMemoryButton.click()
assert widget.ui.segmentButton.enabled
print([message.text for message in slicer_host.shown_messages("error")])
print([name for name in ("torch", "openvino", "openvino_telemetry") if name in sys.modules])
print(widget._parameterNode.outputSegmentation.GetAttribute("AttentionUNet.backend"))
import unittest
names = ["test_organs.OrgansTest.test_missingModel", "test_organs.OrgansTest.test_ballUnderObliqueGeometryAndTransform",
         "test_background"]
names = [f"AttentionUNetSegmentationLib.selftests.{{name}}" for name in names]
tests = unittest.defaultTestLoader.loadTestsFromNames(names)
ended = unittest.TestResult()
tests.run(ended)
print(len(ended.errors + ended.failures), len(ended.skipped))
slicer_host.check()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("blocked", "used", "skipped"), [("torch", "openvino", 3), ("openvino", "torch", 0)])
def test_the_panel_and_the_self_tests_run_with_what_there_is(slicer_session, blocked, used, skipped):
    """On a CPU, in a process of its own that does not stop the host; PyTorch is never loaded where OpenVINO runs."""
    command = [sys.executable, "-c", SCRIPT, blocked]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=hidden)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.splitlines() == ["[]", str([used]), used, f"0 {skipped}"]
