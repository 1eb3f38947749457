"""Reads and writes a network's weights as numpy arrays, without PyTorch and without running code from the file.

Weights are kept in safetensors (https://github.com/huggingface/safetensors: eight bytes with the length of a JSON
header, the header with type, shape and place of each array, the arrays). Models made before 1.0 have a ``weights.pt``
of PyTorch: a zip with one pickle, of which only the few names that describe arrays are understood.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]
MAX_HEADER_BYTES = 1 << 20
_DTYPES = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_TORCH_STORAGES = {"HalfStorage": "F16", "FloatStorage": "F32", "DoubleStorage": "F64", "LongStorage": "I64"}


class WeightsError(ValueError):
    """A file that holds no plain weights; the message says why, without the file's name."""


def read_weights(path: Path) -> Weights:
    """Read all arrays of a ``.safetensors`` or ``.pt`` file, as they are stored.

    Raises:
        WeightsError: If the file is damaged, or holds anything but plain arrays.
        OSError: If it cannot be read.
    """
    try:
        return _read_torch(path) if path.suffix == ".pt" else _read_safetensors(path)
    except (KeyError, IndexError, TypeError, AttributeError, EOFError, RecursionError, ValueError) as error:
        raise WeightsError(str(error)) from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(str(error)) from error


def write_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write arrays as safetensors.

    Args:
        path: The file; an existing one is replaced.
        weights: float16, float32, float64 or int64.
    """
    header: dict[str, Any] = {}
    place = 0
    for name, array in weights.items():
        ends = [place, place + array.nbytes]
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": ends}
        place = ends[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of eight bytes
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in weights.values():
            file.write(np.ascontiguousarray(array).tobytes())


def _read_safetensors(path: Path) -> Weights:
    data = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise WeightsError("its header is longer than the file, or than any network needs")
    header = json.loads(data[8 : 8 + length].tobytes())
    header.pop("__metadata__", None)
    body, weights = data[8 + length :], {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        array = body[start:end].view(_DTYPES[entry["dtype"]])
        if not 0 <= start <= end <= len(body):
            raise WeightsError(f"{name} lies outside the file")
        weights[name] = np.array(array).reshape(entry["shape"])
    return weights


def _read_torch(path: Path) -> Weights:
    with zipfile.ZipFile(path) as archive:
        size = path.stat().st_size
        if sum(entry.file_size for entry in archive.infolist()) > size:  # PyTorch compresses nothing
            raise WeightsError("it is compressed")
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        found = _TorchUnpickler(archive, pickled.removesuffix("data.pkl")).load()
    if not isinstance(found, dict) or not all(isinstance(array, np.ndarray) for array in found.values()):
        raise WeightsError("a state dict is needed")
    return dict(found)


class _TorchUnpickler(pickle.Unpickler):
    """Knows the names that a state dict needs, and no others, so that nothing of the file is run."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _array
        if module == "torch" and name in _TORCH_STORAGES:
            return _DTYPES[_TORCH_STORAGES[name]]
        raise WeightsError(f"it holds {module}.{name}, which is no array")

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, _ = pid
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _array(storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> np.ndarray:
    """What PyTorch's function of that name makes; of arrays without gaps only, so that none is larger than its file."""
    expected = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if any(size > 1 and stride != wanted for size, stride, wanted in zip(shape, strides, expected, strict=True)):
        raise WeightsError("an array is not stored in order")
    return storage[offset : offset + math.prod(shape)].reshape(shape)
