import dataclasses
import json
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import safetensors.numpy
import torch

from AttentionUNetSegmentationLib.models import loading
from AttentionUNetSegmentationLib.models.description import WEIGHTS_FILE, ArchitectureSpec, ModelError
from AttentionUNetSegmentationLib.models.loading import build_network, load_model, save_model
from AttentionUNetSegmentationLib.models.shapes import weight_shapes
from AttentionUNetSegmentationLib.models.weights import read_weights
from support import phantoms
from support.model_files import edit, rehash, replace_by_torch

pytestmark = pytest.mark.usefixtures("own_model_folder")


def test_save_and_load_keep_weights_and_description(saved):
    original = phantoms.model()
    loaded = load_model(saved)
    assert not loaded.network.training
    assert loaded.spec.labels == original.spec.labels
    for name, tensor in original.network.state_dict().items():
        other = loaded.network.state_dict()[name]
        assert other.dtype == tensor.dtype
        torch.testing.assert_close(other, tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor)


def test_tampered_weights(saved):
    data = bytearray((saved / WEIGHTS_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (saved / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match=r"weights\.safetensors is damaged or was changed"):
        load_model(saved)


def test_truncated_weights(saved):
    data = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"weights\.safetensors is damaged or was changed"):
        load_model(saved)
    rehash(saved)
    with pytest.raises(ModelError, match=r"weights\.safetensors is not a file of plain weights"):
        load_model(saved)


def test_missing_weights(saved):
    (saved / WEIGHTS_FILE).unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing: the model has no weights"):
        load_model(saved)


def test_weights_are_what_the_safetensors_package_writes_and_reads(saved, tmp_path):
    weights = read_weights(saved / WEIGHTS_FILE)
    theirs = safetensors.numpy.load_file(saved / WEIGHTS_FILE)
    assert set(theirs) == set(weights) and all((theirs[name] == weights[name]).all() for name in weights)
    safetensors.numpy.save_file(weights, tmp_path / "theirs.safetensors", metadata={"format": "np"})
    ours = read_weights(tmp_path / "theirs.safetensors")
    assert set(ours) == set(weights) and all((ours[name] == weights[name]).all() for name in weights)


def header_of(entries: dict, body: int = 64) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + bytes(body)


def f32(shape: list[int], start: int, stop: int) -> dict:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        header_of({"__metadata__": {"text": "a" * 2_000_000}}),
        header_of({"a": {"dtype": "F32", "shape": [17], "data_offsets": [0, 68]}}),
        header_of({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 64]}}),
        header_of({"a": {"dtype": "F32", "shape": [4], "data_offsets": [-32, -16]}}),
        header_of({"a": {"dtype": "O", "shape": [4], "data_offsets": [0, 16]}}),
        header_of({str(n): {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} for n in range(3)}),
        header_of({"a": f32([8], 0, 32), "b": f32([8], 16, 48)}),
        header_of({"a": f32([4], 0, 16), "b": f32([8], 32, 64)}),
        header_of({"a": f32([8], 0, 32)}),
        header_of({"a": f32([-1], 0, 64)}),
        header_of({"a": 1}),
        header_of([1, 2]),
    ],
    ids=[
        "empty",
        "length",
        "long header",
        "beyond",
        "larger",
        "negative",
        "type",
        "overlap",
        "partial overlap",
        "gap",
        "bytes after the last",
        "negative size",
        "no entry",
        "list",
    ],
)
def test_damaged_safetensors_are_refused(saved, content):
    (saved / WEIGHTS_FILE).write_bytes(content)
    rehash(saved)
    with pytest.raises(ModelError, match=r"weights\.safetensors is not a file of plain weights"):
        load_model(saved)


@pytest.mark.parametrize("kind", ["UNet", "AttentionUNet"])
@pytest.mark.parametrize("widths", [(2, 3), (2, 3, 4), (3, 4, 5, 6, 7)])
@pytest.mark.parametrize(("num_subgates", "gating_conv"), [(1, False), (2, True), (3, False)])
def test_the_shapes_of_weights_are_known_without_the_network(kind, widths, num_subgates, gating_conv):
    architecture = ArchitectureSpec(kind, widths, num_subgates=num_subgates, gating_conv=gating_conv)
    state = build_network(architecture, 5).state_dict()
    assert weight_shapes(architecture, 5) == {name: tuple(x.shape) for name, x in state.items()}


