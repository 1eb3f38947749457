"""The host's public functions: start, load modules, let events run, stop.

Only `start` imports Qt and slicer-core, so that this file can be imported where they are missing.
"""

import atexit
import gc
import importlib.util
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import faults

# Names under which modules import the host's Python files.
_STAND_IN_MODULES = {
    "slicer.i18n": "translation",
    "slicer.ScriptedLoadableModule": "scripted_loadable_module",
    "slicer.parameterNodeWrapper": "parameter_node",
    "SampleData": "sample_data",
}
_REQUIRED = {"slicer_core": "slicer-core", "PySide6": "PySide6-Essentials"}


class _Session:
    """The one host of this process."""

    def __init__(self):
        self.slicer: types.ModuleType | None = None
        self.main_window = None
        self.home: tempfile.TemporaryDirectory | None = None


_session = _Session()


def missing_packages() -> list[str]:
    """Returns the PyPI packages that the host needs and does not find."""
    return [package for name, package in _REQUIRED.items() if importlib.util.find_spec(name) is None]


def start() -> types.ModuleType:
    """Starts the host and returns the `slicer` module; a second call returns the same.

    Raises:
        RuntimeError: a package is missing.
    """
    if _session.slicer is not None:
        return _session.slicer
    if missing_packages():
        raise RuntimeError(f"the host needs {', '.join(missing_packages())}")
    from .pythonqt import namespace

    namespace.install()
    slicer = _import_slicer()
    from . import widgets

    widgets.install()
    _start_application(slicer)
    faults.start_listening()
    _session.slicer = slicer
    atexit.register(stop)  # a process that ends without stop would crash while it exits
    return slicer


def _import_slicer() -> types.ModuleType:
    """Imports slicer-core and makes its namespace look like the application's."""
    full_path = sys.path
    # slicer-core imports every file of every folder `slicer` on the path, and so would import tests in Testing/slicer.
    sys.path = [entry for entry in full_path if not _is_folder_named_slicer(Path(entry) / "slicer")]
    try:
        import slicer
    finally:
        sys.path = full_path
    for name in [name for name in vars(slicer.util) if getattr(slicer, name, None) is vars(slicer.util)[name]]:
        delattr(slicer, name)  # slicer-core copies slicer.util into slicer: slicer.getNode would work here only
    slicer.modules = sys.modules["slicer.modules"] = types.ModuleType("slicer.modules")
    return slicer


def _is_folder_named_slicer(folder: Path) -> bool:
    """True for a folder of that name that is not the package of slicer-core."""
    return folder.is_dir() and not (folder / "__init__.py").exists()


def _start_application(slicer: types.ModuleType) -> None:
    from . import dialogs, qt_messages, widgets
    from .application import qSlicerApplication
    from .extensions import refuse_packages
    from .main_window import qSlicerMainWindow
    from .segment_editor import SegmentEditorModule

    qt_messages.install()
    _session.home = tempfile.TemporaryDirectory(prefix="slicer-host-")
    slicer.app = qSlicerApplication(Path(_session.home.name))
    slicer.mrmlScene = slicer.app.mrmlScene()
    slicer.app.startModules()
    slicer.app.moduleManager().addModule(SegmentEditorModule("SegmentEditor"))
    widgets.install()  # again, for the classes that the files imported above define
    _session.main_window = qSlicerMainWindow()
    dialogs.install()
    for name, file_name in _STAND_IN_MODULES.items():
        sys.modules[name] = importlib.import_module(f"{__package__}.{file_name}")
        parent, _, child = name.rpartition(".")
        if parent == "slicer":
            setattr(slicer, child, sys.modules[name])
    slicer.util.pip_install = slicer.util.pip_uninstall = refuse_packages


def stop() -> None:
    """Ends the host in order: modules clean up, then widgets and the scene go. The process cannot start another."""
    if _session.slicer is None:
        return
    slicer, _session.slicer = _session.slicer, None
    manager = slicer.app.moduleManager()
    manager.enterModule("")
    for name in reversed(manager.modulesNames()):
        manager.moduleAboutToBeUnloaded.emit(name)
    slicer.mrmlScene.Clear(False)
    process_events()
    slicer.mrmlScene.RemoveAllObservers()
    slicer.mrmlScene.Clear(True)  # before the widgets go: a module may leave bindings to its parameter node behind
    manager.deleteWidgets()
    _session.main_window.delete()
    _session.main_window = None
    gc.collect()
    faults.stop_listening()
    _session.home.cleanup()


def load_module(path: str | Path):
    """Loads <Name>.py as a scripted module; see module_loader.load_module."""
    from .module_loader import load_module as load

    return load(path)


def reload_module(name: str):
    """Presses Reload: loads the module's file again; returns the new <Name>Widget."""
    import slicer

    getattr(slicer.modules, name + "Widget").onReload()
    return getattr(slicer.modules, name + "Widget")


def enter(name: str):
    """Shows a module, as choosing it in the module selector does; returns its <Name>Widget."""
    import slicer

    slicer.app.moduleManager().enterModule(name)
    return slicer.app.moduleManager().module(name).widgetRepresentation().self()


def leave() -> None:
    """Leaves the module that is shown."""
    import slicer

    slicer.app.moduleManager().enterModule("")


def process_events(seconds: float = 0.0) -> None:
    """Runs Qt's event loop, timers and deferred deletions included, for a time; other threads run in between."""
    from .pythonqt.binding import QtCore

    deadline = time.monotonic() + seconds
    while True:
        QtCore.QCoreApplication.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        if time.monotonic() >= deadline:
            return
        time.sleep(0.002)


def wait_until(condition, timeout_seconds: float = 10.0) -> None:
    """Runs the event loop until a function returns true.

    Raises:
        TimeoutError: it did not within the time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still waiting after {timeout_seconds} s")
        process_events(0.005)


@contextmanager
def testing_mode(enabled: bool) -> Iterator[None]:
    """Changes what `slicer.app.testingEnabled()` says; errors are displayed outside testing mode only."""
    import slicer

    before = slicer.app.testingEnabled()
    slicer.app.setTestingEnabled(enabled)
    try:
        yield
    finally:
        slicer.app.setTestingEnabled(before)


@contextmanager
def no_main_window() -> Iterator[None]:
    """Runs the block as `Slicer --no-main-window`: no main window, and no layout manager."""
    import slicer

    _session.main_window.setObjectName("")
    slicer.app.setLayoutVisible(False)
    try:
        yield
    finally:
        _session.main_window.setObjectName("qSlicerMainWindow")
        slicer.app.setLayoutVisible(True)


def reset() -> None:
    """Between tests: leaves the module, empties the scene, restores the answers to dialogs, forgets the messages."""
    from .messages import clear_messages

    leave()
    _session.slicer.mrmlScene.Clear(False)
    process_events()
    clear_messages()
