"""A state dict out of a file of ``torch.save``, which may come from anybody.

``torch.load(weights_only=True)`` runs no code, but a few bytes can make it reserve gigabytes: tensors that repeat one
number, constructors of storages, compressed entries. Here a file yields tensors that lie in it, and nothing else.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from ..errors import one_sentence
from .description import ModelError

MAX_PICKLE_BYTES = 1 << 20  # names and shapes of a network's tensors; the numbers are stored beside
DTYPES = {"HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32}
DTYPES |= {"DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32}


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict; its tensors take no more memory than the file.

    Raises:
        ModelError: If the file is damaged, or holds anything but tensors by their names.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = path.stat().st_size
            if sum(entry.file_size for entry in archive.infolist()) > size:
                raise ValueError("its entries are compressed or overlap")
            state = _Unpickler(archive).load()
        if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
            raise ValueError("a state dict is needed")
        if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
            raise ValueError("it has fewer numbers than its tensors")
    except Exception as error:  # a foreign file can lead zipfile and pickle to any
        raise ModelError(f"{path} is not a file of plain weights: {one_sentence(error)[:300]}") from error
    return state


class _Unpickler(pickle._Unpickler):
    """Of the pickle in an archive of ``torch.save``; the one in C would reserve what a number in the file says."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._storages = archive, dict[str, torch.Tensor]()
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        self._folder = name.removesuffix("data.pkl")
        if f"{self._folder}byteorder" in archive.namelist():
            order = archive.read(f"{self._folder}byteorder").decode()
            if order != sys.byteorder:
                raise ValueError(f"its byte order is {order}")
        if archive.getinfo(name).file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"{name} is too large")
        super().__init__(BytesIO(archive.read(name)))

    def find_class(self, module: str, name: str) -> Callable | torch.dtype:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"it holds {module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        _, dtype, key, _, _ = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _tensor(
    storage: torch.Tensor, offset: int, shape: Sequence[int], stride: Sequence[int], *_: object
) -> torch.Tensor:
    return storage.as_strided(shape, stride, offset)
