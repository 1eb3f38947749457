"""``attention-unet-train reproduce``: plans, splits, and whole tables on phantoms with tiny networks."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from attention_unet_training.cli import main
from attention_unet_training.preparation.splits import draw_folds, draw_holdout
from attention_unet_training.reproduction.plan import RECIPES, TABLES, make_plan
from attention_unet_training.reproduction.public_data import AMOS, CT82
from support.prepare_phantoms import write_nnunet, write_tcia
from support.training_runs import CHECKPOINTS, TESTING, run_in_a_process

CONFIGS = TESTING.parent / "Training/attention_unet_training/configs"
LABELS = {"1": "pancreas", "2": "spleen", "3": "right kidney", "4": "left kidney"}
KILL = "support.training_runs.KillOnce"


def all_ids(data) -> list[str]:
    return sorted(set().union(*(data.split(name).ids for name in data.split_names())))


def test_the_splits_have_the_papers_sizes_and_share_no_case():
    assert [(len(AMOS.split(n).folds[0].train), len(AMOS.split(n).folds[0].test)) for n in AMOS.split_names()] == [
        (120, 30),
        (30, 120),
    ]
    assert AMOS.split("ours-120-30").ids == AMOS.split("ours-30-120").ids
    for name in all_ids(AMOS):
        assert re.fullmatch(r"amos_0\d{3}", name) and int(name[5:]) <= 500  # a CT
    assert all_ids(CT82) == [f"PANCREAS_{n:04}" for n in range(1, 83) if n not in (25, 70)]


def test_the_splits_are_drawn_as_prepare_draws_them():
    patients = {name: name for name in all_ids(CT82)}
    assert CT82.split("ours-60-20") == draw_holdout(patients, "60/20", 0).split
    assert CT82.split("ours-folds-5") == draw_folds(patients, 5, 0).split


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_plans_are_complete(table, recipe):
    """Every input is an earlier step's output, names are unique, configurations exist."""
    plan = make_plan(table, recipe, seed=7)
    there: set[str] = set()
    for step in plan.steps:
        assert set(step.inputs) <= there, step.name
        assert not set(step.outputs) & there, step.name
        there |= set(step.outputs)
    assert len({step.name for step in plan.steps}) == len(plan.steps)
    for step in plan.steps:
        if step.kind == "fit":
            configs = [name for option, name in zip(step.arguments, step.arguments[1:]) if option == "--config"]
            assert all((CONFIGS / name).is_file() for name in configs if name != "paper/public_code.yaml")
            seeds = [name for option, name in zip(step.arguments, step.arguments[1:]) if option.endswith("seed_everything")]
            assert seeds == ["7"]


def test_tables_share_their_trainings():
    """A step of that name is the same in every plan, so that a folder can hold all tables."""
    steps: dict = {}
    for table in TABLES:
        for step in make_plan(table).steps:
            assert steps.setdefault(step.name, step) == step
    fits = [step.name for step in steps.values() if step.kind == "fit"]
    assert len(fits) == 4 + 2 + 4 + 5


def write_amos(folder: Path) -> Path:
    """Three cases that both splits train on, seven that both test on: enough for a test."""
    learnt = AMOS.split("ours-30-120").folds[0].train[:3]
    tested = AMOS.split("ours-120-30").folds[0].test[:7]
    write_nnunet(folder / "amos22", [*learnt, *tested], {"labels": LABELS})
    return folder


def write_ct82(folder: Path) -> Path:
    """A case of each fold's test part, and one more to test in table 3."""
    names = {fold.test[0] for fold in CT82.split("ours-folds-5").folds} | {CT82.split("ours-60-20").folds[0].test[-1]}
    numbers = sorted(int(name[-4:]) for name in names)
    write_tcia(folder / "Pancreas-CT", numbers, numbers)
    return folder


def settings(folder: Path, *callbacks: dict) -> Path:
    """Tiny networks, patches and epochs."""
    content = {
        "model": {"network": {"widths": [4, 8, 8]}, "optimisation": {"learning_rate": 0.02}},
        "data": {
            "init_args": {"shape_kji": [16, 16, 16], "samples_per_epoch": 8, "validation_cases": 1, "workers": 0}
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 3,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [
                *({"class_path": f"lightning.pytorch.callbacks.ModelCheckpoint", "init_args": options} for options in CHECKPOINTS),
                {"class_path": "attention_unet_training.callbacks.KeptEpochs", "init_args": {"epochs": [1, 3]}},
                *callbacks,
            ],
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    return folder / "tiny.yaml"
