"""The learning curve's table, picture and lines."""

import csv
import io

import pytest

from attention_unet_training.callbacks.learning_curve import duration, line, picture, table
from attention_unet_training.cli import main
from support import prepared_cases
from support.training_runs import tiny_config

FIRST = {"epoch": 1, "step": 10, "loss": 0.5, "learning_rate": 1e-3, "seconds": 90.0}
MEASURED = {"val_loss": 0.4, "dice_spleen": 0.8, "dice_kidney": 0.6, "dice": 0.7}
SECOND = FIRST | {"epoch": 2, "step": 20, "loss": 0.25} | MEASURED


def test_the_table_leaves_empty_what_was_not_measured():
    rows = list(csv.DictReader(io.StringIO(table([FIRST, SECOND]))))
    assert [row["dice_spleen"] for row in rows] == ["", "0.8"]
    assert [(row["epoch"], row["loss"]) for row in rows] == [("1", "0.5"), ("2", "0.25")]


def test_a_line_says_organs_loss_and_time_left():
    assert line([FIRST], 5) == "epoch 1/5: loss 0.5000; 6 min left"
    assert line([FIRST, SECOND], 5) == "epoch 2/5: loss 0.2500; Dice spleen 0.800, kidney 0.600; 4 min left"
    assert line([FIRST], None) == line([FIRST], -1) == "epoch 1: loss 0.5000"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (170, "3 min"), (3599, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_the_picture_has_a_curve_for_every_organ_and_both_losses():
    dice, loss = picture([FIRST, SECOND]).axes
    assert [curve.get_label() for curve in dice.lines] == ["spleen", "kidney"]
    assert [curve.get_label() for curve in loss.lines] == ["training", "validation"]
    assert dice.lines[0].get_xydata().tolist() == [[2, 0.8]]
    assert loss.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.25]]
    assert not len(picture([FIRST]).axes[0].lines)


@pytest.mark.filterwarnings("ignore")
def test_the_loss_is_the_same_however_many_batches_make_a_step(tmp_path):
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 3)
    model = {"optimisation": {"learning_rate": 1e-12}, "batch_norm": {"mode": "frozen"}}
    losses = []
    for batches in (1, 2):
        folder = tmp_path / str(batches)
        config = tiny_config(folder, dataset, 1, model=model, trainer={"accumulate_grad_batches": batches})
        assert main(["fit", "--config", str(config)]) == 0
        (row,) = csv.DictReader(io.StringIO((folder / "curve.csv").read_text()))
        losses.append(float(row["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
