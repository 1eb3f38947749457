"""Tests that OpenVINO is imported without its telemetry. Each runs in a process of its own, as it is imported once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INFERENCE = "AttentionUNetSegmentationLib.inference"
PACKAGE = f"{INFERENCE}.openvino_package"


def run(home: Path, code: str) -> str:
    # its telemetry is off where it takes a computer for one of continuous integration
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    environment |= {"HOME": str(home), "LOCALAPPDATA": str(home)}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return finished.stdout


@pytest.mark.parametrize("module", [PACKAGE, f"{INFERENCE}.openvino_backend", f"{INFERENCE}.openvino_graphs"])
def test_openvino_says_nothing_about_its_user(tmp_path, module):
    names = "'openvino' in sys.modules, 'openvino_telemetry' in sys.modules"
    assert run(tmp_path, f"import {module}, sys; print({names})") == "True False\n"
    assert list(tmp_path.iterdir()) == []  # a number for the user would lie in a folder "intel"


def test_others_can_import_the_telemetry_package_afterwards(tmp_path):
    code = f"import sys; sys.modules['openvino_telemetry'] = there = type(sys)('there'); import {PACKAGE}"
    assert run(tmp_path, f"{code}; print(sys.modules['openvino_telemetry'] is there)") == "True\n"
    pytest.importorskip("openvino_telemetry")
    assert run(tmp_path, f"import {PACKAGE}, openvino_telemetry; print('both')") == "both\n"
