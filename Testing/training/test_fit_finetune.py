"""``attention-unet-train finetune``: from a model folder to a checkpoint that knows the cases better."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.data.intensity_augmentation import IntensityAugmentation
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.task.segmentation_task import SegmentationTask
from attention_unet_training.task.starting_weights import read_starting_weights
from AttentionUNetSegmentationLib.inference.prediction import pad_to_multiple
from AttentionUNetSegmentationLib.models.description import ArchitectureSpec, IntensitySpec
from AttentionUNetSegmentationLib.models.loading import build_network, load_model, save_model
from support import phantoms, prepared_cases
from support.training_checkpoints import write_description
from support.training_runs import run_in_a_process

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
OPTIONS = ["--patch", "16", "16", "16", "--validation-cases", "1", "--workers", "0", "--device", "cpu", "--quiet"]
SHORT = ["--samples-per-epoch", "4"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finetune") / "model"
    architecture = ArchitectureSpec("AttentionUNet", (4, 8, 8))
    torch.manual_seed(0)
    save_model(
        folder,
        build_network(architecture, 4),
        phantoms.spec(architecture=architecture, intensity=prepared_cases.INTENSITY),
    )
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return prepared_cases.write_dataset(tmp_path_factory.mktemp("finetune") / "dataset", 4)


def finetune(model: Path, dataset: Path, output: Path, *options: str) -> int:
    return main(["finetune", str(model), str(dataset), "--output", str(output), *OPTIONS, *options])


@pytest.fixture(scope="module")
def tuned(model, dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finetune") / "run"
    assert finetune(model, dataset, folder, "--epochs", "6", "--learning-rate", "0.03", "--batch-norm", "train") == 0
    return folder


def test_fine_tuning_learns_the_cases_and_writes_checkpoints_logs_and_figures(tuned):
    content = torch.load(tuned / "best.ckpt", weights_only=True)
    assert content["hyper_parameters"]["organs"] == ["pancreas", "spleen", "kidney"]
    assert content["hyper_parameters"]["network"]["widths"] == [4, 8, 8]
    data = content["datamodule_hyper_parameters"]
    rule = {"clip_hu": [-200, 300], "mean_hu": -25, "std_hu": 130}
    assert (data["spacing_mm"], data["intensity"]) == (2.0, rule)
    assert len(data["training_ids"]) == 3
    log = (tuned / "curve.csv").read_text().splitlines()
    column = log[0].split(",").index("dice")
    dice = [float(line.split(",")[column]) for line in log[1:] if line.split(",")[column]]
    assert max(dice) > dice[0] + 0.05
    assert list((tuned / "logs").rglob("*.png"))


def test_the_exported_model_finds_what_validation_found(tuned, model, dataset, tmp_path):
    measured = [{"data": "x", "organ": "spleen", "metric": "Dice", "value": 0.5, "cases": 1}]
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    description = write_description(tmp_path / "description.json")
    options = ["--description", str(description), "--measured", str(tmp_path / "measured.json")]
    assert main(["export", str(tuned / "best.ckpt"), str(tmp_path / "exported"), *options]) == 0
    made = load_model(tmp_path / "exported").spec.provenance
    assert [base.name for base in made.bases] == [load_model(model).spec.name]
    assert made.bases[0].sha256 == load_model(model).spec.weights.sha256
    assert (len(made.training_cases), len(made.validation_cases), made.test_cases) == (3, 1, ())
    assert (made.dataset, made.seed, made.synthetic) == ("tiny", 0, False)
    assert made.optimisation["learning_rate"] > 0
    assert made.loss["kind"]
    assert set(made.software) >= {"attention-unet", "python", "torch", "lightning"}
    content = torch.load(tuned / "best.ckpt", weights_only=True)
    task = SegmentationTask(**{key: content["hyper_parameters"][key] for key in ("organs", "network")}).eval()
    task.load_state_dict(content["state_dict"])
    task.log = lambda *_, **__: None
    case = PreparedDataset.open(dataset).cases[0]
    image = np.asarray(case.image(), np.float32)
    labels = torch.from_numpy(case.labels().astype(np.int64))[None, None]
    validated = task.validation_step((torch.from_numpy(image)[None, None], labels), 0)["prediction"][0, 0].numpy()
    exported = load_model(tmp_path / "exported")
    with torch.no_grad():
        logits = exported.network(torch.from_numpy(pad_to_multiple(image, 16))[None, None])[0][0]
    found = logits.argmax(dim=0).numpy()[tuple(slice(0, size) for size in image.shape)]
    assert validated.any()
    assert phantoms.dice(found > 0, validated > 0) > 0.99


@pytest.mark.parametrize(("frozen", "same"), [("trunk", ("encoder", "mix")), ("gates", ("gates",))])
def test_frozen_parts_are_the_models(model, dataset, tmp_path, frozen, same):
    assert finetune(model, dataset, tmp_path, "--epochs", "1", *SHORT, "--frozen", frozen) == 0
    before, after = (read_starting_weights(source).state for source in (model, tmp_path / "last.ckpt"))
    for name, tensor in before.items():
        if name.startswith(same):
            assert torch.equal(tensor, after[name]), name
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_training_patches_vary_in_intensity_and_validation_cases_do_not(model, dataset, tmp_path, monkeypatch):
    seeds = []
    changed = IntensityAugmentation.__call__
    monkeypatch.setattr(
        IntensityAugmentation, "__call__", lambda self, images, seed: seeds.append(seed) or changed(self, images, seed)
    )
    assert finetune(model, dataset, tmp_path, "--epochs", "2", *SHORT) == 0
    assert len(seeds) == len(set(seeds)) == 8  # two epochs of four steps


def test_other_organs_can_be_chosen(model, dataset, tmp_path):
    assert finetune(model, dataset, tmp_path, "--epochs", "1", *SHORT, "--organs", "kidney", "pancreas") == 0
    weights = read_starting_weights(tmp_path / "last.ckpt")
    assert weights.organs == ("kidney", "pancreas")
    assert weights.state["mix.bias"].shape == (3,)


def test_an_interrupted_run_goes_on(model, dataset, tmp_path, capsys):
    assert finetune(model, dataset, tmp_path, "--epochs", "1", *SHORT) == 0
    assert f"wrote {tmp_path / 'best.ckpt'}" in capsys.readouterr().out
    steps = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert finetune(model, dataset, tmp_path, "--epochs", "2", *SHORT, "--resume", str(tmp_path / "last.ckpt")) == 0
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2 * steps


def test_without_a_terminal_every_epoch_is_one_line_and_nobody_advertises(model, dataset, tmp_path):
    options = [option for option in OPTIONS if option != "--quiet"]
    arguments = ["finetune", str(model), str(dataset), "--output", str(tmp_path / "run"), *options, *SHORT]
    done = run_in_a_process([*arguments, "--epochs", "3", "--validate-every", "2", "--precision", "32-true"])
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "precision 32-true, as asked for"
    first, second, third = (line for line in said if line.startswith("epoch"))
    number = r"\d\.\d+"
    assert re.fullmatch(rf"epoch 1/3: loss {number}; \d+ s left", first)
    organs = f"pancreas {number}, spleen {number}, kidney {number}"
    assert re.fullmatch(rf"epoch 2/3: loss {number}; Dice {organs}; \d+ s left", second)
    assert third.endswith("; 0 s left")
    for word in ("litlogger", "litmodels", "Tip", "lightning.ai", "TPU"):
        assert word not in done.stdout + done.stderr
    assert (tmp_path / "run" / "curve.png").is_file()


@pytest.mark.parametrize("option", ["--epochs", "--validate-every", "--devices"])
def test_numbers_below_one_are_refused(model, dataset, tmp_path, capsys, option):
    assert finetune(model, dataset, tmp_path, option, "0") == 1
    assert f"error: {option} must be at least 1, got 0" in capsys.readouterr().err


def test_mistakes_are_told_in_one_line(model, dataset, tmp_path, capsys, monkeypatch):
    assert finetune(Path("nothing"), dataset, tmp_path) == 1
    assert "error: there is no model 'nothing'" in capsys.readouterr().err
    assert finetune(model, tmp_path, tmp_path) == 1
    assert "is not a prepared dataset" in capsys.readouterr().err
    torch.save({"state_dict": {}}, tmp_path / "weights.ckpt")
    assert finetune(model, dataset, tmp_path, "--resume", str(tmp_path / "weights.ckpt")) == 1
    assert f"error: {tmp_path}/weights.ckpt holds weights, from which no run" in capsys.readouterr().err
    other = prepared_cases.write_dataset(tmp_path / "other", 2, spacing_mm=(1.5, 1.5, 1.5))
    assert finetune(model, other, tmp_path) == 1
    assert "error: the model test-model needs spacing_mm (2.0, 2.0, 2.0)" in capsys.readouterr().err
    monkeypatch.setattr(prepared_cases, "INTENSITY", IntensitySpec((-200.0, 300.0), 0.0, 1.0))
    assert finetune(model, prepared_cases.write_dataset(tmp_path / "scaled", 2), tmp_path) == 1
    assert "error: the model test-model needs intensity IntensitySpec(" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_cases_are_noticed_before_the_model_is_loaded(model, tmp_path, capsys, monkeypatch, count):
    few = prepared_cases.write_dataset(tmp_path / "few", count)
    module = "attention_unet_training.commands.finetune"
    monkeypatch.setattr(f"{module}.make_task", lambda *_: pytest.fail("the model was loaded"))
    assert finetune(model, few, tmp_path / "run", "--validation-cases", str(count)) == 1
    error = f"validation_cases: {count} of {count} cases leave none for training; ask for fewer"
    assert f"error: {error} (finetune: --validation-cases)" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error(model, dataset, tmp_path, capsys):
    options = [option if option != "cpu" else "gpu" for option in OPTIONS]
    assert main(["finetune", str(model), str(dataset), "--output", str(tmp_path), *options]) == 1
    assert "gpu" in capsys.readouterr().err.splitlines()[-1].lower()
