"""What runs the network, asked for and installed at the click, never before.

On a CPU that is OpenVINO, on a GPU PyTorch, which comes through Slicer's PyTorch extension: it picks the build for the
GPU. PyTorch runs on a CPU, too, so that where it is installed nothing else is needed.
"""

from __future__ import annotations

import importlib
import threading
from subprocess import CalledProcessError

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..inference import devices
from ..scene.runtimes import DependencyError
from .question import ask

EXTENSION = "PyTorch"
OPENVINO = "openvino>=2025.0"
_installing = threading.Lock()  # events are handled meanwhile, so that a second click may ask again


def ensure_installed(device: str, offer_gpu: bool = False) -> None:
    """Make sure that what runs the network on a device is installed; asks before it installs. Nothing is loaded.

    Args:
        device: As it was chosen: "auto", "cpu", "cuda", "mps".
        offer_gpu: With "auto", ask whether to install PyTorch for a GPU that cannot be used without it. Once OpenVINO
            is there nobody is asked any more; a warning of the result says that the GPU is not used.

    Raises:
        DependencyError: If it is not installed afterwards.
        ValueError: If there is no such device.
        Cancelled: If the question about the GPU was cancelled.
    """
    if _installing.locked():
        raise DependencyError("A package is being installed; try again when that is done.")
    kind = devices.kind_of(device)
    if devices.has_torch():
        return
    with _installing:
        wants_gpu = kind not in ("auto", "cpu")
        if wants_gpu and kind != devices.find_gpu():
            raise DependencyError("This computer has no such GPU; choose another device.")
        has_choice = kind == "auto" and offer_gpu and not devices.has_openvino() and devices.find_gpu()
        if has_choice and not slicer.app.testingEnabled() and slicer.util.mainWindow() is not None:
            wants_gpu = ask(
                f"This computer's GPU can be used with {devices.TORCH}, which is not installed: a large download.",
                _("Install PyTorch, or run on the CPU?"),
                _("Install PyTorch"),
                _("Run on the CPU now"),
            )
        try:
            if wants_gpu:
                _install_torch()
            elif not devices.has_openvino():
                _install_openvino()
        except CalledProcessError as error:
            name = "PyTorch" if wants_gpu else "OpenVINO"
            failure = DependencyError(f"{name} could not be installed; Slicer's Python console says why.")
            # Slicer 5.12 shows pip's errors itself, but not those of light-the-torch, which installs PyTorch.
            failure.was_shown = not wants_gpu and hasattr(slicer, "packaging")
            raise failure from error


def _install_openvino() -> None:
    """Ask, then install OpenVINO beside the numpy that Slicer has loaded.

    ``slicer.packaging.pip_ensure`` will not do: it leaves out what is installed already, and so the pin of numpy.
    """
    if slicer.app.testingEnabled():
        raise DependencyError("OpenVINO is not installed; testing mode installs nothing.")
    _refuse_without_window(f"OpenVINO is not installed; in Python: slicer.util.pip_install({OPENVINO!r}).")
    wanted = slicer.util.confirmOkCancelDisplay(
        _("The segmentation needs OpenVINO, a download of 30 to 85 MB. Install it into Slicer's Python now?")
    )
    if not wanted:
        raise DependencyError("OpenVINO is needed for the segmentation and was not installed.")
    with slicer.util.WaitCursor():
        slicer.util.pip_install([OPENVINO, f"numpy=={np.__version__}"])
    importlib.invalidate_caches()


def _refuse_without_window(reason: str) -> None:
    """A script without a main window would wait for ever for the answer to a question that nobody sees."""
    if slicer.util.mainWindow() is None:
        raise DependencyError(reason)


def _install_torch() -> None:
    if slicer.app.testingEnabled():
        raise DependencyError("PyTorch is not installed; testing mode installs nothing.")
    _refuse_without_window(f"PyTorch is not installed; Slicer's extension {EXTENSION} installs it.")
    try:
        pytorch_utils = importlib.import_module("PyTorchUtils")
    except ImportError:
        _offer_extension()
    else:
        wanted = ">=" + ".".join(map(str, devices.MIN_TORCH))
        torch_logic = pytorch_utils.PyTorchUtilsLogic()
        if torch_logic.installTorch(askConfirmation=True, torchVersionRequirement=wanted) is None:
            raise DependencyError("PyTorch is needed for the GPU and was not installed.")
        importlib.invalidate_caches()


def _offer_extension() -> None:
    """Ask whether to install the PyTorch extension; it can be used after a restart only."""
    wanted = slicer.util.confirmOkCancelDisplay(
        f"The GPU needs PyTorch, which comes with the extension {EXTENSION}. Install the extension now? "
        "Slicer has to be restarted afterwards."
    )
    if not wanted:
        raise DependencyError(f"The extension {EXTENSION} is needed for the GPU and was not installed.")
    manager = slicer.app.extensionsManagerModel()
    interactive, manager.interactive = manager.interactive, False
    try:
        installed = manager.installExtensionFromServer(EXTENSION, False)  # True would quit Slicer, unsaved data and all
    finally:
        manager.interactive = interactive
    if not installed:
        raise DependencyError(
            f"The extension {EXTENSION} could not be installed; install it with the Extensions Manager, then restart "
            "Slicer."
        )
    raise DependencyError(
        f"The extension {EXTENSION} was installed. Save your data and restart Slicer, then click Segment again."
    )
