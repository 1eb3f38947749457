"""The headless host runs a scripted module: loading, showing, reloading, self-test, an orderly end.

The host's parts are tested in Testing/slicer_host/tests.
"""

import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np
import pytest

import slicer_host

EXAMPLE = Path(slicer_host.__file__).parent / "example" / "HostExample.py"


def test_a_module_is_found_where_slicer_puts_it(slicer, host_example):
    assert slicer.modules.hostexample.name == "HostExample"
    assert slicer.modules.hostexample.title == "Host example"
    assert slicer.modules.HostExampleWidget is host_example
    assert slicer.util.getModuleWidget("HostExample") is host_example
    assert slicer.util.modulePath("HostExample") == str(EXAMPLE)
    assert slicer.moduleNames.HostExample == "HostExample"
    assert not hasattr(host_example, "reloadButton")


def test_loading_again_returns_the_same_module_and_another_file_of_that_name_is_refused(slicer, host_example, tmp_path):
    assert slicer_host.load_module(EXAMPLE) is slicer.modules.hostexample
    with pytest.raises(RuntimeError, match="HostExample has been loaded from"):
        slicer_host.load_module(tmp_path / "HostExample.py")


def test_a_click_runs_the_logic_on_the_selected_volume(slicer, host_example):
    assert host_example.ui.applyButton.enabled is False
    volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    assert host_example.ui.inputSelector.currentNode() is volume
    assert host_example.ui.applyButton.enabled is True
    host_example.ui.thresholdSlider.value = 20.5
    host_example.ui.applyButton.click()
    assert host_example.ui.resultLabel.text == "3"


def test_enter_and_exit_are_called_once_each(slicer, host_example):
    before = len(host_example.calls)
    slicer.util.selectModule("SegmentEditor")
    assert host_example.parent.isEntered is False
    slicer.util.selectModule("HostExample")
    assert host_example.parent.isEntered is True
    assert host_example.calls[before:] == ["exit", "enter"]
    assert slicer.util.selectedModule() == "HostExample"


def test_reload_makes_a_new_widget_from_the_file(slicer, host_example):
    new = slicer_host.reload_module("HostExample")
    assert new is slicer.modules.HostExampleWidget and new is not host_example
    assert new.ui.applyButton is not host_example.ui.applyButton


def test_a_new_widget_can_be_made_beside_the_first(slicer, host_example):
    second = slicer.util.getNewModuleWidget("HostExample")
    assert second is not host_example
    assert second.ui.thresholdSlider.value == 50.0
    second.cleanup()


def test_the_modules_own_tests_run_by_unittest_and_by_run_test(slicer, host_example):
    module = sys.modules["HostExample"]
    suite = unittest.defaultTestLoader.loadTestsFromName("HostExampleTest.test_countsVoxels", module)
    assert unittest.TextTestRunner(verbosity=0).run(suite).wasSuccessful()
    slicer.selfTests["HostExample"]()


def test_closing_the_scene_resets_the_parameters(slicer, host_example):
    host_example.ui.thresholdSlider.value = 10.0
    slicer.mrmlScene.Clear()
    assert host_example._parameterNode.threshold == 50.0
    assert host_example.ui.thresholdSlider.value == 50.0


def test_sample_data_was_registered_at_startup(slicer, host_example):
    import SampleData

    source = SampleData.SampleDataLogic().sourceForSampleName("HostExampleVolume")
    assert source.fileNames == ["volume.nrrd"]


@pytest.mark.parametrize("ending", ["slicer_host.stop()", "pass"], ids=["stopped", "not stopped"])
@pytest.mark.usefixtures("slicer_session")
def test_the_process_ends_with_status_0(ending):
    script = f"""
import slicer_host
slicer = slicer_host.start()
slicer_host.load_module({str(EXAMPLE)!r})
slicer_host.enter("HostExample")
slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode").CreateDefaultDisplayNodes()
slicer_host.check()
{ending}
"""
    finished = run_script(script)
    assert (finished.returncode, finished.stderr) == (0, "")


def run_script(text: str) -> subprocess.CompletedProcess:
    """Runs a script in a process of its own, with the host importable."""
    folder = Path(slicer_host.__file__).parents[1]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{text}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_without_main_window_there_is_no_layout_manager(slicer):
    assert slicer.util.mainWindow() is not None
    with slicer_host.no_main_window():
        assert slicer.util.mainWindow() is None
        assert slicer.app.layoutManager() is None
        with pytest.raises(RuntimeError):
            slicer.util.selectModule("HostExample")
    assert slicer.app.layoutManager().sliceViewNames() == ["Red", "Yellow", "Green"]
