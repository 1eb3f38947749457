"""Exporting a model: what is refused, and that all outputs appear together or not at all."""

import json
from pathlib import Path

import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.commands.export import export
from attention_unet_training.evaluation.checkpoints import load_checkpoint
from attention_unet_training.export.half_precision import half_rounded
from attention_unet_training.staging import Output, staged
from AttentionUNetSegmentationLib.models.loading import load_model, save_model
from support import phantoms
from support.training_checkpoints import DESCRIPTIONS, tiny_network, write_checkpoint, write_description

MEASURED = [{"data": "phantom", "organ": "spleen", "metric": "Dice", "value": 0.5, "cases": 2}]


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return write_checkpoint(tmp_path / "best.ckpt", tiny_network())


@pytest.fixture
def measured(tmp_path) -> Path:
    return write_json(tmp_path / "measured.json", MEASURED)


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def description(tmp_path) -> Path:
    return write_description(tmp_path / "description.json")


def test_a_checkpoint_becomes_a_model_with_its_weights_and_metrics(checkpoint, measured, tmp_path, description):
    done = export(checkpoint, tmp_path / "model", description, measured)
    model = load_model(tmp_path / "model")
    assert done.spec == model.spec
    assert done.onnx_difference is None
    assert model.spec.quality() == "Dice: spleen 0.50 (phantom, 2 cases)"
    assert model.spec.training == {"steps": 7, "command": "attention-unet-train fit"}
    assert model.spec.intensity.std_hu == 130.0
    for name, tensor in tiny_network().state_dict().items():
        torch.testing.assert_close(model.network.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_network_that_never_finds_some_of_its_organs_is_refused(measured, tmp_path, description):
    task = {"active_organs": ["pancreas"]}
    checkpoint = write_checkpoint(tmp_path / "aft.ckpt", tiny_network(), task=task)
    with pytest.raises(ValueError, match="aft.ckpt never finds spleen, kidney, which active_organs left out: train"):
        export(checkpoint, tmp_path / "model", description, measured)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("key", ["training_data", "licence", "intended_use"])
def test_what_the_description_lacks_is_named(checkpoint, measured, tmp_path, key):
    incomplete = write_description(tmp_path / "d.json", **{key: None})
    with pytest.raises(ValueError, match=f"d.json lacks {key}, which every export needs"):
        export(checkpoint, tmp_path / "model", incomplete, measured)
    with pytest.raises(ValueError, match=f"d.json: {key} must not be empty"):
        export(checkpoint, tmp_path / "model", write_description(tmp_path / "d.json", **{key: " "}), measured)


def test_a_description_that_is_not_there_is_told_in_one_sentence(checkpoint, measured, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json cannot be read: No such file or directory"):
        export(checkpoint, tmp_path / "model", tmp_path / "nowhere.json", measured)


def test_a_checkpoint_needs_a_description(checkpoint, measured, tmp_path):
    with pytest.raises(ValueError, match="only with --description"):
        export(checkpoint, tmp_path / "model", None, measured)


def test_measured_metrics_are_required(checkpoint, tmp_path, description):
    with pytest.raises(ValueError, match="measured figures are missing"):
        export(checkpoint, tmp_path / "model", description)
    with pytest.raises(ValueError, match="m.json holds no measured figures"):
        export(checkpoint, tmp_path / "model", description, write_json(tmp_path / "m.json", []))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"organ": "liver"}, "has figures of liver; organs of the model: kidney, left kidney"),
        ({"value": 5}, "m.json: Dice must be between 0 and 1, got 5"),
        ({"value": -1}, "m.json: Dice must be between 0 and 1, got -1"),
        ({"value": float("nan")}, "value must be a finite number, got nan"),
        ({"cases": 0}, "at least one case"),
        ({"author": "x"}, "unknown keys: author"),
    ],
)
def test_metrics_must_be_usable(checkpoint, tmp_path, change, message, description):
    wrong = write_json(tmp_path / "m.json", [MEASURED[0] | change])
    with pytest.raises(ValueError, match=message):
        export(checkpoint, tmp_path / "model", description, wrong)


def test_figures_of_other_organs_or_given_twice_are_refused_beside_good_ones(checkpoint, tmp_path, description):
    for other, message in (
        ({"organ": "liver"}, "figures of liver"),
        ({"value": 0.9}, "has two figures of phantom, spleen, Dice"),
    ):
        both = write_json(tmp_path / "m.json", [*MEASURED, MEASURED[0] | other])
        with pytest.raises(ValueError, match=message):
            export(checkpoint, tmp_path / "model", description, both)
    distance = MEASURED[0] | {"metric": "surface distance (mm)", "value": 5.0}
    export(checkpoint, tmp_path / "model", description, write_json(tmp_path / "m.json", [*MEASURED, distance]))


@pytest.mark.parametrize(("key", "value"), [("measured", MEASURED), ("spacing_mm", [1, 1, 1]), ("licens", "x")])
def test_a_description_holds_only_what_a_user_decides(checkpoint, measured, tmp_path, key, value):
    with pytest.raises(ValueError, match=f"must not have the key '{key}'"):
        export(checkpoint, tmp_path / "model", write_description(tmp_path / "d.json", **{key: value}), measured)


def test_networks_that_the_module_cannot_load_are_refused(measured, tmp_path, capsys, description):
    path = write_checkpoint(tmp_path / "x.ckpt", tiny_network(), kind="monai.SegResNet")
    arguments = [str(path), str(tmp_path / "model"), "--description", str(description), "--measured", str(measured)]
    assert main(["export", *arguments]) == 1
    assert capsys.readouterr().err == (
        "error: only AttentionUNet and UNet can be loaded by the module, got monai.SegResNet\n"
    )


