"""What Slicer lacks: asked for at the click, never installed at import, explained if it cannot be used."""

import importlib.machinery
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import slicer_host


@pytest.fixture
def dependencies(module):
    from AttentionUNetSegmentationLib.panels import dependencies

    return dependencies


@pytest.fixture
def no_torch(dependencies, monkeypatch):
    """PyTorch is not installed."""
    monkeypatch.setattr(dependencies.importlib.util, "find_spec", lambda name: None)


def fake_utils(monkeypatch, result):
    """The module PyTorchUtils of Slicer's PyTorch extension; returns the calls of its installer."""
    calls = []

    class PyTorchUtilsLogic:
        def installTorch(self, **arguments):
            calls.append(arguments)
            return result

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return calls


def test_with_torch_nothing_is_asked(slicer, dependencies):
    with slicer_host.testing_mode(False):
        dependencies.ensure()
    assert slicer_host.shown_messages() == []


@pytest.fixture
def loading(qt, dependencies, monkeypatch):
    """PyTorch is not loaded yet; returns the list of what is said, and of the cursor's shape meanwhile."""
    seen, original = [], dependencies.importlib.import_module

    def load(name, *arguments):
        if name == "torch":
            cursor = qt.QApplication.overrideCursor()
            seen.append(cursor is not None and cursor.shape() == qt.Qt.WaitCursor)
        return original(name, *arguments)

    monkeypatch.setattr(dependencies.importlib, "import_module", load)
    monkeypatch.setattr(dependencies.pytorch, "is_loaded", lambda: False)
    return seen


def test_loading_torch_is_announced_under_a_wait_cursor(qt, dependencies, loading):
    dependencies.ensure(loading.append)
    assert loading == ["Loading PyTorch", True]
    assert qt.QApplication.overrideCursor() is None


def test_the_wait_cursor_goes_when_loading_fails(qt, dependencies, loading, monkeypatch):
    load = dependencies.importlib.import_module

    def broken(name, *arguments):
        load(name, *arguments)
        raise OSError("DLL load failed")

    monkeypatch.setattr(dependencies.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        dependencies.ensure()
    assert loading == [True] and qt.QApplication.overrideCursor() is None


def test_loaded_torch_is_not_announced(dependencies):
    said = []
    dependencies.ensure(said.append)
    assert said == []


def test_adding_a_model_loads_torch_and_leaves_no_text_behind(widget, loading, tmp_path):
    (tmp_path / "wrong.zip").write_bytes(b"no zip")
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(tmp_path / "wrong.zip")):
        widget.ui.addModelButton.click()
    assert loading == [True] and widget.ui.statusLabel.text == ""


def test_testing_mode_neither_asks_nor_installs(dependencies, no_torch, monkeypatch):
    calls = fake_utils(monkeypatch, torch)
    with pytest.raises(RuntimeError, match="PyTorch is not installed; testing mode installs nothing"):
        dependencies.ensure()
    assert calls == [] and slicer_host.shown_messages() == []


def test_the_extension_installs_torch_and_asks_itself(slicer, dependencies, no_torch, monkeypatch):
    calls = fake_utils(monkeypatch, torch)
    with slicer_host.testing_mode(False):
        dependencies.ensure()
    assert calls == [{"askConfirmation": True, "torchVersionRequirement": ">=2.4"}]


def test_a_click_while_torch_is_being_installed_starts_nothing(widget, add_ct, wait, no_torch, monkeypatch):
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    calls = fake_utils(monkeypatch, None)
    installer = sys.modules["PyTorchUtils"].PyTorchUtilsLogic
    install, during = installer.installTorch, []

    def meanwhile(self, **arguments):
        during.append(widget.ui.segmentButton.enabled)
        widget.onSegment()
        widget.ui.addModelButton.click()
        slicer_host.leave()  # to another module
        return install(self, **arguments)

    monkeypatch.setattr(installer, "installTorch", meanwhile)
    with slicer_host.testing_mode(False), slicer_host.answering(path="model.zip"):
        widget.ui.segmentButton.click()
    assert during == [False] and len(calls) == 1
    assert [message.text for message in slicer_host.shown_messages("error")] == [
        "PyTorch is being installed; try again when that is done.",
        "PyTorch is needed for the segmentation and was not installed.",
    ]


def test_a_change_of_module_while_torch_is_being_installed_does_not_matter(
    widget, add_ct, wait, network, no_torch, monkeypatch
):
    from AttentionUNetSegmentationLib.panels import dependencies
    from AttentionUNetSegmentationLib.scene import request

    read = []
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    fake_utils(monkeypatch, torch)
    installer = sys.modules["PyTorchUtils"].PyTorchUtilsLogic
    monkeypatch.setattr(installer, "installTorch", lambda self, **arguments: slicer_host.leave() or torch)
    monkeypatch.setattr(request, "read", lambda asked: (read.append(asked.volume_node.GetName()), 1 // 0))
    with slicer_host.testing_mode(False):
        widget.ui.segmentButton.click()
    assert read == ["CT"] and not dependencies._installing.locked()


def test_declining_torch_is_an_error_of_one_sentence(dependencies, no_torch, monkeypatch):
    fake_utils(monkeypatch, None)
    with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="PyTorch is needed .* was not installed"):
        dependencies.ensure()


def test_a_missing_extension_is_offered_once(slicer, dependencies, no_torch):
    with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="PyTorch could not be installed"):
        dependencies.ensure()
    [question] = slicer_host.shown_messages("confirm")
    assert "Install the extension now?" in question.text
    assert [message.text for message in slicer_host.shown_messages("install")] == ["PyTorch"]


