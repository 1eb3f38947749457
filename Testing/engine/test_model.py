import contextlib
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.numpy
import torch

from AttentionUNetSegmentationLib.atomic import sha256_of
from AttentionUNetSegmentationLib.inference import torch_backend
from AttentionUNetSegmentationLib.models import store as model_store
from AttentionUNetSegmentationLib.models.description import WEIGHTS_FILE, ArchitectureSpec, ModelError, ModelSpec
from AttentionUNetSegmentationLib.models.loading import add_model, build_network, load_model, save_model
from AttentionUNetSegmentationLib.models.shapes import weight_shapes
from AttentionUNetSegmentationLib.models.store import find_model, list_models, remove_model
from AttentionUNetSegmentationLib.models.weights import read_weights
from support import phantoms


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv(model_store.MODEL_FOLDER_VARIABLE, str(tmp_path / "added"))
    monkeypatch.setattr(model_store, "PACKAGED_MODELS", tmp_path / "packaged")


@pytest.fixture
def saved(tmp_path) -> Path:
    model = phantoms.model()
    save_model(tmp_path / "model", model.network, model.spec)
    return tmp_path / "model"


def edit(folder: Path, **changes) -> None:
    content = json.loads((folder / "model.json").read_text())
    content.update(changes)
    (folder / "model.json").write_text(json.dumps(content))


def rehash(folder: Path, file: str = WEIGHTS_FILE) -> None:
    edit(folder, weights={"file": file, "sha256": sha256_of(folder / file)})


def replace_by_torch(folder: Path, content: object) -> None:
    """Weights as models had them before: whatever ``torch.save`` writes."""
    (folder / WEIGHTS_FILE).unlink()
    torch.save(content, folder / "weights.pt")
    rehash(folder, "weights.pt")


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, prefix + path.name)
    return target


def test_save_and_load_keep_weights_and_description(saved):
    original = phantoms.model()
    loaded = load_model(saved)
    assert not loaded.network.training
    assert loaded.spec.labels == original.spec.labels
    for name, tensor in original.network.state_dict().items():
        other = loaded.network.state_dict()[name]
        assert other.dtype == tensor.dtype
        torch.testing.assert_close(other, tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor)


def test_json_round_trip():
    spec = phantoms.spec()
    assert ModelSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("prefix", ["", "some folder/"])
def test_a_zip_of_the_folder_loads_too(saved, tmp_path, prefix):
    assert load_model(zipped(saved, tmp_path / "model.zip", prefix)).spec.name == "test-model"


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


def test_older_weights_are_read_and_converted_when_added(saved, tmp_path):
    state = {
        name: x.half() if x.is_floating_point() else x for name, x in phantoms.model().network.state_dict().items()
    }
    replace_by_torch(saved, state)
    added = add_model(saved).folder
    assert sorted(path.name for path in added.iterdir()) == ["model.json", WEIGHTS_FILE]
    for folder in (saved, added):
        loaded = load_model(folder).network.state_dict()
        assert all(torch.equal(loaded[name], x.to(loaded[name].dtype)) for name, x in state.items())


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


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        header_of({"a": {"dtype": "F32", "shape": [17], "data_offsets": [0, 68]}}),
        header_of({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 64]}}),
        header_of({"a": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}),
        header_of({"a": {"dtype": "O", "shape": [4], "data_offsets": [0, 16]}}),
        header_of({str(n): {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} for n in range(3)}),
        header_of({"a": 1}),
        header_of([1, 2]),
    ],
    ids=["empty", "length", "beyond", "larger", "negative", "type", "overlap", "no entry", "list"],
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
    ],
    ids=["expanded", "shared", "bytearray", "tensor", "storage", "text"],
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


