"""What Slicer lacks, asked for and installed at the click, never before.

Only PyTorch is needed, and it comes through Slicer's PyTorch extension, which picks the build for the computer's GPU.
"""

from __future__ import annotations

import importlib
import shutil
import threading
from collections.abc import Callable

import qt
import slicer

from ..scene import pytorch
from ..scene.pytorch import MIN_TORCH, DependencyError

EXTENSION = "PyTorch"
_installing = threading.Lock()  # events are handled meanwhile, so that a second click may ask again


def ensure_installed() -> None:
    """Make sure that there is a PyTorch to load; offers to install it if it is missing. It is not loaded.

    Raises:
        DependencyError: If there is none afterwards.
    """
    if _installing.locked():
        raise DependencyError("PyTorch is being installed; try again when that is done.")
    if not pytorch.is_installed():
        with _installing:
            _install_torch()


def ensure(say: Callable[[str], None] = lambda text: None) -> None:
    """Make sure that PyTorch can be used here and now; offers to install it if it is missing.

    Args:
        say: Shows a text at once; called before PyTorch is loaded, which takes seconds and blocks Slicer.

    Raises:
        DependencyError: If it cannot be used afterwards.
    """
    ensure_installed()
    if pytorch.is_loaded():
        pytorch.load()  # checks its version
        return
    say("Loading PyTorch")
    qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        pytorch.load()
    finally:
        qt.QApplication.restoreOverrideCursor()


def gpu_note() -> str:
    """One sentence on a GPU that PyTorch cannot use, or "" if there is nothing to say; PyTorch must be installed."""
    import torch

    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        wanted, built_for = f"sm_{major}{minor}", torch.cuda.get_arch_list()
        if not built_for or any(_serves(arch, major, minor) for arch in built_for):
            return ""
        return (
            f"PyTorch {torch.__version__} was not built for the GPU {torch.cuda.get_device_name()} ({wanted}); update "
            "it with the module PyTorch Utils, or choose the CPU."
        )
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        return (
            "This computer has an NVIDIA driver, but PyTorch is a CPU build; reinstall it with the module PyTorch "
            "Utils to use the GPU."
        )
    return ""


def _serves(arch: str, major: int, minor: int) -> bool:
    """Whether code built for ``arch`` ("sm_86", "compute_90") runs on a GPU of that compute capability."""
    kind, _, digits = arch.rstrip("af").partition("_")
    built_major, built_minor = int(digits[:-1]), int(digits[-1])
    if kind == "compute":  # compiled for the GPU when it is loaded
        return (built_major, built_minor) <= (major, minor)
    return built_major == major and built_minor <= minor


def _install_torch() -> None:
    if slicer.app.testingEnabled():
        raise DependencyError("PyTorch is not installed; testing mode installs nothing.")
    try:
        pytorch_utils = importlib.import_module("PyTorchUtils")
    except ImportError:
        _offer_extension()
    else:
        wanted = ">=" + ".".join(map(str, MIN_TORCH))
        torch_logic = pytorch_utils.PyTorchUtilsLogic()
        if torch_logic.installTorch(askConfirmation=True, torchVersionRequirement=wanted) is None:
            raise DependencyError("PyTorch is needed for the segmentation and was not installed.")
        importlib.invalidate_caches()


def _offer_extension() -> None:
    """Ask whether to install the PyTorch extension; it can be used after a restart only."""
    wanted = slicer.util.confirmOkCancelDisplay(
        f"The segmentation needs PyTorch, which comes with the extension {EXTENSION}. Install the extension now? "
        "Slicer has to be restarted afterwards."
    )
    if not wanted:
        raise DependencyError(f"The extension {EXTENSION} is needed for the segmentation and was not installed.")
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
