"""What runs the network is installed, but broken, too old, or not all of it: explained, or counted as absent."""

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util

import pytest
import torch

import slicer_host


@pytest.fixture
def broken(dependencies, monkeypatch):
    """Function that breaks the import of a package by an error."""
    original = importlib.import_module

    def break_by(package, error):
        def load(name, *arguments):
            if name in (package, f"..inference.{package}_package"):
                raise error
            return original(name, *arguments)

        monkeypatch.setattr(importlib, "import_module", load)

    return break_by


ERRORS = [OSError("DLL load\nfailed"), ImportError("DLL load failed"), RuntimeError("DLL load failed")]
NAMES = {"torch": "PyTorch", "openvino": "OpenVINO"}


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("package", NAMES)
def test_a_broken_package_is_explained_once(widget, add_ct, wait, having, broken, scene_nodes, package, error):
    having(package)
    broken(package, error)
    add_ct()
    wait(lambda: widget.ui.segmentButton.enabled)
    before = scene_nodes()
    widget.ui.segmentButton.click()
    wait(lambda: not widget.logic.isRunning)
    [message] = slicer_host.shown_messages("error")
    assert message.text.startswith(
        f"{NAMES[package]} is installed but cannot be loaded (DLL load failed). Reinstall it"
    )
    assert widget.ui.statusLabel.text == message.text and widget.ui.segmentButton.enabled and scene_nodes() == before


@pytest.mark.parametrize("package", NAMES)
def test_what_an_uninstallation_left_behind_is_no_package(dependencies, monkeypatch, tmp_path, package):
    (tmp_path / package / "lib").mkdir(parents=True)
    spec = importlib.machinery.PathFinder.find_spec(package, [str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == package else None)
    with pytest.raises(RuntimeError, match="OpenVINO is not installed"):
        dependencies.ensure_installed("cpu")


@pytest.mark.parametrize(
    ("version", "accepted"), [("2.3.1+cu118", False), ("2.4.0", True), ("2.10.0+cpu", True), (None, True)]
)
def test_an_old_torch_counts_as_none(dependencies, monkeypatch, having, version, accepted):
    """A broken installation, which has no version, is explained when it is loaded."""
    having("torch")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    if accepted:
        dependencies.ensure_installed("cpu")
    else:
        with pytest.raises(RuntimeError, match="OpenVINO is not installed; testing mode installs nothing"):
            dependencies.ensure_installed("cpu")


def test_an_old_torch_that_is_loaded_needs_a_restart(module, monkeypatch):
    from AttentionUNetSegmentationLib.scene import runtimes

    runtimes.load_torch()
    monkeypatch.setattr(torch, "__version__", "2.3.1+cu118")
    with pytest.raises(RuntimeError, match="PyTorch 2.3.1.cu118 is still loaded, .* restart Slicer"):
        runtimes.load_torch()


def test_what_takes_the_networks_place_needs_torch(logic, add_ct, network, having):
    having("openvino")
    with pytest.raises(RuntimeError, match="PyTorch 2.4 or newer is needed for this and is not installed"):
        logic.segment(add_ct(), predictor=network())
