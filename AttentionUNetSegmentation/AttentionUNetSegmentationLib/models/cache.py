"""Keeps the network that was used last, so that the next run need not load it again."""

from __future__ import annotations

import gc
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .store import find_model, read_spec

if TYPE_CHECKING:
    from .loading import Model


@dataclass(frozen=True)
class _Kept:
    """A loaded model, and its folder and the hash of its weights; no key if it lies in no folder."""

    key: tuple[Path, str] | None
    model: Model

    def serves(self, key: tuple[Path, str] | None, folder: Path) -> bool:
        """Whether it is the model of that key, and its weights are still in the folder."""
        return key is not None and key == self.key and (folder / self.model.spec.weights.file).is_file()


class ModelCache:
    """One loaded model, known by its folder and the hash of its weights. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no network is loaded."""
        return self._kept is None

    def get(self, name: str) -> Model:
        """The model of that name (or path), loaded unless it is the one at hand.

        Raises:
            ModelError: If there is none, or it cannot be used.
        """
        from .loading import load_model

        folder = find_model(name)
        with self._lock:
            key = (folder, read_spec(folder).weights.sha256) if folder.is_dir() else None
            if self._kept is None or not self._kept.serves(key, folder):
                self._kept = None  # gone before the next one takes memory
                self._kept = _Kept(key, load_model(folder))
            return self._kept.model

    def free(self) -> None:
        """Drop the network, and give the GPU's memory back."""
        with self._lock:
            self._kept = None
        gc.collect()
        cuda = getattr(sys.modules.get("torch"), "cuda", None)  # not there while another thread imports it
        if cuda is not None and cuda.is_available():
            cuda.empty_cache()
