import contextlib
import json
import os
import shutil
import zipfile

import pytest
import torch

from AttentionUNetSegmentationLib.models import loading
from AttentionUNetSegmentationLib.models import store as model_store
from AttentionUNetSegmentationLib.models.description import WEIGHTS_FILE, ModelError
from AttentionUNetSegmentationLib.models.loading import add_model, load_model, save_model
from AttentionUNetSegmentationLib.models.store import find_model, list_models, remove_model
from support import phantoms
from support.model_files import rehash, replace_by_torch, zipped


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv(model_store.MODEL_FOLDER_VARIABLE, str(tmp_path / "added"))
    monkeypatch.setattr(model_store, "PACKAGED_MODELS", tmp_path / "packaged")


@pytest.mark.parametrize("prefix", ["", "some folder/", "some folder\\"])  # the last one by older tools of Windows
def test_a_zip_of_the_folder_loads_too(saved, tmp_path, prefix):
    assert load_model(zipped(saved, tmp_path / "model.zip", prefix)).spec.name == "test-model"


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


def test_the_working_folder_does_not_decide_which_model_is_loaded(saved, tmp_path, monkeypatch):
    add_model(saved)
    (tmp_path / "test-model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("test-model").folder == tmp_path / "added" / "test-model"


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


def test_add_list_find_and_remove(saved, tmp_path):
    assert list_models() == []
    added = add_model(zipped(saved, tmp_path / "model.zip"))
    assert added.folder == tmp_path / "added" / "test-model"
    assert [entry.name for entry in list_models()] == ["test-model"]
    assert load_model(find_model("test-model")).spec.name == "test-model"
    with pytest.raises(ModelError, match="is there already; remove it first"):
        add_model(saved)
    remove_model("test-model")
    kept = tmp_path / "added" / "test-model" / "best.ckpt"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(ModelError, match="test-model is there already and is no model; move it away"):
        add_model(saved)
    assert kept.read_text() == "mine"
    kept.unlink()
    kept.parent.rmdir()
    assert list_models() == []
    assert sorted(path.name for path in (tmp_path / "added").iterdir()) == []
    with pytest.raises(ModelError, match="there is no model 'test-model'; available: none"):
        find_model("test-model")


def test_of_two_adds_at_a_time_one_is_told(saved, tmp_path, monkeypatch):
    write = loading._write

    def write_while_another_adds(*args):
        monkeypatch.setattr(loading, "_write", write)
        (add_model(saved).folder / "notes.txt").write_text("of the first one")
        return write(*args)

    monkeypatch.setattr(loading, "_write", write_while_another_adds)
    with pytest.raises(ModelError, match="a model named 'test-model' is there already; remove it first"):
        add_model(saved)
    assert (tmp_path / "added" / "test-model" / "notes.txt").read_text() == "of the first one"
    assert [path.name for path in (tmp_path / "added").iterdir()] == ["test-model"]


def refuse(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


def test_a_removal_that_the_system_refuses_leaves_the_model(saved, tmp_path, monkeypatch):
    folder = add_model(saved).folder
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(ModelError, match=r"added.test-model cannot be removed: .*Permission denied"):
            remove_model("test-model")
    assert load_model("test-model").folder == folder
    assert [path.name for path in (tmp_path / "added").iterdir()] == ["test-model"]


def test_what_a_removal_cannot_delete_is_named(saved, own_model_folder, monkeypatch):
    added = add_model(saved)
    monkeypatch.setattr(model_store.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(ModelError, match=f"the model is removed, but {own_model_folder}/.* is left of it: delete it"):
        remove_model(added.name)
    assert added.name not in [entry.name for entry in list_models()]


def test_after_a_removal_that_was_interrupted_the_name_is_free(saved, tmp_path, monkeypatch):
    def interrupted(folder, *args, **kwargs):
        next(tmp_path.glob("added/**/model.json")).unlink()
        raise KeyboardInterrupt

    add_model(saved)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            remove_model("test-model")
    assert list_models() == []
    assert add_model(saved).folder == tmp_path / "added" / "test-model"


def test_a_description_with_a_byte_order_mark(saved):
    text = (saved / "model.json").read_text(encoding="utf-8")
    (saved / "model.json").write_text(text, encoding="utf-8-sig")
    assert load_model(saved).spec.name == "test-model"


def test_a_name_that_is_too_long_for_the_system():
    with pytest.raises(ModelError, match="there is no model 'xxx.*'; available: none"):
        find_model("x" * 5000)
    with pytest.raises(ModelError, match="xxx does not exist"):
        add_model("x" * 5000)


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
