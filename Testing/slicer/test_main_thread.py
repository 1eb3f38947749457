"""The first run of a process: OpenVINO or PyTorch is imported, the model loaded, while the event loop goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import slicer_host

pytestmark = pytest.mark.slow

SCRIPT = Path(slicer_host.__file__).parents[1] / "support" / "main_thread_gaps.py"
IMPORT_SECONDS = 2.0  # that the import takes longer
LONGEST_GAP_SECONDS = 1.0  # half of that; on two cores 0.18 s were measured at 512 x 512 x 240


def first_run(*arguments):
    command = [sys.executable, str(SCRIPT), "24", "40", "40", str(IMPORT_SECONDS), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("package", "steps"),
    [("openvino", ["loading the model"]), ("torch", ["loading PyTorch", "loading the model"])],
)
def test_the_first_click_blocks_nothing(slicer_session, package, steps):
    found = first_run(package)
    assert found["errors"] == [] and found["threads"] == {package: "AttentionUNet"}
    assert found["run_s"] > IMPORT_SECONDS and found["longest_gap_s"] < LONGEST_GAP_SECONDS
    assert found["steps"][: 1 + len(steps)] == ["Starting", *steps]


def test_cancelling_an_import_takes_effect_at_once(slicer_session):
    found = first_run("torch", "cancel")
    assert found["run_s"] < 1.0 and found["write_s"] == [] and found["errors"] == []
    assert found["status"] == "Cancelled; the scene is as it was."
