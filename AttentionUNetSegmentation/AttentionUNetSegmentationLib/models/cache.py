"""Keeps the network that was used last, so that the next run need not load it again."""

from __future__ import annotations

import gc
import sys
import threading
from typing import TYPE_CHECKING

from .store import find_model, read_spec

if TYPE_CHECKING:
    from pathlib import Path

    from .loading import Model


class ModelCache:
    """One loaded model, known by its folder and its description. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Model | None = None

    def get(self, name: str) -> Model:
        """The model of that name (or path), loaded unless it is the one at hand.

        Raises:
            ModelError: If there is none, or it cannot be used.
        """
        from .loading import load_model

        folder = find_model(name)
        with self._lock:
            if self._model is None or not self._is_from(folder, self._model):
                self._model = None  # gone before the next one takes memory
                self._model = load_model(folder)
            return self._model

    def free(self) -> None:
        """Drop the network, and give the GPU's memory back."""
        with self._lock:
            self._model = None
        gc.collect()
        cuda = getattr(sys.modules.get("torch"), "cuda", None)  # not there while another thread imports it
        if cuda is not None and cuda.is_available():
            cuda.empty_cache()

    @staticmethod
    def _is_from(folder: Path, model: Model) -> bool:
        """Whether a model is what lies in a folder, weights too: their hash is in the description."""
        return (
            model.folder == folder and model.spec == read_spec(folder) and (folder / model.spec.weights.file).is_file()
        )
