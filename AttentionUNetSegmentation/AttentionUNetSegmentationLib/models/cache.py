"""Keeps the network that was used last, so that the next run need not load it again."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import torch

from .loading import Model, load_model
from .store import find_model, read_spec


class ModelCache:
    """One loaded model, known by its folder and the hash of its weights. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[Path, str] | None = None
        self._model: Model | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no network is loaded."""
        return self._model is None

    def get(self, name: str) -> Model:
        """The model of that name (or path), loaded unless it is the one at hand.

        Raises:
            ModelError: If there is none, or it cannot be used.
        """
        folder = find_model(name)
        with self._lock:
            key = (folder, read_spec(folder).weights.sha256) if folder.is_dir() else None
            if key is None or key != self._key or not (folder / self._model.spec.weights.file).is_file():
                self._key = self._model = None
                self._key, self._model = key, load_model(folder)
            return self._model

    def free(self) -> None:
        """Drop the network, and give the GPU's memory back."""
        with self._lock:
            self._key = self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