def test_an_installed_extension_asks_for_a_restart_and_makes_none(slicer, dependencies, no_torch, monkeypatch):
    requests, manager = [], slicer.app.extensionsManagerModel()

    def install(self, name, restart=True, update=False):
        requests.append((name, restart, self.interactive))
        return True

    monkeypatch.setattr(type(manager), "installExtensionFromServer", install)
    with (
        slicer_host.testing_mode(False),
        pytest.raises(RuntimeError, match="was installed. Save your data and restart Slicer, then click Segment again"),
    ):
        dependencies.ensure()
    assert requests == [("PyTorch", False, False)]
    assert slicer.app.extensionsManagerModel().interactive is True


def test_the_extensions_manager_gets_its_dialogs_back_after_a_failure(slicer, dependencies, no_torch, monkeypatch):
    def fail(self, name, restart=True, update=False):
        raise OSError("no network")

    monkeypatch.setattr(type(slicer.app.extensionsManagerModel()), "installExtensionFromServer", fail)
    with slicer_host.testing_mode(False), pytest.raises(OSError, match="no network"):
        dependencies.ensure()
    assert slicer.app.extensionsManagerModel().interactive is True


def test_a_declined_extension_is_not_installed(slicer, dependencies, no_torch):
    with (
        slicer_host.testing_mode(False),
        slicer_host.answering(accept=False),
        pytest.raises(RuntimeError, match="is needed for the segmentation and was not installed"),
    ):
        dependencies.ensure()
    assert slicer_host.shown_messages("install") == []


@pytest.fixture
def broken_torch(dependencies, monkeypatch):
    """Function that breaks PyTorch by an error."""
    original = dependencies.importlib.import_module

    def break_by(error):
        def load(name, *arguments):
            if name == "torch":
                raise error
            return original(name, *arguments)

        monkeypatch.setattr(dependencies.importlib, "import_module", load)

    return break_by


ERRORS = [OSError("DLL load\nfailed"), ImportError("DLL load failed"), RuntimeError("DLL load failed")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_broken_torch_is_explained(dependencies, broken_torch, error):
    broken_torch(error)
    with pytest.raises(RuntimeError, match=r"installed but cannot be loaded \(DLL load failed\)"):
        dependencies.ensure()


def test_a_torch_that_breaks_on_the_runs_thread_is_explained_once(widget, add_ct, wait, broken_torch, scene_nodes):
    broken_torch(OSError("DLL load failed"))
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    before = scene_nodes()
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    [message] = slicer_host.shown_messages("error")
    assert message.text.startswith("PyTorch is installed but cannot be loaded (DLL load failed). Reinstall it")
    assert widget.ui.statusLabel.text == message.text and widget.ui.segmentButton.enabled and scene_nodes() == before


def test_what_an_uninstallation_left_behind_is_no_torch(dependencies, monkeypatch, tmp_path):
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    spec = importlib.machinery.PathFinder.find_spec("torch", [str(tmp_path)])
    monkeypatch.setattr(dependencies.pytorch.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(RuntimeError, match="PyTorch is not installed"):
        dependencies.ensure_installed()


@pytest.mark.parametrize(("version", "accepted"), [("2.3.1+cu118", False), ("2.4.0", True), ("2.10.0+cpu", True)])
def test_an_old_torch_is_refused(dependencies, monkeypatch, version, accepted):
    monkeypatch.setattr(torch, "__version__", version)
    if accepted:
        dependencies.ensure()
    else:
        with pytest.raises(RuntimeError, match="PyTorch 2.3.1.* is too old, 2.4 or newer"):
            dependencies.ensure()


@pytest.mark.parametrize(
    ("capability", "built_for", "usable"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),
        ((8, 9), ["sm_75", "sm_86"], True),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((12, 0), ["sm_90a", "sm_120"], True),
        ((6, 1), ["sm_75", "compute_75"], False),
        ((7, 0), [], True),
    ],
)
def test_a_gpu_that_torch_was_not_built_for_is_explained(dependencies, monkeypatch, capability, built_for, usable):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "New GPU")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    note = dependencies.gpu_note()
    assert (note == "") is usable
    assert usable or f"New GPU (sm_{capability[0]}{capability[1]})" in note


def test_a_cpu_build_beside_a_gpu_is_explained(dependencies, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(dependencies.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert "PyTorch is a CPU build" in dependencies.gpu_note()
    monkeypatch.setattr(dependencies.shutil, "which", lambda name: None)
    assert dependencies.gpu_note() == ""


@pytest.mark.slow
def test_the_panel_comes_up_without_torch_and_the_click_says_what_is_missing(slicer_session):
    module = Path(slicer_host.__file__).parents[2] / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"
    script = f"""
import sys
sys.path.insert(0, {str(Path(slicer_host.__file__).parents[1])!r})

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NoTorch())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torch" else found(name, package)
import numpy, slicer_host
slicer = slicer_host.start()
slicer_host.load_module({str(module)!r})
widget = slicer_host.enter("AttentionUNetSegmentation")
slicer.util.addVolumeFromArray(numpy.zeros((8, 8, 8), numpy.int16), name="CT")
slicer_host.wait_until(lambda: widget.ui.segmentButton.enabled)
assert "abdomen-ct" in widget.ui.modelSelector.currentText
widget.ui.segmentButton.click()
print([message.text for message in slicer_host.shown_messages("error")], widget.ui.segmentButton.enabled)
slicer_host.check()
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "['PyTorch is not installed; testing mode installs nothing.'] True"
