"""Reads and writes a network's weights as numpy arrays, without PyTorch.

Weights are kept in safetensors (https://github.com/huggingface/safetensors): eight bytes with the length of a JSON
header, the header with type, shape and place of every array, the arrays. Models made before have a ``weights.pt`` of
``torch.save``. Either may come from anybody: a file yields arrays that lie in it, and nothing else, so it runs no code
and takes no more memory than its size.
"""

from __future__ import annotations

import json
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import one_sentence
from .description import ModelError

Weights = dict[str, np.ndarray]
MAX_HEADER_BYTES = 1 << 20  # names and shapes of a network's arrays
DTYPES: dict[str, np.dtype] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}
TORCH_STORAGES = {"HalfStorage": "F16", "FloatStorage": "F32", "DoubleStorage": "F64", "LongStorage": "I64"}


def read_weights(path: Path) -> Weights:
    """Read all arrays of a ``.safetensors`` or ``.pt`` file, in the types they are stored in.

    Raises:
        ModelError: If the file is damaged, or holds anything but arrays by their names.
    """
    try:
        weights = _read_torch(path) if path.suffix == ".pt" else _read_safetensors(path)
        if sum(array.nbytes for array in weights.values()) > path.stat().st_size:
            raise ValueError("it has fewer numbers than its arrays")
    except Exception as error:  # a foreign file can lead json, zipfile and pickle to any
        raise ModelError(f"{path} is not a file of plain weights: {one_sentence(error)[:300]}") from error
    return weights


def write_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write arrays (float16, float32, float64 or int64) as safetensors; an existing file is replaced."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {}
    place = 0
    for name, array in weights.items():
        ends = [place, place + array.nbytes]
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": ends}
        place = ends[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of eight bytes
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in weights.values():
            file.write(np.ascontiguousarray(array).tobytes())


def _read_safetensors(path: Path) -> Weights:
    data = np.fromfile(path, np.uint8)
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError("its header is longer than the file, or than a network needs")
    header = json.loads(data[8 : 8 + length].tobytes())
    header.pop("__metadata__", None)
    body = data[8 + length :]
    weights = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        if start != end or not start <= stop <= len(body) or min(entry["shape"], default=0) < 0:
            raise ValueError(f"{name} does not lie where the array before it ends, or has a negative size")
        end = stop
        weights[name] = np.frombuffer(body[start:stop].tobytes(), DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if end != len(body):
        raise ValueError("it has more bytes than its arrays")
    return weights


def _read_torch(path: Path) -> Weights:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("its entries are compressed or overlap")
        state = _TorchUnpickler(archive).load()
    if not isinstance(state, dict) or not all(isinstance(array, np.ndarray) for array in state.values()):
        raise ValueError("a state dict is needed")
    return dict(state)


class _TorchUnpickler(pickle._Unpickler):
    """Of the pickle in an archive of ``torch.save``; the one in C would reserve what a number in the file says."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        self._folder = name.removesuffix("data.pkl")
        if f"{self._folder}byteorder" in archive.namelist():
            order = archive.read(f"{self._folder}byteorder").decode()
            if order != sys.byteorder:
                raise ValueError(f"its byte order is {order}")
        if archive.getinfo(name).file_size > MAX_HEADER_BYTES:
            raise ValueError(f"{name} is too large")
        super().__init__(BytesIO(archive.read(name)))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _array
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in TORCH_STORAGES:
            return DTYPES[TORCH_STORAGES[name]]
        raise pickle.UnpicklingError(f"it holds {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, _ = pid
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _array(storage: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object) -> np.ndarray:
    """What PyTorch's function of that name makes, for arrays that are stored in order."""
    in_order = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if any(size > 1 and stride != wanted for size, stride, wanted in zip(shape, strides, in_order, strict=True)):
        raise ValueError("an array is not stored in order")
    return storage[offset : offset + math.prod(shape)].reshape(shape)
