"""The script that trains the bundled model, and what a machine with a GPU and without internet needs: tiny runs."""

import csv
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Client, Listener
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.data.people import RECORD
from attention_unet_training.synthetic_ct.atlas import load_atlas
from attention_unet_training.task.starting_weights import read_starting_weights
from pack_for_gpu import pack_maps
from support import prepared_cases
from support.box_anatomy import write_atlas
from support.training_runs import run_in_a_process, tiny_config, weights

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ASK = """
import sys
from multiprocessing.connection import Client

with Client({address!r}) as connection:
    connection.send(sys.argv[1:])
    status, said, failed = connection.recv()
print(said, end="")
print(failed, end="", file=sys.stderr)
sys.exit(status)
"""
SCRIPTS = Path(__file__).parents[2] / "scripts"
TINY = {
    "--data.anatomies.held_out": "[b]",
    "--data.anatomies.weights": "{}",
    "--data.workers": "0",
    "--data.patches.shape_kji": "[48,32,32]",
    "--data.patches.steps_per_epoch": "1",
    "--data.patches.validation_patches": "1",
    "--model.network.widths": "[2,4,4,4,4]",
    "--trainer.max_epochs": "1",
    "--trainer.accelerator": "cpu",
    "--trainer.precision": "32-true",
    "--trainer.logger": "false",
    "--trainer.enable_model_summary": "false",
}


@pytest.fixture
def python(tmp_path_factory) -> Iterator[str]:
    """A command that stands in for Python in the script: it asks this process, which forks what is to be run."""
    folder = tmp_path_factory.mktemp("python")
    address, command = str(folder / "socket"), folder / "python"
    command.write_text(f"#!{sys.executable} -S\n{ASK.format(address=address)}")
    command.chmod(0o755)

    def serve() -> None:
        while (connection := listener.accept()) and (asked := connection.recv()):
            known = asked[:2] == ["-m", "attention_unet_training.cli"]
            connection.send(tuple(run_in_a_process(asked[2:])) if known else (1, "", f"{asked} is no command"))

    with Listener(address) as listener, ThreadPoolExecutor() as pool:
        pool.submit(serve)
        yield str(command)
        Client(address).send([])


def recipe(maps: Path, runs: Path, stages: str, python: str = sys.executable) -> subprocess.CompletedProcess:
    """The script with one step for each stage."""
    tiny = [*TINY.items(), ("--data.anatomies.cache", str(runs / "cache"))]
    options = [word for option in tiny for word in option]
    command = ["bash", str(SCRIPTS / "train_abdomen_ct.sh"), str(maps), str(runs), stages, *options]
    environment = os.environ | {"PYTHON": python, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False)


def test_each_stage_starts_from_the_one_before_and_a_finished_one_is_not_run_again(tmp_path, python):
    maps = write_atlas(tmp_path, ("a", "b"))
    first = recipe(maps, tmp_path / "runs", "coarse", python)
    assert first.returncode == 0, first.stderr
    assert "stage coarse, from nothing" in first.stdout
    rest = recipe(maps, tmp_path / "runs", "coarse frozen", python)
    assert rest.returncode == 0, rest.stderr
    before = tmp_path / "runs" / "coarse" / "best.ckpt"
    assert "stage coarse" not in rest.stdout
    assert f"stage frozen, from {before}" in rest.stdout
    seeds = set()
    for stage, wanted in {"coarse": (3.0, "train"), "frozen": (2.0, "frozen")}.items():
        content = torch.load(tmp_path / "runs" / stage / "best.ckpt", weights_only=True)
        data, task = content["datamodule_hyper_parameters"], content["hyper_parameters"]
        assert (data["spacing_mm"], task["batch_norm"]["mode"]) == wanted
        seeds.add(data["patches"]["first_seed"])
    assert len(seeds) == 2  # no patch twice
    assert recipe(maps, tmp_path / "runs", "coarse frozen", python).stdout == ""


