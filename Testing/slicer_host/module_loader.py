"""Loads a scripted module from its file."""

import importlib.util
import sys
from pathlib import Path

import slicer

from .module_manager import qSlicerScriptedLoadableModule


def load_module(path: str | Path) -> qSlicerScriptedLoadableModule:
    """Loads <Name>.py as the application does at start: class <Name>, then its widget.

    A module that is loaded already is returned as it is.

    Raises:
        RuntimeError: another file has been loaded under that name.
    """
    path = Path(path).resolve()
    known = slicer.app.moduleManager().module(path.stem)
    if known is None:
        known = _load(path)
    elif known.path != str(path):
        raise RuntimeError(f"module {path.stem} has been loaded from {known.path}, not from {path}")
    known.widgetRepresentation()
    return known


def _load(path: Path) -> qSlicerScriptedLoadableModule:
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # Slicer does it too: the module imports its Lib package
    spec = importlib.util.spec_from_file_location(path.stem, path)
    python_module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = python_module
    spec.loader.exec_module(python_module)
    module = qSlicerScriptedLoadableModule(path.stem, str(path))
    setattr(slicer.modules, path.stem + "Instance", getattr(python_module, path.stem)(module))
    slicer.app.moduleManager().addModule(module)
    slicer.app.startupCompleted.emit()
    return module