def test_the_working_folder_does_not_decide_which_model_is_loaded(saved, tmp_path, monkeypatch):
    add_model(saved)
    (tmp_path / "test-model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("test-model").folder == tmp_path / "added" / "test-model"


def test_texts_of_a_model_cannot_steer_a_terminal_or_forge_a_line(saved):
    texts = dict.fromkeys(
        ("title", "licence", "version", "training_data"), "\x1b[31m\n  measured: Dice 0.99 \x9b \u202e"
    )
    edit(saved, **texts)
    spec = load_model(saved).spec
    for key in texts:
        assert getattr(spec, key) == r"\x1b[31m\n  measured: Dice 0.99 \x9b \u202e"


def test_weights_that_are_not_numbers(saved):
    state = phantoms.model().network.state_dict()
    state["mix.bias"] = torch.full_like(state["mix.bias"], torch.nan)
    replace_by_torch(saved, state)
    with pytest.raises(ModelError, match="not finite numbers: mix.bias"):
        load_model(saved)


LABEL = {"name": "spleen", "value": 1, "code": "78961009", "meaning": "Spleen", "color_rgb": [1, 2, 3]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "unknown keys: surprise"),
        ({"spacing_mm": [2, 2]}, "spacing_mm needs 3 entries, got 2"),
        ({"spacing_mm": [2, 2, "2"]}, r"spacing_mm\[2\] must be of type float, got '2'"),
        ({"spacing_mm": [2, 2, 0]}, "spacing_mm must lie in"),
        ({"labels": []}, "labels must not be empty"),
        ({"labels": [LABEL | {"plausible_ml": [0, float("inf")]}]}, r"plausible_ml\[1\] must be a finite number"),
        ({"labels": [LABEL | {"trained_hu": [float("nan"), 40]}]}, r"trained_hu\[0\] must be a finite number"),
        ({"labels": [LABEL | {"trained_hu": [40, 10**400]}]}, r"trained_hu\[1\] must be a finite number"),
        ({"labels": [LABEL | {"place": "up"}]}, r"place must be one of .*'left'.*, got 'up'"),
        ({"labels": [LABEL | {"plausible_ml": [600, 40]}]}, r"plausible_ml must rise, got \[600.0, 40.0\]"),
        ({"labels": [LABEL | {"name": "x" * 300}]}, "a label's name may have 60 letters, got 300"),
        ({"format_version": 2}, "format_version must be 1, got 2"),
        ({"name": "../evil"}, "name must consist of"),
        ({"licence": " "}, "licence must not be empty"),
        ({"architecture": {"type": "UNet", "widths": [2] * 9}}, "widths needs two to eight numbers in 1..4096"),
        ({"architecture": {"type": "UNet", "widths": [2, 10**12]}}, "widths needs two to eight numbers in 1..4096"),
        ({"licence": "x" * 2_000_000}, "has more than 1048576 bytes"),
        ({"architecture": {"type": "ResNet"}}, "architecture.type must be one of AttentionUNet, UNet, got 'ResNet'"),
        ({"architecture": {"type": "UNet", "depth": 3}}, "model.architecture has unknown keys: depth"),
        ({"intensity": {"clip_hu": [300, -200], "mean_hu": 0, "std_hu": 1}}, "clip_hu must rise"),
        ({"intensity": {"clip_hu": [-200, 300], "mean_hu": 0}}, "model.intensity lacks keys: std_hu"),
        ({"weights": {"file": "../w.pt", "sha256": "0" * 64}}, "plain file name"),
        ({"weights": {"file": "w.pt", "sha256": "xyz"}}, "64 hexadecimal"),
    ],
)
def test_descriptions_are_validated(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(saved)
    assert "model.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_must_be_told_apart(saved):
    content = json.loads((saved / "model.json").read_text())
    content["labels"][1]["value"] = 3  # the right kidney's
    edit(saved, labels=content["labels"])
    with pytest.raises(ModelError, match="every label needs a value of its own"):
        load_model(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_broken_json(saved, content):
    (saved / "model.json").write_text(content)
    with pytest.raises(ModelError, match=r"model\.json cannot be used"):
        load_model(saved)


def test_not_a_model_at_all(tmp_path):
    with pytest.raises(ModelError, match="is not a model: it has no model.json"):
        load_model(tmp_path)
    (tmp_path / "x.zip").write_text("no zip")
    with pytest.raises(ModelError, match=r"x\.zip is not a readable zip"):
        load_model(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match=r"y\.zip needs exactly one model.json"):
        load_model(tmp_path / "y.zip")


def test_a_broken_zip_is_named_not_its_scratch_folder(saved, tmp_path):
    (saved / WEIGHTS_FILE).write_bytes(b"broken")
    archive = zipped(saved, tmp_path / "broken.zip")
    with pytest.raises(ModelError, match=r"broken\.zip/weights\.safetensors is damaged"):
        load_model(archive)


def test_a_zip_that_unpacks_to_much_more_is_refused(saved, tmp_path):
    (saved / WEIGHTS_FILE).write_bytes(bytes(50_000_000))
    rehash(saved)
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in saved.iterdir():
            archive.write(path, path.name)
    with pytest.raises(ModelError, match="model.zip holds weights.safetensors, which would unpack to 50000000 bytes"):
        load_model(tmp_path / "model.zip")


def test_damaged_zips_are_named(saved, tmp_path):
    good = zipped(saved, tmp_path / "good.zip")
    with zipfile.ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in saved.iterdir():
            archive.write(path, path.name)
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        for path in saved.iterdir():
            archive.write(path, path.name)
    for source in (good, tmp_path / "deflated.zip", tmp_path / "lzma.zip"):
        content = bytearray(source.read_bytes())
        for position in range(200, len(content) - 200, max(1, len(content) // 12)):
            damaged = bytearray(content)
            damaged[position] ^= 8
            (tmp_path / "damaged.zip").write_bytes(damaged)
            with contextlib.suppress(ModelError):  # never another error; some bits do not matter
                load_model(tmp_path / "damaged.zip")
    truncated = tmp_path / "truncated.zip"
    truncated.write_bytes(good.read_bytes()[:-500])
    with pytest.raises(ModelError, match=r"truncated\.zip is not a readable zip"):
        load_model(truncated)
    with zipfile.ZipFile(tmp_path / "json.zip", "w") as archive:
        archive.writestr("model.json", "{")
    with pytest.raises(ModelError, match=r"json\.zip/model\.json cannot be used: not valid JSON"):
        load_model(tmp_path / "json.zip")


@pytest.mark.parametrize("name", ["", " . ", "a/b", "a:b", "../../evil", "a\nb"])
def test_label_names_must_be_usable_as_file_names(saved, name):
    content = json.loads((saved / "model.json").read_text())
    content["labels"][0]["name"] = name
    edit(saved, labels=content["labels"])
    with pytest.raises(ModelError, match="usable as a file name"):
        load_model(saved)


def test_add_list_find_and_remove(saved, tmp_path):
    assert list_models() == []
    added = add_model(zipped(saved, tmp_path / "model.zip"))
    assert added.folder == tmp_path / "added" / "test-model"
    assert [entry.name for entry in list_models()] == ["test-model"]
    assert load_model(find_model("test-model")).spec.name == "test-model"
    with pytest.raises(ModelError, match="is there already; remove it first"):
        add_model(saved)
    remove_model("test-model")
    assert list_models() == []
    assert sorted(path.name for path in (tmp_path / "added").iterdir()) == []
    with pytest.raises(ModelError, match="there is no model 'test-model'; available: none"):
        find_model("test-model")


def test_a_broken_model_is_not_added(saved, tmp_path):
    (saved / WEIGHTS_FILE).write_bytes(b"broken")
    with pytest.raises(ModelError, match="damaged"):
        add_model(saved)
    assert list_models() == []


def test_a_broken_model_is_listed_with_the_reason(saved, tmp_path):
    add_model(saved)
    (tmp_path / "added" / "test-model" / "model.json").write_text("{")
    (entry,) = list_models()
    assert entry.spec is None
    assert "not valid JSON" in entry.problem


@pytest.mark.parametrize("kind", ["nested", "huge"])
def test_absurd_json_spoils_its_own_model_only(saved, tmp_path, kind):
    add_model(saved)
    content = json.loads((saved / "model.json").read_text())
    content["intensity"]["std_hu"] = 10**400
    (tmp_path / "added" / "absurd").mkdir()
    (tmp_path / "added" / "absurd" / "model.json").write_text(
        "[" * 100_000 if kind == "nested" else json.dumps(content)
    )
    entries = {entry.folder.name: entry for entry in list_models()}
    assert entries["test-model"].spec is not None
    assert entries["absurd"].spec is None and entries["absurd"].problem


def test_packaged_models_can_neither_be_removed_nor_replaced(tmp_path):
    model = phantoms.model()
    save_model(tmp_path / "packaged" / "test-model", model.network, model.spec)
    with pytest.raises(ModelError, match="belongs to the package, so give yours another name"):
        add_model(tmp_path / "packaged" / "test-model")
    with pytest.raises(ModelError, match="belongs to the package and cannot be removed"):
        remove_model("test-model")
    assert (tmp_path / "packaged" / "test-model" / WEIGHTS_FILE).is_file()


def test_a_network_that_does_not_fit_its_description_is_not_saved(tmp_path):
    spec = phantoms.spec()
    other = build_network(dataclasses.replace(spec.architecture, widths=(2, 4, 4, 4, 8)), 4)
    with pytest.raises(ValueError, match="does not fit the architecture"):
        save_model(tmp_path / "model", other, spec)
    assert not (tmp_path / "model").exists()


def test_quality_is_one_line_of_measured_figures():
    from AttentionUNetSegmentationLib.models.description import Measurement

    assert phantoms.spec().quality() == "no figures were measured"
    measured = (Measurement("CT A", "spleen", "Dice", 0.9), Measurement("CT A", "kidney", "Dice", 0.8))
    assert phantoms.spec(measured=measured).quality() == "Dice: spleen 0.90, kidney 0.80 (CT A, 1 case)"


COUNT_FAULTS = """
import mmap, resource, torch
from AttentionUNetSegmentationLib.inference.torch_backend import take_large_pages

def faults(action):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    action()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def touch():
    pages.madvise(mmap.MADV_HUGEPAGE)
    pages[:: 4096] = bytes(len(pages) // 4096)

pages = mmap.mmap(-1, 128 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
take_large_pages()
print(faults(touch), faults(lambda: torch.ones(128 << 18)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "are_large"), [(None, True), ("0", False)])
def test_large_tensors_take_large_pages_unless_the_user_decided_otherwise(setting, are_large):
    if sys.platform != "linux":
        pytest.skip("PyTorch takes large pages on Linux only")
    environment = {name: value for name, value in os.environ.items() if name != torch_backend.LARGE_PAGES}
    environment |= {torch_backend.LARGE_PAGES: setting} if setting else {}
    command = [sys.executable, "-c", COUNT_FAULTS]
    output = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    possible, faults = map(int, output.split())
    half = (128 << 20) / 4096 / 2
    if possible > half:
        pytest.skip("this system gives no large pages, or has none left")
    assert (faults < half) == are_large


def test_taking_large_pages_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.delenv(torch_backend.LARGE_PAGES, raising=False)
    torch_backend.take_large_pages()
    assert torch_backend.LARGE_PAGES not in os.environ
    monkeypatch.setenv(torch_backend.LARGE_PAGES, "0")
    torch_backend.take_large_pages()
    assert os.environ[torch_backend.LARGE_PAGES] == "0"
