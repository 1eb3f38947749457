"""``attention-unet-train fit``: every configuration runs, mistakes are told in one line."""

import re
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.command_line import CONFIGS as CONFIG_FOLDER
from attention_unet_training.command_line import FitCLI, make_cli
from attention_unet_training.data.synthetic_data import SyntheticCTData
from support import prepared_cases
from support.training_runs import tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CONFIGS = sorted(path.relative_to(CONFIG_FOLDER).as_posix() for path in CONFIG_FOLDER.rglob("*.yaml"))
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
TINY = ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true", *QUIET]
PATCH = ["--data.shape_kji", "[32, 32, 32]", "--data.workers", "0"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return prepared_cases.write_dataset(tmp_path_factory.mktemp("fit") / "dataset", 6)


def fit_cli(arguments: list[str]) -> FitCLI:
    return make_cli(arguments, "fit", None)


def commands(config: str) -> list[str]:
    """The configs of the command that a config's header gives."""
    header = (CONFIG_FOLDER / config).read_text().split("\nmodel:")[0]
    found = re.findall(r"^#\s+attention-unet-train fit (.*)$", header, re.MULTILINE)
    assert found, f"{config} does not say how it is used"
    return re.findall(r"--config (\S+)", found[0])


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_trains_and_validates(config, dataset, tmp_path, monkeypatch):
    """A step of each, with small patches and, where widths are a number, a small network."""
    monkeypatch.chdir(tmp_path)
    files = commands(config)
    assert config in files
    arguments = [part for name in files for part in ("--config", name)]
    arguments += ["--model.init_from", "null", "--trainer.fast_dev_run", "true", *TINY]
    if "abdomen_ct" in config:
        arguments += ["--data.atlas", "nowhere", "--data.patches.steps_per_epoch", "1", "--data.workers", "0"]
        monkeypatch.setattr(SyntheticCTData, "prepare_data", lambda self: None)
        monkeypatch.setattr(SyntheticCTData, "setup", lambda self, stage: None)
        monkeypatch.setattr(SyntheticCTData, "_patches", lambda *_: [patch()] * 4)
    else:
        split = {"cross_validation": "folds-2", "overfit": "null"}.get(Path(config).stem, "half")
        arguments += ["--data.dataset", str(dataset), "--data.split", split, "--data.validation_cases", "1", *PATCH]
    if "monai" not in config:
        arguments += ["--model.network.widths", "[2, 4, 4]"]
    assert main(["fit", *arguments, "--traceback", "true"]) == 0


def patch() -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.zeros(1, 16, 16, 16, dtype=torch.long)
    target[:, 4:8, 4:8, 4:8] = 1
    return target + 0.1 * torch.randn(target.shape), target


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_the_network_it_names(config, dataset):
    """With its own widths, not the tests'."""
    arguments = [part for name in commands(config) for part in ("--config", name)]
    where = ["--data.atlas", "nowhere"] if "abdomen_ct" in config else ["--data.dataset", str(dataset)]
    cli = fit_cli([*arguments, *where, "--model.init_from", "null", "--trainer.accelerator", "cpu"])
    parameters = sum(parameter.numel() for parameter in cli.model.network.parameters())
    known = {
        "paper/base.yaml": 6_407_018,
        "paper/table1_attention_unet.yaml": 6_407_018,
        "paper/public_code.yaml": 6_473_322,
        "paper/table1_unet.yaml": 5_888_004,
        "paper/table2_unet_6m44.yaml": 6_448_826,
        "paper/table2_unet_10m40.yaml": 10_388_242,
    }
    assert parameters == known.get(config, parameters) > 100_000


def test_later_configs_and_options_win(dataset, tmp_path):
    own = "model: {optimisation: {learning_rate: 0.5}}\ndata: {init_args: {batch_size: 3}}\n"
    (tmp_path / "own.yaml").write_text(own)
    files = ["--config", "paper/base.yaml", "--config", str(tmp_path / "own.yaml")]
    cli = fit_cli([*files, "--data.dataset", str(dataset), "--data.split", "30-120", "--trainer.accelerator=cpu"])
    assert cli.model.hparams.optimisation["learning_rate"] == 0.5
    assert cli.datamodule.hparams.batch_size == 3
    assert cli.datamodule.hparams.split == "30-120"
    assert cli.datamodule.hparams.shape_kji == [96, 160, 160]
    assert cli.datamodule.hparams.organs == cli.model.hparams.organs
    assert cli.trainer.checkpoint_callback.dirpath == str(Path("runs/paper").resolve())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.lr", "3"], "error: unrecognized arguments: --model.lr 3"),
        (["--model.loss.weight", "3"], "error: unrecognized arguments: --model.loss.weight 3"),
        (["--data.nonsense", "3"], "error: data: CasesData: Option 'nonsense' is not accepted"),
        (["--trainer.nonsense", "3"], "error: unrecognized arguments: --trainer.nonsense 3"),
        (
            ["--model.optimisation.learning_rate", "fast"],
            "error: Parser key \"model.optimisation.learning_rate\": Expected a <class 'float'>.",
        ),
        (["--config", "nowhere.yaml"], 'error: Parser key "config": File does not exist: \''),
        (["--data.dataset", "/nowhere"], "error: /nowhere is not a prepared dataset: it has no dataset.json"),
        (["--data.split", "1-2"], "has no split '1-2'; it has: folds-2, half"),
        (["--model.organs", "[liver]"], "labels none of the network's organs: it has pancreas, spleen, kidney"),
        (["--model.init_from", "nowhere.ckpt"], "error: nowhere.ckpt does not exist"),
        (["--model.active_organs", "[liver]"], "error: active_organs must be some of"),
        (["--ckpt_path", "nowhere.ckpt"], "error: Checkpoint file not found: nowhere.ckpt"),
        (
            ["--ckpt_path", "empty.ckpt"],
            "error: empty.ckpt is not a checkpoint of attention-unet-train fit: it was not written by",
        ),
        (
            ["--ckpt_path", "text.ckpt"],
            "error: text.ckpt is not a checkpoint of attention-unet-train fit: it was not written by",
        ),
        (
            ["--ckpt_path", "pointer.ckpt"],
            "error: pointer.ckpt is not a checkpoint of attention-unet-train fit: it is a pointer",
        ),
        (
            ["--ckpt_path", "list.ckpt"],
            "error: list.ckpt is not a checkpoint of attention-unet-train fit: it holds one list",
        ),
        (
            ["--model.init_from", "pointer.ckpt"],
            "pointer.ckpt is not a checkpoint of attention-unet-train fit: it is a pointer",
        ),
        (["--ckpt_path", "weights.pt"], "error: weights.pt holds weights, from which no run can be resumed"),
        (["--ckpt_path", "weights_only.ckpt"], "holds weights only, so no run can be resumed from it"),
    ],
)
def test_mistakes_are_told_in_one_line(dataset, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    torch.save({"pytorch-lightning_version": pl.__version__, "epoch": 0, "global_step": 1}, "weights_only.ckpt")
    torch.save(torch.nn.Linear(2, 2).state_dict(), "weights.pt")
    Path("empty.ckpt").touch()
    Path("text.ckpt").write_text("hello")
    Path("pointer.ckpt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    torch.save([1, 2], "list.ckpt")
    start = ["fit", "--config", "paper/base.yaml", "--data.dataset", str(dataset), "--data.split", "half", *TINY]
    assert main([*start, "--data.validation_cases", "1", *arguments]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert lines[0].startswith("error: ")


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_run_does_not_begin_where_another_has_left_its_checkpoints(dataset, tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    start = ["fit", "--config", "paper/base.yaml", "--data.dataset", str(dataset), "--data.split", "half", *TINY]
    assert main([*start, "--data.validation_cases", "1", "--trainer.default_root_dir", str(tmp_path)]) == 1
    assert f"error: {tmp_path} holds {name} of an earlier run: go on with that one" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


def test_organs_that_no_training_case_labels_are_refused_unless_the_weights_know_them(tmp_path, capsys):
    cases = prepared_cases.write_dataset(tmp_path / "data", 2, labelled=[("pancreas",), ("pancreas", "spleen")])
    start = tiny_config(tmp_path / "run", cases, 1, data={"split": None, "validate_on": "train", "validation_cases": 1})
    assert main(["fit", "--config", str(start)]) == 1
    assert "error: no training case labels kidney: give the organs that are labelled" in capsys.readouterr().err
    assert main(["fit", "--config", str(start), "--model.active_organs", "[pancreas, spleen]"]) == 0
    known = ["--model.init_from", str(tmp_path / "run" / "best.ckpt")]
    assert main(["fit", "--config", str(start), "--trainer.default_root_dir", str(tmp_path / "next"), *known]) == 0


@pytest.mark.parametrize("part", ["model", "model: {loss", "data: {init_args", "trainer", ""])
def test_unknown_keys_in_a_file_are_refused(dataset, tmp_path, capsys, part):
    content = f"{part}: {{nonsense: 3}}" + ("}" if "{" in part else "") if part else "nonsense: 3"
    (tmp_path / "own.yaml").write_text(content + "\n")
    files = ["--config", "paper/base.yaml", "--config", str(tmp_path / "own.yaml")]
    assert main(["fit", *files, "--data.dataset", str(dataset)]) == 1
    assert re.search(r"^error: .*nonsense.*$", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_an_error(dataset, capsys):
    arguments = ["fit", "--config", "paper/base.yaml", "--data.dataset", str(dataset)]
    assert main([*arguments, "--trainer.accelerator", "gpu"]) == 1
    assert re.search(r"^error: .*gpu", capsys.readouterr().err, re.MULTILINE | re.IGNORECASE)


def test_batch_norm_is_synchronised_on_gpus_only(dataset, monkeypatch):
    arguments = ["--config", "paper/base.yaml", "--data.dataset", str(dataset)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(FitCLI, "instantiate_classes", lambda self: None)
    assert fit_cli(arguments).config.trainer.sync_batchnorm is True
    assert fit_cli([*arguments, "--trainer.accelerator", "cpu"]).config.trainer.sync_batchnorm is False
    assert fit_cli([*arguments, "--trainer.sync_batchnorm", "false"]).config.trainer.sync_batchnorm is False
