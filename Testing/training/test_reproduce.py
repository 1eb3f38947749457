"""``attention-unet-train reproduce``: plans, splits, and whole tables on phantoms with tiny networks."""

import dataclasses
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch
import yaml

from attention_unet_training.cli import main
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.preparation.records import read_record
from attention_unet_training.preparation.splits import draw_folds, draw_holdout
from attention_unet_training.reproduction import runner
from attention_unet_training.reproduction.document import document_of
from attention_unet_training.reproduction.plan import RECIPES, TABLES, Plan, make_plan
from attention_unet_training.reproduction.public_data import AMOS, CT82
from attention_unet_training.reproduction.runner import Place
from attention_unet_training.reproduction.state import Marker, locked
from AttentionUNetSegmentationLib import __version__
from support.prepare_phantoms import write_nnunet, write_tcia
from support.training_runs import CHECKPOINTS, TESTING, Forked

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
    if (table, recipe) == ("figures", "public_code"):
        with pytest.raises(ValueError, match="figures need the recipe paper"):
            make_plan(table, recipe)
        return
    plan = make_plan(table, recipe, seed=7)
    there: set[str] = set()
    for step in plan.steps:
        assert set(step.inputs) <= there, step.name
        assert not set(step.outputs) & there, step.name
        there |= set(step.outputs)
    assert len({step.name for step in plan.steps}) == len(plan.steps)
    for step in plan.steps:
        if step.kind == "fit":
            pairs = list(zip(step.arguments, step.arguments[1:], strict=False))
            configs = [value for option, value in pairs if option == "--config"]
            assert configs and all((CONFIGS / name).is_file() for name in configs)
            assert {"7"} == {value for option, value in pairs if option in ("--seed_everything", "--data.seed")}


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
        "data": {"init_args": {"shape_kji": [16, 16, 16], "samples_per_epoch": 8, "validation_cases": 1, "workers": 0}},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 3,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [
                *(
                    {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": options}
                    for options in CHECKPOINTS
                ),
                {"class_path": "attention_unet_training.callbacks.KeptEpochs", "init_args": {"epochs": [1, 3]}},
                *callbacks,
            ],
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    return folder / "tiny.yaml"


def reproduce(folder: Path, table: str, *more: str, config: Path | None = None) -> list[str]:
    arguments = ["reproduce", table, "--output", str(folder / "out"), *more]
    return [*arguments, "--config", str(config)] if config else arguments


def dry(folder: Path, capsys, table: str, *more: str) -> str:
    assert main(reproduce(folder, table, "--dry-run", "--seconds-per-step", "0.5", *more)) == 0
    return capsys.readouterr().out


def test_a_dry_run_tells_hours_and_where_data_belong_and_writes_nothing(tmp_path, capsys):
    text = dry(tmp_path, capsys, "table1", "--data", str(tmp_path / "raw"))
    assert f"AMOS 2022, in {tmp_path}/raw/amos22 (--data), from https://doi.org/10.5281/zenodo.7155725" in text
    assert "stands in for the paper's CT-150, which is private" in text
    assert f"not ready: AMOS 2022 is needed in {tmp_path}/raw/amos22: get it from https://doi.org" in text
    fits = re.findall(r"to do +(\S+) h  fit_(\S+): at most 1,000 epochs of (\d+) steps and 4 validation cases", text)
    assert [(name, steps) for _, name, steps in fits] == [
        ("table1_unet", "58"),  # 120 cases without 4, two in a batch
        ("table1_attention_unet", "58"),
        ("table1_unet_30", "13"),
        ("table1_attention_unet_30", "13"),
    ]
    assert fits[0][0] == f"{1000 * (58 + 4) * 0.5 / 3600:.1f}"
    total = float(re.search(r"together at most (\S+) h", text)[1])
    assert total == pytest.approx(2 * 1000 * (62 + 17) * 0.5 / 3600 + 300 * 10 / 3600 + 300 * 30 / 3600, abs=0.1)
    assert "seconds per step: given by --seconds-per-step" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_every_table_can_be_listed(table, tmp_path, capsys):
    text = dry(tmp_path, capsys, table)
    assert "not ready: --data DIR is needed" in text
    assert len(re.findall("^ *[0-9]+  to do ", text, re.MULTILINE)) == len(make_plan(table).steps)


@pytest.mark.slow
def test_seconds_are_measured_with_the_networks_own_options(tmp_path, capsys):
    text_of = reproduce(tmp_path, "cross-validation", "--dry-run", config=settings(tmp_path))
    assert main(text_of) == 0
    text = capsys.readouterr()
    assert text.err.count("timing AttentionUNet on") == 1  # five folds, one network
    assert "fit_cross_validation_fold_4: at most 3 epochs of 4 steps and 1 validation cases" in text.out
    assert re.search("seconds per step: measured now on noise, .* CPU threads, precision 32-true.*, without", text.out)


def test_data_that_are_missing_are_named_with_where_to_get_them(tmp_path, capsys):
    assert main(reproduce(tmp_path, "table3")) == 1
    assert "error: --data DIR is needed: AMOS 2022 belongs in DIR/amos22, from https" in capsys.readouterr().err
    write_amos(tmp_path / "raw")
    assert main(reproduce(tmp_path, "table3", "--data", str(tmp_path / "raw"), "--incomplete")) == 1
    wanted = f"error: TCIA Pancreas-CT is needed in {tmp_path}/raw/Pancreas-CT: get it from https"
    assert wanted in capsys.readouterr().err
    assert main(reproduce(tmp_path, "table1", "--data", str(tmp_path / "raw"))) == 1
    message = capsys.readouterr().err
    assert f"error: {tmp_path}/raw/amos22 lacks 140 cases of our splits, such as amos_0" in message
    assert "--incomplete" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", ["0", "-1", "nan"])
def test_seconds_must_be_positive(given, tmp_path, capsys):
    assert main(reproduce(tmp_path, "table1", "--dry-run", "--seconds-per-step", given)) == 1
    assert "error: --seconds-per-step must be positive" in capsys.readouterr().err


def small_plan(settings_given: bool = True, seed: int = 0) -> Plan:
    """Table 1 without the networks trained on 30 cases, and without seconds, which take many."""
    plan = make_plan("table1", "paper", seed, settings_given)
    *steps, measured, table = [step for step in plan.steps if not step.name.endswith("_30")]
    untimed = dataclasses.replace(measured, arguments=(*measured.arguments, "--time-runs", "0"))
    one = dataclasses.replace(table, arguments=table.arguments[:2], inputs=table.inputs[:1])
    return dataclasses.replace(plan, steps=(*steps, untimed, one))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[list[str]]]:
    """The figures, of which the first training was killed and went on, then table 1; with what was told each time."""
    folder, told = tmp_path_factory.mktemp("reproduce"), []
    write_amos(folder / "raw")
    kill = {"class_path": KILL, "init_args": {"file": str(folder / "killed"), "epoch": 1, "batch": 2}}
    config = settings(folder, kill)
    arguments = reproduce(folder, "figures", "--data", str(folder / "raw"), "--incomplete", config=config)
    with pytest.MonkeyPatch.context() as environment:
        environment.setattr(subprocess, "Popen", Forked)
        for _ in range(2):
            with redirect_stdout(StringIO()) as said, redirect_stderr(said):
                main(arguments)
            told.append(said.getvalue().splitlines())
        lines: list[str] = []
        runner.run(small_plan(), Place(folder / "out", None, True), lines.append)
    return folder, [*told, lines]


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_checkpoint(made):
    folder, (killed, resumed, _) = made
    log = folder / "out" / "logs" / "fit_table1_unet.log"
    assert killed[-1] == f"error: fit_table1_unet was killed (SIGKILL); see {log}"
    assert [line for line in killed if line.endswith("begins")] == [
        "[1/5] prepare_amos: begins",
        "[2/5] splits_amos: begins",
        "[3/5] fit_table1_unet: begins",
    ]
    assert [line for line in resumed if line.startswith("[")] == [
        "[1/5] prepare_amos: done before",
        "[2/5] splits_amos: done before",
        "[3/5] fit_table1_unet: goes on",
        "[4/5] fit_table1_attention_unet: begins",
        "[5/5] figures: begins",
    ]
    begins = [line for line in log.read_text().splitlines() if line.startswith("$")]
    assert len(begins) == 2
    assert begins[1] == begins[0] + " --ckpt_path runs/table1_unet/last.ckpt"
    last = torch.load(folder / "out" / "runs" / "table1_unet" / "last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (2, 12)  # three epochs of four steps, as if it had not been killed
    assert last["hyper_parameters"]["network"]["architecture"] == "UNet"


@pytest.mark.slow
def test_figures_are_drawn_of_the_kept_epochs(made):
    folder, (_, resumed, _) = made
    pictures = {path.name for path in (folder / "out" / "figures").rglob("*.png")}
    assert {"series.png", "coefficients_axial.png", "predictions.png", "03_s2.png"} <= pictures
    (command,) = [line for line in resumed if "attention-unet-train attention" in line]
    models = re.findall(r"--model (\S+)", command)
    assert [Path(model).name for model in models] == ["epoch_0001.ckpt", "epoch_0003.ckpt", "best.ckpt"]


@pytest.mark.slow
def test_the_table_says_what_it_was_made_of(made):
    folder, (*_, told) = made
    assert [line for line in told if line.startswith("[")][:4] == [
        "[1/6] prepare_amos: done before",
        "[2/6] splits_amos: done before",
        "[3/6] fit_table1_unet: done before",
        "[4/6] fit_table1_attention_unet: done before",
    ]
    text = (folder / "out" / "table1.md").read_text()
    assert "recipe paper, one training of each network with seed 0" in text
    assert "AMOS 2022 (https://doi.org/10.5281/zenodo.7155725 (amos22.zip)): stands in for the paper's CT-150" in text
    assert "Split ours-120-30 of AMOS 2022: ours, drawn with seed 0, as the paper's ids are not published" in text
    assert "3/7 training/test cases, **incomplete: 120/30 are listed**" in text
    assert "widths:\n    - 4\n" in text  # the settings
    assert "### AMOS 2022, split ours-120-30, test, the network's grid" in text
    assert "table1_unet: learnt from 2 cases; 1 others chose its epoch" in text
    assert "|  | U-Net | Attention U-Net | U-Net (120/30), published |" in text
    assert "Attention U-Net minus U-Net, case by case:" in text
    assert "95 % confidence intervals of the means" in text
    assert "corrected by Holm's method" in text


@pytest.mark.slow
def test_settings_of_another_plan_are_not_told(made):
    output, plan = made[0] / "out", small_plan(settings_given=False)
    last = dataclasses.replace(plan.steps[-1], outputs=("other.md",))
    assert "Settings" not in document_of(plan, last, output).read_text()
    (output / "other.md").unlink()


@pytest.mark.slow
def test_the_versions_are_those_that_made_the_steps(made, monkeypatch):
    output, plan = made[0] / "out", small_plan()
    monkeypatch.setattr("attention_unet_training.reproduction.document.__version__", "9.9")
    last = dataclasses.replace(plan.steps[-1], outputs=("later.md",))
    text = document_of(plan, last, output).read_text()
    (output / "later.md").unlink()
    assert f"version {__version__}: recipe" in text


@pytest.mark.slow
def test_splits_and_seeds_are_those_of_the_lists(made):
    folder, _ = made
    dataset = PreparedDataset.open(folder / "out" / "datasets" / "amos")
    (fold,) = dataset.split("ours-120-30").folds
    assert fold.train == tuple(sorted(AMOS.split("ours-30-120").folds[0].train[:3]))
    last = torch.load(folder / "out" / "runs" / "table1_unet" / "last.ckpt", weights_only=True)
    data = last["datamodule_hyper_parameters"]
    assert (data["split"], data["seed"]) == ("ours-120-30", 0)
    assert {*data["training_ids"], *data["validation_ids"]} == set(fold.train)


@pytest.mark.slow
def test_nothing_is_done_twice_and_nothing_of_another_plan_is_replaced(made, capsys):
    folder, _ = made
    place, lines = Place(folder / "out", None), []
    runner.run(small_plan(), place, lines.append)
    assert len(lines) == 6
    assert all(line.endswith("done before") for line in lines)
    with pytest.raises(
        ValueError, match=r"fit_table1_unet\.json is from another plan: it has --data.seed 0, this one --d"
    ):
        runner.run(small_plan(seed=1), place, lines.append)
    with pytest.raises(
        ValueError, match="is from another plan: it has --config settings.yaml, this one --data.dataset"
    ):
        runner.run(small_plan(settings_given=False), place, lines.append)
    other = folder / "other.yaml"
    other.write_text("trainer: {max_epochs: 1}\n")
    assert main(reproduce(folder, "figures", "--data", str(folder / "raw"), "--incomplete", config=other)) == 1
    assert f"{folder}/out/settings.yaml differs from {other}" in capsys.readouterr().err
    text = dry(folder, capsys, "figures", "--config", str(folder / "tiny.yaml"))
    assert re.search(r"5  done +took 0\.0 h  figures", text)
    assert "together at most 0.0 h" in text


@pytest.mark.slow
def test_what_a_step_was_made_of_must_not_change(made):
    folder, _ = made
    place = Place(folder / "out", None)
    report = folder / "out" / "reports" / "table1_120" / "table.md"
    before = report.read_text()
    report.write_text("# changed by hand\n")
    with pytest.raises(
        ValueError, match=r"table_table1 was made from it; to redo that step, remove .*table_table1\.json"
    ):
        runner.run(small_plan(), place, lambda line: None)
    report.write_text(before)
    document = folder / "out" / "table1.md"
    document.unlink()
    lines: list[str] = []
    runner.run(small_plan(), place, lines.append)
    assert "[6/6] table_table1: goes on" in lines  # what was deleted is made again
    assert document.is_file()


def test_files_that_no_step_made_are_not_replaced(tmp_path):
    write_amos(tmp_path / "raw")
    (tmp_path / "out" / "datasets" / "amos").mkdir(parents=True)
    (tmp_path / "out" / "datasets" / "amos" / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="dataset.json is there already, but not made by prepare_amos: move it away"):
        runner.run(small_plan(), Place(tmp_path / "out", tmp_path / "raw", True), lambda line: None)


@pytest.mark.slow
def test_a_command_that_fails_is_told_in_one_sentence(tmp_path, capsys):
    write_amos(tmp_path / "raw")
    for path in (tmp_path / "raw" / "amos22" / "imagesTr").iterdir():
        path.write_bytes(b"damaged")
    assert main(reproduce(tmp_path, "table1", "--data", str(tmp_path / "raw"), "--incomplete")) == 1
    log = tmp_path / "out" / "logs" / "prepare_amos.log"
    assert re.search(f"error: prepare_amos failed: .*; see {log}\n$", capsys.readouterr().err)
    assert "Traceback" not in log.read_text()
    marker = read_record(Marker, tmp_path / "out" / "steps" / "prepare_amos.json")
    assert marker.seconds is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_second_run_is_kept_out_while_a_command_of_the_first_is_at_work(tmp_path):
    with locked(tmp_path) as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    try:
        with (
            pytest.raises(ValueError, match="another run, or a command that it started, is still at work"),
            locked(tmp_path),
        ):
            pass
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    with locked(tmp_path):
        pass
