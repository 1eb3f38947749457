"""The headless host runs the module as the application does: loading, entering and leaving it, an orderly end.

The host's parts are tested in Testing/slicer_host/tests.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import slicer_host

NAME = "AttentionUNetSegmentation"
FOLDER = Path(slicer_host.__file__).parents[1]
MODULE = FOLDER.parent / NAME / f"{NAME}.py"


def test_the_module_is_found_where_slicer_puts_it(slicer, widget):
    found = slicer.modules.attentionunetsegmentation
    assert (found.name, found.title) == (NAME, "Attention U-Net Segmentation")
    assert slicer.util.modulePath(NAME) == str(MODULE)
    assert slicer.modules.AttentionUNetSegmentationWidget is widget
    assert slicer.util.getModuleWidget(NAME) is widget


def test_loading_again_returns_the_same_module_and_another_file_of_that_name_is_refused(slicer, module, tmp_path):
    assert slicer_host.load_module(MODULE) is slicer.modules.attentionunetsegmentation
    with pytest.raises(RuntimeError, match=f"{NAME} has been loaded from"):
        slicer_host.load_module(tmp_path / f"{NAME}.py")


def test_enter_and_exit_are_called_once_each(slicer, widget, monkeypatch):
    calls = []
    monkeypatch.setattr(widget, "enter", lambda: calls.append("enter"))
    monkeypatch.setattr(widget, "exit", lambda: calls.append("exit"))
    slicer.util.selectModule("SegmentEditor")
    assert widget.parent.isEntered is False
    slicer.util.selectModule(NAME)
    assert widget.parent.isEntered is True
    assert calls == ["exit", "enter"]
    assert slicer.util.selectedModule() == NAME


@pytest.mark.slow
@pytest.mark.usefixtures("slicer_session")
def test_a_process_that_stops_the_host_ends_with_status_0():
    """One that does not is in test_packages_missing.py."""
    script = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
import slicer_host
slicer = slicer_host.start()
slicer_host.load_module({str(MODULE)!r})
slicer_host.enter({NAME!r})
slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode").CreateDefaultDisplayNodes()
slicer_host.check()
slicer_host.stop()
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_without_main_window_there_is_no_layout_manager(slicer, module):
    assert slicer.util.mainWindow() is not None
    with slicer_host.no_main_window():
        assert slicer.util.mainWindow() is None
        assert slicer.app.layoutManager() is None
        with pytest.raises(RuntimeError):
            slicer.util.selectModule(NAME)
    assert slicer.app.layoutManager() is not None
