"""PyTorch and OpenVINO, loaded by the run that needs one, on that run's thread: Slicer goes on meanwhile."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
import threading
from pathlib import Path

from ..inference.devices import TORCH, has_torch, is_new_enough

LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # see ``inference.torch_backend.take_large_pages``
_loading = threading.Lock()


class DependencyError(RuntimeError):
    """What runs the network is missing or unusable, and was not installed; the message says what to do.

    Attributes:
        was_shown: Whether Slicer has told the user already.
    """

    was_shown = False


def is_loading() -> bool:
    """Whether a run's thread is loading PyTorch or OpenVINO, which cannot be stopped."""
    return _loading.locked()


def is_torch_loaded() -> bool:
    """Whether PyTorch has been loaded, wholly: another thread may be at it."""
    module = sys.modules.get("torch")
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def load_openvino() -> None:
    """Load OpenVINO; on any thread.

    Raises:
        DependencyError: If it cannot be used.
    """
    try:
        with _loading:
            importlib.import_module("..inference.openvino_package", __package__)
    except Exception as error:  # whatever a broken installation raises
        raise DependencyError(
            f"OpenVINO is installed but cannot be loaded ({' '.join(str(error).split())}). Reinstall it in Slicer's "
            "Python console: slicer.util.pip_install('--force-reinstall --no-deps openvino'), then restart Slicer."
        ) from error


def load_torch() -> None:
    """Load PyTorch; on any thread.

    Raises:
        DependencyError: If it cannot be used.
    """
    if not has_torch():
        raise DependencyError(f"{TORCH} is needed for this and is not installed; install the extension PyTorch.")
    try:
        with _loading:
            if not is_torch_loaded():
                _load_library()
            torch = importlib.import_module("torch")
    except Exception as error:  # whatever a broken installation raises
        raise DependencyError(
            f"PyTorch is installed but cannot be loaded ({' '.join(str(error).split())}). Reinstall it with the module "
            "PyTorch Utils, then restart Slicer."
        ) from error
    if not is_new_enough(torch.__version__):  # an older one was loaded before the new one was installed
        raise DependencyError(f"PyTorch {torch.__version__} is still loaded, {TORCH} is needed; restart Slicer.")


def want_large_pages() -> None:
    """Ask PyTorch, which need not be loaded yet, for large pages; it reads this when it makes its first tensor.

    For the main thread, as others may be reading the environment.
    """
    if sys.platform == "linux":
        os.environ.setdefault(LARGE_PAGES, "1")


def _load_library() -> None:
    """Load PyTorch's largest library without the GIL, which the import would hold for half a second or more.

    If that fails, nothing is lost: the import tries again, and says why. On Windows it lets go of the GIL itself.
    """
    spec = importlib.util.find_spec("torch")
    if os.name != "posix" or spec is None or spec.origin is None:
        return
    suffix = "dylib" if sys.platform == "darwin" else "so"
    path = Path(spec.origin).parent / "lib" / f"libtorch_cpu.{suffix}"
    ctypes.CDLL(None).dlopen(os.fsencode(path), ctypes.c_int(os.RTLD_NOW))  # ctypes.CDLL(path) would hold it, too