def test_other_files_are_no_checkpoints(measured, tmp_path, description):
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "pointer.ckpt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    torch.save({"state_dict": {}}, tmp_path / "plain.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    torch.save(tiny_network(), tmp_path / "whole.ckpt")
    for name, reason in (
        ("text", "it was not written by PyTorch, or is damaged"),
        ("pointer", "it is a pointer of Git LFS"),
        ("plain", "hyper_parameters"),
        ("list", "it holds one list"),
        ("whole", "it holds more than tensors and plain values"),
    ):
        with pytest.raises(
            ValueError, match=rf"{name}.ckpt is not a checkpoint of attention-unet-train fit: .*{reason}"
        ):
            export(tmp_path / f"{name}.ckpt", tmp_path / "model", description, measured)
    with pytest.raises(ValueError, match="missing.ckpt does not exist"):
        export(tmp_path / "missing.ckpt", tmp_path / "model", description, measured)


def test_a_diverged_training_is_refused():
    with pytest.raises(ValueError, match="w is not finite in half precision"):
        half_rounded({"n": torch.tensor(3), "w": torch.tensor([1.0, 1e6])})


def test_checkpoints_that_lack_something_are_named(checkpoint, measured, tmp_path, description):
    whole = torch.load(checkpoint, weights_only=True)
    nameless, holed = tmp_path / "nameless.ckpt", tmp_path / "holed.ckpt"
    options = {key: value for key, value in whole["hyper_parameters"].items() if key != "organs"}
    torch.save(whole | {"hyper_parameters": options}, nameless)
    state = {key: value for key, value in whole["state_dict"].items() if key != "network.mix.bias"}
    torch.save(whole | {"state_dict": state}, holed)
    for path, message in ((nameless, "organs"), (holed, "mix.bias")):
        with pytest.raises(ValueError, match=rf"{path} .*{message}"):
            export(path, tmp_path / "model", description, measured)
        with pytest.raises(ValueError, match=rf"{path} .*{message}"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [([MEASURED[0] | {"value": "0.5"}], r"measured\[0\].value must be of type float, got '0.5'"), ([1], "an object")],
)
def test_figures_that_are_none_are_named_by_their_own_file(checkpoint, tmp_path, description, content, message):
    with pytest.raises(ValueError, match=rf"^{tmp_path}/m.json: .*{message}"):
        export(checkpoint, tmp_path / "model", description, write_json(tmp_path / "m.json", content))


def test_a_model_folder_can_be_exported_again(checkpoint, measured, tmp_path, description):
    first = export(checkpoint, tmp_path / "model", description, measured).spec
    second = export(tmp_path / "model", tmp_path / "copy").spec
    assert second == first
    better = write_json(tmp_path / "m.json", [MEASURED[0] | {"value": 0.75}])
    changed = write_description(tmp_path / "d.json", version="9")
    third = export(tmp_path / "model", tmp_path / "third", changed, better).spec
    assert (third.version, third.measured[0].value, third.weights) == ("9", 0.75, first.weights)


def test_a_model_without_metrics_is_not_exported_again(tmp_path):
    save_model(tmp_path / "model", tiny_network(), phantoms.spec())
    with pytest.raises(ValueError, match="measured figures are missing"):
        export(tmp_path / "model", tmp_path / "copy")


def test_existing_outputs_stay_unless_told_otherwise(checkpoint, measured, tmp_path, description):
    export(checkpoint, tmp_path / "model", description, measured)
    before = (tmp_path / "model" / "model.json").read_text()
    changed = write_description(tmp_path / "d.json", version="9")
    with pytest.raises(ValueError, match="model exists already; --overwrite replaces it"):
        export(checkpoint, tmp_path / "model", changed, measured)
    assert (tmp_path / "model" / "model.json").read_text() == before
    export(checkpoint, tmp_path / "model", changed, measured, overwrite=True)
    assert load_model(tmp_path / "model").spec.version == "9"
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files, such as notes.txt"):
        export(checkpoint, tmp_path / "model", description, measured, overwrite=True)
    assert load_model(tmp_path / "model").spec.version == "9"


def test_all_outputs_or_none(tmp_path):
    a, b = tmp_path / "a", tmp_path / "deep" / "b"

    def fail() -> None:
        with staged([Output(a, ("*",)), Output(b)]) as (draft, _):
            draft.mkdir()
            (draft / "file").write_text("x")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []
    a.mkdir()  # an empty folder may be filled
    with staged([Output(a, ("*",)), Output(b)]) as (draft_a, draft_b):
        draft_a.mkdir()
        (draft_a / "file").write_text("x")
        draft_b.write_text("y")
        assert not (a / "file").exists()
    assert (a / "file").read_text() + b.read_text() == "xy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "deep"]


def test_outputs_must_lie_apart(tmp_path):
    outputs = [Output(tmp_path / "a", ("*",)), Output(tmp_path / "a" / "b")]
    with pytest.raises(ValueError, match="must not lie inside each other"), staged(outputs):
        pass


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "a").write_text("mine")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_text("mine")
    for output, message in ((Output(tmp_path / "a", ("*",)), "is a file"), (Output(tmp_path / "b"), "is a folder")):
        with pytest.raises(ValueError, match=message), staged([output], overwrite=True):
            pass


def test_nothing_to_write_is_an_error(checkpoint):
    with pytest.raises(ValueError, match="nothing to write"):
        export(checkpoint)


def test_help_documents_the_description(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    text = capsys.readouterr().out
    fields = json.loads((DESCRIPTIONS / "my-model.json").read_text(encoding="utf-8"))
    for field in (*fields, "plausible_ml", "caution", "modifier_code"):
        assert f"  {field}" in text or f"{field}," in text
