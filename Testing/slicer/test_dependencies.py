"""What Slicer lacks: asked for at the click, never installed at import."""

import subprocess
import sys
import types

import numpy as np
import pytest
import torch

import slicer_host


@pytest.fixture
def no_torch(having):
    """There is a GPU, but no PyTorch."""
    having("openvino", gpu="cuda")


@pytest.fixture
def pip(slicer, monkeypatch):
    """Stands in for pip; returns the lists of what it is asked to install."""
    asked = []
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    return asked


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


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
@pytest.mark.parametrize("gpu", ["", "cuda"])
def test_with_torch_nothing_is_asked(dependencies, having, device, gpu):
    having("torch", gpu=gpu)
    with slicer_host.testing_mode(False):
        dependencies.ensure_installed(device, offer_gpu=True)
    assert slicer_host.shown_messages() == []


@pytest.mark.parametrize(("device", "gpu"), [("auto", ""), ("cpu", ""), ("cpu", "cuda"), ("cpu", "mps"), ("cpu:0", "")])
def test_openvino_is_enough_for_a_cpu(dependencies, having, device, gpu):
    having("openvino", gpu=gpu)
    with slicer_host.testing_mode(False):
        dependencies.ensure_installed(device, offer_gpu=True)
    assert slicer_host.shown_messages() == []


@pytest.mark.parametrize(("device", "gpu"), [("auto", ""), ("cpu", ""), ("cpu", "cuda")])
def test_openvino_is_installed_beside_the_numpy_that_is_loaded(dependencies, having, pip, device, gpu):
    having(gpu=gpu)
    with slicer_host.testing_mode(False):
        dependencies.ensure_installed(device, offer_gpu=True)
    assert pip == [["openvino>=2025.0", f"numpy=={np.__version__}"]]
    [question] = slicer_host.shown_messages()
    assert question.kind == "confirm" and "OpenVINO, a download of 30 to 85 MB" in question.text


def test_declining_openvino_is_an_error_of_one_sentence(dependencies, having, pip):
    having()
    with (
        slicer_host.testing_mode(False),
        slicer_host.answering(accept=False),
        pytest.raises(RuntimeError, match="OpenVINO is needed for the segmentation and was not installed"),
    ):
        dependencies.ensure_installed("auto")
    assert pip == [] and not dependencies._installing.locked()


@pytest.mark.parametrize(
    ("device", "gpu", "reason"),
    [
        ("auto", "", r"pip_install\('openvino>=2025.0'\)"),
        ("auto", "cuda", r"pip_install\('openvino>=2025.0'\)"),
        ("cuda", "cuda", "extension PyTorch installs it"),
    ],
)
def test_without_a_main_window_nobody_is_asked(dependencies, having, pip, device, gpu, reason):
    having(gpu=gpu)
    with slicer_host.no_main_window(), slicer_host.testing_mode(False), pytest.raises(RuntimeError, match=reason):
        dependencies.ensure_installed(device, offer_gpu=True)
    assert pip == [] and slicer_host.shown_messages() == []


def test_a_failing_pip_is_an_error_of_one_sentence(qt, slicer, dependencies, having, monkeypatch):
    def fail(requirements):
        assert qt.QApplication.overrideCursor() is not None
        raise subprocess.CalledProcessError(1, "pip install")

    having()
    monkeypatch.setattr(slicer.util, "pip_install", fail)
    for has_packaging in (False, True):  # Slicer 5.12 has it, and shows pip's errors itself
        if has_packaging:
            monkeypatch.setattr(slicer, "packaging", None, raising=False)
        with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="OpenVINO could not be") as failure:
            dependencies.ensure_installed("cpu")
        assert failure.value.was_shown is has_packaging
    assert qt.QApplication.overrideCursor() is None


def test_a_gpu_is_offered_beside_the_cpu(dependencies, having, pip):
    having(gpu="cuda")
    with slicer_host.testing_mode(False), slicer_host.answering(button="Run on the CPU now"):
        dependencies.ensure_installed("auto", offer_gpu=True)
    assert len(pip) == 1
    [question] = slicer_host.shown_messages("question")
    assert question.text.startswith("This computer's GPU can be used with PyTorch 2.4 or newer, which is not installed")


