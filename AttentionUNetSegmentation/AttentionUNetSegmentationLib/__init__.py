"""The engine: a CT in, organs and attention maps out, with the 3D Attention U-Net of Oktay et al. 2018.

The names that most programs need are offered here: ``read_volume``, ``load_model``, ``segment``, ``Volume``. Each is
imported when it is first asked for, so that the package can be imported where PyTorch is not installed yet.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .formats.files import read_volume
    from .models.loading import load_model
    from .pipeline import segment
    from .volume import Volume

__version__ = "0.2.0.dev0"
__all__ = ["Volume", "load_model", "read_volume", "segment"]

_MODULES = {"Volume": "volume", "load_model": "models.loading", "read_volume": "formats.files", "segment": "pipeline"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
