"""``attention-unet-train validate``: the Dice that fit reports for the same weights, and nothing is written."""

import re
import statistics
from pathlib import Path

import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.commands.validate import table
from support import prepared_cases
from support.training_runs import tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path]:
    """A configuration, and the checkpoint that a run of it wrote."""
    folder = tmp_path_factory.mktemp("validate")
    dataset = prepared_cases.write_dataset(folder / "dataset", 4)
    average = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}}
    config = tiny_config(folder / "run", dataset, 4, callbacks=[average], data={"samples_per_epoch": 32})
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
    title, _, head, rule, row = capsys.readouterr().out.splitlines()[-5:]
    assert title == f"Dice of {checkpoint}"
    assert head == "| person | pancreas | spleen | kidney | mean |"
    assert len(re.findall("---", rule)) == 5
    name, *values = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "mean"  # of one person
    pancreas, spleen, kidney, mean = map(float, values)
    assert 0.1 < mean < 1  # sixty-four steps teach something, and the weights are not those of a fresh network
    assert mean == pytest.approx(reported(checkpoint), abs=6e-4)
    assert (pancreas + spleen + kidney) / 3 == pytest.approx(mean, abs=1.1e-3)
    assert sorted(config.parent.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_there_is_a_row_for_every_person_and_how_they_spread(run, capsys):
    weights = ["--model.init_from", str(run[1]), "--data.validation_cases", "3"]
    assert main(["validate", "--config", str(run[0]), *weights]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("These weights were trained on cases of these names: c")
    assert len(said[-1].split(":")[1].split(",")) == 2  # one of the three chose the weights
    rows = [line.strip("|").split("|") for line in said if line.startswith("|")][2:]
    people = {row[0].strip(): [float(value) for value in row[1:]] for row in rows}
    *names, mean, lowest, spread = people
    assert len(names) == 3
    assert (mean, lowest, spread) == ("mean", "lowest", "standard deviation")
    for column in range(4):
        values = [people[name][column] for name in names]
        assert people[mean][column] == pytest.approx(sum(values) / 3, abs=1.1e-3)
        assert people[lowest][column] == min(values)
        assert people[spread][column] == pytest.approx(statistics.stdev(values), abs=1.1e-3)
    for name in names:
        assert people[name][3] == pytest.approx(sum(people[name][:3]) / 3, abs=1.1e-3)


def test_an_organ_that_a_person_lacks_leaves_its_cell_empty_and_does_not_count():
    rows = table({"p": {"a": 0.5, "b": 1.0}, "q": {"a": 0.25, "b": float("nan")}}).splitlines()
    assert rows[2:] == [
        "| p | 0.500 | 1.000 | 0.750 |",
        "| q | 0.250 |  | 0.250 |",
        "| mean | 0.375 | 1.000 | 0.500 |",
        "| lowest | 0.250 | 1.000 | 0.250 |",
        "| standard deviation | 0.177 |  | 0.354 |",
    ]


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