def test_a_gpu_may_be_preferred(dependencies, having, pip, monkeypatch):
    having(gpu="cuda")
    calls = fake_utils(monkeypatch, torch)
    with slicer_host.testing_mode(False), slicer_host.answering(button="Install PyTorch"):
        dependencies.ensure_installed("auto", offer_gpu=True)
    assert len(calls) == 1 and pip == []


def test_a_failed_installation_of_pytorch_is_told(slicer, dependencies, having, monkeypatch):
    """Slicer shows pip's errors since 5.12, and only logs those of light-the-torch."""

    def fail(**options):
        raise subprocess.CalledProcessError(1, "light_the_torch")

    having(gpu="cuda")
    monkeypatch.setattr(dependencies, "_install_torch", fail)
    monkeypatch.setattr(slicer, "packaging", None, raising=False)
    with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="PyTorch could not be") as failure:
        dependencies.ensure_installed("cuda")
    assert failure.value.was_shown is False


def test_neither_is_a_cancelled_run(dependencies, having, pip):
    from AttentionUNetSegmentationLib.monitor import Cancelled

    having(gpu="mps")
    with slicer_host.testing_mode(False), slicer_host.answering(accept=False), pytest.raises(Cancelled):
        dependencies.ensure_installed("auto", offer_gpu=True)
    assert pip == [] and not dependencies._installing.locked()


def test_scripts_are_not_asked_about_the_gpu(dependencies, having, pip):
    having(gpu="cuda")
    with slicer_host.testing_mode(False):
        dependencies.ensure_installed("auto")
    assert slicer_host.shown_messages("question") == [] and len(pip) == 1


@pytest.mark.parametrize(("device", "gpu"), [("cuda", ""), ("mps", "cuda"), ("cuda:1", "mps")])
def test_nothing_is_installed_for_a_gpu_that_is_not_there(dependencies, having, pip, device, gpu):
    having(gpu=gpu)
    with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="This computer has no such GPU"):
        dependencies.ensure_installed(device)
    assert pip == [] and slicer_host.shown_messages() == []


def test_an_unknown_device_is_refused_before_anything_is_asked(dependencies, having):
    having()
    with slicer_host.testing_mode(False), pytest.raises(ValueError, match="device must be one of .* got 'gpu'"):
        dependencies.ensure_installed("gpu")
    assert slicer_host.shown_messages() == []


