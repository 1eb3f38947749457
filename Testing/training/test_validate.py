"""``attention-unet-train validate``: the Dice that fit reports for the same weights, and nothing is written."""

import re
from pathlib import Path

import pytest
import torch

from attention_unet_training.cli import main
from support import prepared_cases
from support.training_runs import tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path]:
    """A configuration, and the checkpoint that a run of it wrote."""
    folder = tmp_path_factory.mktemp("validate")
    dataset = prepared_cases.write_dataset(folder / "dataset", 4)
    average = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}}
    config = tiny_config(folder / "run", dataset, 16, callbacks=[average])
    assert main(["fit", "--config", str(config)]) == 0
    return config, folder / "run" / "best.ckpt"


def reported(checkpoint: Path) -> float:
    """The validation Dice for which fit kept this checkpoint."""
    states = torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"]
    (best,) = (state["best_model_score"] for name, state in states.items() if "dice" in name)
    return float(best)


def test_it_finds_the_dice_that_training_reported(run, capsys, tmp_path, monkeypatch):
    config, checkpoint = run
    monkeypatch.chdir(tmp_path)
    before = sorted(config.parent.rglob("*"))
    weights = ["--model.init_from", str(checkpoint), "--trainer.logger", "true"]  # a training run would log
    assert main(["validate", "--config", str(config), *weights]) == 0
    head, rule, row = (line for line in capsys.readouterr().out.splitlines() if line.startswith("|"))
    assert head == "| Dice | pancreas | spleen | kidney | mean |"
    assert len(re.findall("---", rule)) == 5
    name, *values = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == str(checkpoint)
    pancreas, spleen, kidney, mean = map(float, values)
    assert 0.1 < mean < 1  # sixteen epochs teach something, and the weights are not those of a fresh network
    assert mean == pytest.approx(reported(checkpoint), abs=6e-4)
    assert (pancreas + spleen + kidney) / 3 == pytest.approx(mean, abs=1.1e-3)
    assert sorted(config.parent.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: say whose weights to validate: --model.init_from CHECKPOINT"),
        (["--model.init_from", "nowhere.ckpt"], "error: nowhere.ckpt does not exist"),
        (["--ckpt_path", "last.ckpt"], "error: unrecognized arguments: --ckpt_path last.ckpt"),
    ],
)
def test_mistakes_are_told_in_one_line(run, capsys, arguments, message):
    assert main(["validate", "--config", str(run[0]), *arguments]) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    assert line.startswith(message)