class Malicious:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("content", ["pickle", "torch", "not a dict", "text"])
def test_foreign_weights_never_run_code(saved, content, monkeypatch):
    monkeypatch.chdir(saved)
    replace_by_torch(saved, {})
    path = saved / "weights.pt"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Malicious()))
    elif content == "torch":
        torch.save(Malicious(), path)
    elif content == "not a dict":
        torch.save([torch.zeros(1)], path)
    else:
        path.write_text("hello")
    rehash(saved, "weights.pt")
    with pytest.raises(ModelError, match=r"weights\.pt is not a file of plain weights"):
        load_model(saved)
    assert not (saved / "executed").exists()


def test_weights_of_more_classes_than_labels(saved):
    labels = json.loads((saved / "model.json").read_text())["labels"]
    edit(saved, labels=labels[:-1])
    expected = f"weights.safetensors is of {len(labels) + 1} classes with background, model.json of {len(labels)}"
    with pytest.raises(ModelError, match=re.escape(expected)):
        load_model(saved)


def test_weights_of_another_network(saved):
    replace_by_torch(saved, torch.nn.Linear(2, 2).state_dict())
    with pytest.raises(ModelError, match=r"weights\.pt does not fit the architecture"):
        load_model(saved)


class Reserving:
    """Makes ``torch.load`` reserve what it says, without running code."""

    def __init__(self, call, size):
        self.call, self.size = call, size

    def __reduce__(self):
        return self.call, (self.size,)


def expanded(state):
    state["encoder.0.conv1.weight"] = torch.zeros(1).expand(10**10)
    return state


def shared(state):
    storage = torch.zeros(max(tensor.numel() for tensor in state.values()))
    return {name: storage[: tensor.numel()].view(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize(
    "content",
    [
        expanded,
        shared,
        lambda state: state | {"mix.bias": Reserving(bytearray, 10**12)},
        lambda state: state | {"mix.bias": Reserving(torch.FloatTensor, 10**12)},
        lambda state: state | {"mix.bias": Reserving(torch.FloatStorage, 10**12)},
        lambda state: state | {"mix.bias": "a" * 2_000_000},
        lambda state: state | {"a" * 2_000_000: torch.zeros(1)},
    ],
    ids=["expanded", "shared", "bytearray", "tensor", "storage", "text", "long name"],
)
def test_weights_that_would_take_more_memory_than_their_file_are_refused(saved, content):
    replace_by_torch(saved, content(phantoms.model().network.state_dict()))
    with pytest.raises(ModelError, match=r"weights\.pt is not a file of plain weights"):
        load_model(saved)


def test_compressed_weights_are_refused(saved):
    replace_by_torch(saved, phantoms.model().network.state_dict())
    with zipfile.ZipFile(saved / "weights.pt") as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(saved / "weights.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data if name.endswith("pkl") else bytes(10**6))
    rehash(saved, "weights.pt")
    with pytest.raises(ModelError, match="entries are compressed or overlap"):
        load_model(saved)


def test_a_network_that_is_larger_than_its_weights_is_not_built(saved):
    edit(saved, architecture={"type": "AttentionUNet", "widths": [4096] * 8, "num_subgates": 9})
    with pytest.raises(ModelError, match=r"does not fit the architecture in model.json: \S+ differs"):
        load_model(saved)


def test_weights_that_are_not_numbers(saved):
    state = phantoms.model().network.state_dict()
    state["mix.bias"] = torch.full_like(state["mix.bias"], torch.nan)
    replace_by_torch(saved, state)
    with pytest.raises(ModelError, match="not finite numbers: mix.bias"):
        load_model(saved)


def test_variances_below_zero(saved):
    state = phantoms.model().network.state_dict()
    state["encoder.1.norm2.running_var"][1] = -1
    replace_by_torch(saved, state)
    with pytest.raises(ModelError, match=r"weights\.pt has variances below 0: encoder\.1\.norm2\.running_var"):
        load_model(saved)


def test_weights_that_the_system_does_not_give(saved, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(loading, "sha256_of", refuse)
    with pytest.raises(ModelError, match=r"weights\.safetensors cannot be read: .*Permission denied"):
        load_model(saved)


def test_a_network_that_does_not_fit_its_description_is_not_saved(tmp_path):
    spec = phantoms.spec()
    other = build_network(dataclasses.replace(spec.architecture, widths=(2, 4, 4, 4, 8)), 4)
    with pytest.raises(ValueError, match="does not fit the architecture"):
        save_model(tmp_path / "model", other, spec)
    assert not (tmp_path / "model").exists()