def test_after_the_choice_of_the_cpu_no_scene_asks_again(slicer, widget, add_ct, wait, having, pip, monkeypatch):
    from AttentionUNetSegmentationLib.scene import request

    asked = []
    having(gpu="cuda")
    monkeypatch.setattr(slicer.util, "pip_install", lambda requirements: having("openvino", gpu="cuda"))
    monkeypatch.setattr(request, "read", lambda each: (asked.append(each.device), 1 // 0))
    with slicer_host.testing_mode(False), slicer_host.answering(button="Run on the CPU now"):
        for _ in range(2):
            add_ct()
            wait(lambda: widget.ui.segmentButton.enabled)
            widget.ui.segmentButton.click()
            slicer.mrmlScene.Clear(False)
    assert asked == ["auto", "auto"] and len(slicer_host.shown_messages("question")) == 1


@pytest.mark.slow
def test_a_gpu_that_nothing_uses_is_a_warning_of_the_result(widget, add_ct, wait, no_torch):
    """In testing mode, or of a script, nobody is asked."""
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning, 60)
    warning = "this computer's GPU is not used: PyTorch 2.4 or newer is not installed"
    assert widget.ui.warningsLabel.text.count(warning) == 1
    assert " s on CPU (OpenVINO), model " in widget.ui.statusLabel.text


def test_adding_a_model_needs_no_torch(widget, having, tmp_path):
    having()
    (tmp_path / "wrong.zip").write_bytes(b"no zip")
    with slicer_host.testing_mode(False), slicer_host.answering(path=str(tmp_path / "wrong.zip")):
        widget.ui.addModelButton.click()
    [message] = slicer_host.shown_messages("error")
    assert "is not a readable zip" in message.text


def test_testing_mode_neither_asks_nor_installs(dependencies, no_torch, monkeypatch):
    calls = fake_utils(monkeypatch, torch)
    with pytest.raises(RuntimeError, match="PyTorch is not installed; testing mode installs nothing"):
        dependencies.ensure_installed("cuda", offer_gpu=True)
    dependencies.ensure_installed("auto", offer_gpu=True)
    assert calls == [] and slicer_host.shown_messages() == []


def test_testing_mode_installs_no_openvino(dependencies, having, pip):
    having(gpu="cuda")
    with pytest.raises(RuntimeError, match="OpenVINO is not installed; testing mode installs nothing"):
        dependencies.ensure_installed("auto", offer_gpu=True)
    assert pip == [] and slicer_host.shown_messages() == []


def test_the_extension_installs_torch_and_asks_itself(slicer, dependencies, no_torch, monkeypatch):
    calls = fake_utils(monkeypatch, torch)
    with slicer_host.testing_mode(False):
        dependencies.ensure_installed("cuda")
    assert calls == [{"askConfirmation": True, "torchVersionRequirement": ">=2.4"}]


def test_a_click_while_torch_is_being_installed_starts_nothing(widget, add_ct, wait, having, monkeypatch):
    having(gpu="cuda")
    ct = add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    calls = fake_utils(monkeypatch, None)
    installer = sys.modules["PyTorchUtils"].PyTorchUtilsLogic
    install, during = installer.installTorch, []

    def meanwhile(self, **arguments):
        during.append(widget.ui.segmentButton.enabled)
        widget.onSegment()
        with pytest.raises(RuntimeError, match="A package is being installed; try again when that is done"):
            widget.logic.segment(ct)
        slicer_host.leave()  # to another module
        return install(self, **arguments)

    monkeypatch.setattr(installer, "installTorch", meanwhile)
    with slicer_host.testing_mode(False), slicer_host.answering(button="Install PyTorch"):
        widget.ui.segmentButton.click()
    assert during == [False] and len(calls) == 1
    [message] = slicer_host.shown_messages("error")
    assert message.text == "PyTorch is needed for the GPU and was not installed."


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
    with slicer_host.testing_mode(False), slicer_host.answering(button="Install PyTorch"):
        widget.ui.segmentButton.click()
    assert read == ["CT"] and not dependencies._installing.locked()


def test_declining_torch_is_an_error_of_one_sentence(dependencies, no_torch, monkeypatch):
    fake_utils(monkeypatch, None)
    with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="PyTorch is needed .* was not installed"):
        dependencies.ensure_installed("cuda")


def test_a_torch_that_cannot_be_installed_is_an_error_of_one_sentence(dependencies, no_torch, monkeypatch):
    fake_utils(monkeypatch, None)

    def fail(self, **options):
        raise subprocess.CalledProcessError(1, "pip install")

    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", fail)
    with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="PyTorch could not be installed; Slicer's"):
        dependencies.ensure_installed("cuda")


def test_a_missing_extension_is_offered_once(slicer, dependencies, no_torch):
    with slicer_host.testing_mode(False), pytest.raises(RuntimeError, match="PyTorch could not be installed"):
        dependencies.ensure_installed("cuda")
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
        dependencies.ensure_installed("cuda")
    assert requests == [("PyTorch", False, False)]
    assert slicer.app.extensionsManagerModel().interactive is True


def test_the_extensions_manager_gets_its_dialogs_back_after_a_failure(slicer, dependencies, no_torch, monkeypatch):
    def fail(self, name, restart=True, update=False):
        raise OSError("no network")

    monkeypatch.setattr(type(slicer.app.extensionsManagerModel()), "installExtensionFromServer", fail)
    with slicer_host.testing_mode(False), pytest.raises(OSError, match="no network"):
        dependencies.ensure_installed("cuda")
    assert slicer.app.extensionsManagerModel().interactive is True


def test_a_declined_extension_is_not_installed(slicer, dependencies, no_torch):
    with (
        slicer_host.testing_mode(False),
        slicer_host.answering(accept=False),
        pytest.raises(RuntimeError, match="is needed for the GPU and was not installed"),
    ):
        dependencies.ensure_installed("cuda")
    assert slicer_host.shown_messages("install") == []