def test_the_model_is_the_mean_of_the_last_three_stages(tmp_path, python):
    maps, runs = write_atlas(tmp_path, ("a", "b")), tmp_path / "runs"
    assert recipe(maps, runs, "restart", python).returncode == 0
    second = torch.load(runs / "restart" / "best.ckpt", weights_only=True)
    second["state_dict"] = {name: tensor * 2 for name, tensor in second["state_dict"].items()}
    (runs / "second").mkdir()
    torch.save(second, runs / "second" / "best.ckpt")
    assert recipe(maps, runs, "restart", python).returncode == 0 and not (runs / "mean.ckpt").exists()
    last = recipe(maps, runs, "third", python)
    assert last.returncode == 0, last.stderr
    parts = [weights(runs / stage / "best.ckpt") for stage in ("restart", "second", "third")]
    for name, tensor in weights(runs / "mean.ckpt").items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, torch.stack([part[name] for part in parts]).mean(0), atol=1e-6), name
    again = recipe(maps, runs, "third", python)
    assert (again.returncode, again.stdout) == (0, "")


def test_a_stage_that_there_is_not_is_refused_before_anything_runs(tmp_path):
    run = recipe(tmp_path, tmp_path / "runs", "coarse nonsense")
    assert run.returncode == 2
    assert run.stderr == "nonsense is no stage; there are coarse fine frozen restart second third\n"
    assert run.stdout == ""


def test_a_stage_that_fails_ends_the_script(tmp_path):
    run = recipe(tmp_path / "nowhere", tmp_path / "runs", "all")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("error: ")
    assert "stage fine" not in run.stdout


def test_weights_in_half_precision_are_those_of_the_run_and_training_starts_from_them(tmp_path):
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 3)
    average = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}}
    half = {"class_path": "HalfWeights", "init_args": {"folder": str(tmp_path / "half")}}
    kept = {"class_path": "KeptEpochs", "init_args": {"epochs": [3]}}
    config = tiny_config(tmp_path / "run", dataset, 3, [average, half, kept])
    assert main(["fit", "--config", str(config)]) == 0
    for name in ("best.ckpt", "last.ckpt"):
        full, small = weights(tmp_path / "run" / name), weights(tmp_path / "half" / name)
        assert full.keys() == small.keys()
        for key, tensor in full.items():
            assert torch.equal(small[key], tensor.half() if tensor.is_floating_point() else tensor)
        assert "optimizer_states" not in torch.load(tmp_path / "half" / name, weights_only=True)
    assert read_starting_weights(tmp_path / "half" / "last.ckpt").organs == ("pancreas", "spleen", "kidney")
    last, of_epoch = (weights(tmp_path / "run" / name) for name in ("last.ckpt", "epoch_0003.ckpt"))
    assert all(torch.equal(last[key], of_epoch[key]) for key in last)  # averaged ones
    assert "optimizer_states" not in torch.load(tmp_path / "run" / "epoch_0003.ckpt", weights_only=True)
    states = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["callbacks"]
    (best,) = (state["dice"] for name, state in states.items() if "HalfWeights" in name)
    curve = list(csv.DictReader((tmp_path / "run" / "curve.csv").open()))
    assert best == pytest.approx(max(float(epoch["dice"]) for epoch in curve), abs=1e-5)  # a resumed run's best to beat
    again = tiny_config(tmp_path / "again", dataset, 1)
    assert main(["fit", "--config", str(again), "--model.init_from", str(tmp_path / "half" / "best.ckpt")]) == 0


def test_packed_label_maps_are_prepared_like_those_they_come_from(tmp_path):
    (tmp_path / "maps").mkdir()
    maps = write_atlas(tmp_path / "maps", ("a", "b"), spacing_mm=1.5)
    (maps / RECORD).write_text("{}")
    pack_maps(maps, tmp_path / "maps.tar", tmp_path / "cache")
    with tarfile.open(tmp_path / "maps.tar") as tar:
        tar.extractall(tmp_path / "packed", filter="data")
    assert (tmp_path / "packed" / RECORD).read_text() == "{}"
    packed = load_atlas(tmp_path / "packed")
    assert packed.names == ("a", "b")
    for ours, theirs in zip(packed, load_atlas(maps), strict=True):
        for name in ("labels", "hull_distance_mm", "border_depth_mm", "bone_distance_mm"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert ours.organs == theirs.organs
