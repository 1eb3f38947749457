"""``--mean auto --std auto``: numbers measured over the data set, resuming with them, refusing to mix them."""

import json

import numpy as np
import pytest
import torch

from attention_unet_training.commands.export import export
from attention_unet_training.commands.prepare import main
from attention_unet_training.data.cases_data import CasesData
from attention_unet_training.preparation import case as case_preparation
from attention_unet_training.preparation import dataset as preparation
from attention_unet_training.preparation import intensity_scaling
from attention_unet_training.preparation.prepared import PreparedDataset
from AttentionUNetSegmentationLib.imaging.preprocessing import preprocess
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.volume import Volume
from support import prepare_phantoms as made
from support.training_checkpoints import tiny_network, write_checkpoint, write_description

pytestmark = pytest.mark.slow

AUTO = ("--mean", "auto", "--std", "auto")
CLIP_HU = (-200.0, 300.0)
TOLERANCE = 1e-3  # of mean and deviation of the input; images are kept in half precision


def run(source, output, *options) -> int:
    return main([str(source), "--output", str(output), "--workers", "0", *made.LABEL_OPTIONS, *options])


def times(folder) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("cases/*/image.npy")}


def network_input(folder) -> np.ndarray:
    """All voxels of all cases as the network gets them, in one row, float64."""
    return np.concatenate([case.image().astype(np.float64).ravel() for case in PreparedDataset.open(folder).cases])


def brighten(folder, number: int, by_hu: int) -> None:
    """Replace a CT by one whose soft tissue is brighter."""
    ct, _ = made.abdomen(number)
    made.save(Volume(ct.voxels + by_hu * (ct.voxels > -50), ct.ijk_to_ras), folder / f"ct{number}.nii.gz")


@pytest.fixture
def source(tmp_path):
    return made.write_csv(tmp_path, 3)


def add_case(source, number: int) -> None:
    ct, labels = made.abdomen(number)
    made.save(ct, source.parent / f"ct{number}.nii.gz")
    made.save(labels, source.parent / f"labels{number}.nii.gz")
    brighten(source.parent, number, 60)
    source.write_text(source.read_text() + f"ct{number}.nii.gz,labels{number}.nii.gz\n")


def test_the_networks_input_over_the_dataset_has_mean_0_and_deviation_1(source, tmp_path, capsys):
    brighten(tmp_path, 2, 90)
    assert run(source, tmp_path / "out", *AUTO) == 0
    values = network_input(tmp_path / "out")
    assert values.mean() == pytest.approx(0, abs=TOLERANCE)
    assert values.std() == pytest.approx(1, abs=TOLERANCE)
    dataset = PreparedDataset.open(tmp_path / "out")
    inputs = [preprocess(case.ct(), (2, 2, 2), dataset.intensity) for case in dataset.cases]
    for case, expected in zip(dataset.cases, inputs, strict=True):  # what inference makes of the CT
        np.testing.assert_array_equal(case.image(), expected.image.astype(np.float16))
        assert case.grid.same_as(expected.grid)
    hu = np.concatenate([entry.hu.ravel() for entry in inputs]).astype(np.float64)
    assert dataset.intensity == IntensitySpec(CLIP_HU, round(hu.mean(), 3), round(hu.std(), 3))
    said = f"mean {dataset.intensity.mean_hu:g} HU, standard deviation {dataset.intensity.std_hu:g} HU, over 3 cases"
    assert said in capsys.readouterr().out


def test_the_record_holds_plain_numbers_and_nothing_else_is_left(source, tmp_path):
    assert run(source, tmp_path / "out", *AUTO) == 0
    rule = json.loads((tmp_path / "out" / "dataset.json").read_text())["intensity"]
    assert set(rule) == {"clip_hu", "mean_hu", "std_hu"}
    assert {type(rule["mean_hu"]), type(rule["std_hu"])} == {float}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cases", "dataset.json"]
    files = sorted(path.name for path in (tmp_path / "out" / "cases" / "ct1").iterdir())
    assert files == ["case.json", "image.npy", "labels.npy", "reference.nii.gz"]


def test_one_of_the_two_can_be_given(source, tmp_path):
    found = {}
    for name, options in (("both", AUTO), ("mean", ("--mean", "auto")), ("std", ("--std", "auto", "--mean", "7"))):
        assert run(source, tmp_path / name, *options) == 0
        found[name] = PreparedDataset.open(tmp_path / name).intensity
    assert found["mean"] == IntensitySpec(CLIP_HU, found["both"].mean_hu, 130)
    assert found["std"] == IntensitySpec(CLIP_HU, 7, found["both"].std_hu)


def test_the_order_in_which_processes_finish_does_not_matter(source, tmp_path, monkeypatch):
    brighten(tmp_path, 2, 90)
    assert run(source, tmp_path / "one", *AUTO, "--name", "x") == 0
    in_order = preparation.run_parallel
    monkeypatch.setattr(preparation, "run_parallel", lambda *arguments: reversed(list(in_order(*arguments))))
    assert run(source, tmp_path / "two", *AUTO, "--name", "x") == 0
    assert PreparedDataset.open(tmp_path / "one").record == PreparedDataset.open(tmp_path / "two").record
    np.testing.assert_array_equal(network_input(tmp_path / "one"), network_input(tmp_path / "two"))


def test_the_same_command_again_does_nothing_again(source, tmp_path, capsys):
    assert run(source, tmp_path / "out", *AUTO) == 0
    before, record = times(tmp_path / "out"), (tmp_path / "out" / "dataset.json").read_text()
    capsys.readouterr()
    assert run(source, tmp_path / "out", *AUTO) == 0
    assert times(tmp_path / "out") == before
    assert (tmp_path / "out" / "dataset.json").read_text() == record
    assert "cases: 3 (there already: 3)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "step"), [(case_preparation, "write_volume"), (intensity_scaling, "scale_intensity")]
)
def test_an_interrupted_run_goes_on_where_it_stopped(source, tmp_path, monkeypatch, module, step):
    assert run(source, tmp_path / "whole", *AUTO, "--name", "x") == 0
    original, calls = getattr(module, step), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, step, interrupted)
    assert run(source, tmp_path / "out", *AUTO, "--name", "x") == 130
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert run(source, tmp_path / "out", *AUTO, "--name", "x") == 0
    assert len(calls) == 4  # three cases, one of them twice
    assert PreparedDataset.open(tmp_path / "out").record == PreparedDataset.open(tmp_path / "whole").record
    np.testing.assert_array_equal(network_input(tmp_path / "out"), network_input(tmp_path / "whole"))
    assert not (tmp_path / "out" / ".unscaled").exists()


def test_broken_cases_and_copies_do_not_enter(source, tmp_path):
    assert run(source, tmp_path / "out", *AUTO) == 0
    add_case(source, 3)
    (tmp_path / "labels3.nii.gz").write_text("broken")
    source.write_text(source.read_text() + "copy.nii.gz,labels0.nii.gz\n")
    (tmp_path / "copy.nii.gz").write_bytes((tmp_path / "ct0.nii.gz").read_bytes())
    assert run(source, tmp_path / "more", *AUTO) == 0
    first, second = PreparedDataset.open(tmp_path / "out"), PreparedDataset.open(tmp_path / "more")
    assert [entry.id for entry in second.left_out] == ["ct3", "copy"]
    assert second.intensity == first.intensity
    assert sorted(times(tmp_path / "more")) == ["ct0", "ct1", "ct2"]
    before = times(tmp_path / "out")
    assert run(source, tmp_path / "out", *AUTO) == 0  # other cases, but none that counts
    assert times(tmp_path / "out") == before


@pytest.mark.parametrize("change", ["a new case", "another CT", "a case that broke"])
def test_cases_scaled_by_other_numbers_are_not_mixed(source, tmp_path, capsys, change):
    assert run(source, tmp_path / "out", *AUTO) == 0
    before, old = times(tmp_path / "out"), PreparedDataset.open(tmp_path / "out")
    if change == "a new case":
        add_case(source, 3)
    elif change == "another CT":
        brighten(tmp_path, 1, 60)
    else:
        (tmp_path / "ct1.nii.gz").write_text("broken")
    capsys.readouterr()
    assert run(source, tmp_path / "out", *AUTO) == 1
    error = capsys.readouterr().err
    assert "cases whose intensities were scaled by" in error
    assert "--overwrite" in error
    assert len(error.strip().splitlines()) == 1
    assert times(tmp_path / "out") == before  # the dataset is as it was
    assert PreparedDataset.open(tmp_path / "out").record == old.record
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cases", "dataset.json"]
    assert run(source, tmp_path / "out", *AUTO, "--overwrite") == 0
    assert PreparedDataset.open(tmp_path / "out").intensity != old.intensity
    assert network_input(tmp_path / "out").mean() == pytest.approx(0, abs=TOLERANCE)


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_nor_after_an_interruption(source, tmp_path, monkeypatch, capsys, options):
    if options:
        assert run(source, tmp_path / "out", "--mean", "50") == 0
    scale, calls = intensity_scaling.scale_intensity, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scale(*arguments)

    monkeypatch.setattr(intensity_scaling, "scale_intensity", interrupted)
    assert run(source, tmp_path / "out", *AUTO, *options) == 130
    assert not (tmp_path / "out" / "dataset.json").exists()  # nothing reads two cases of the new, one of the old
    add_case(source, 3)
    assert run(source, tmp_path / "out", *AUTO) == 1
    assert "cases whose intensities were scaled by" in capsys.readouterr().err


def test_measured_and_given_numbers_are_not_mixed(source, tmp_path, capsys):
    for name, first, second in (("fixed", (), AUTO), ("auto", AUTO, ()), ("mean", AUTO[:2], AUTO[2:])):
        assert run(source, tmp_path / name, *first) == 0
        before = times(tmp_path / name)
        assert run(source, tmp_path / name, *second) == 1
        assert f"{name} holds a dataset with intensity" in capsys.readouterr().err
        assert times(tmp_path / name) == before
    assert run(source, tmp_path / "fixed", *AUTO, "--overwrite") == 0
    assert network_input(tmp_path / "fixed").std() == pytest.approx(1, abs=TOLERANCE)


def test_errors_are_one_sentence(source, tmp_path, capsys):
    for options, message in (
        (("--mean", "medium"), "argument --mean: takes a number in HU, or auto; got 'medium'"),
        (("--std", "Auto"), "argument --std: takes a number in HU, or auto; got 'Auto'"),
        (("--mean", "auto", "--std", "0"), "std_hu must be positive"),
        (("--clip", "5", "1", *AUTO), "clip_hu must rise"),
        (("--clip", "2000", "3000", *AUTO), "all voxels have 2000 HU after clipping to 2000..3000 HU"),
    ):
        assert run(source, tmp_path / "out", *options) == 1
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
        assert not (tmp_path / "out" / "dataset.json").exists()
    assert not list((tmp_path / "out").glob(".unscaled"))


def test_an_exported_model_carries_the_numbers(source, tmp_path):
    assert run(source, tmp_path / "out", *AUTO) == 0
    data = CasesData(tmp_path / "out", validation_cases=1)
    data.setup("fit")
    known = {"intensity": data.hparams["intensity"]}
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", tiny_network())
    content = torch.load(checkpoint, weights_only=True)
    content["datamodule_hyper_parameters"].update(known)
    torch.save(content, checkpoint)
    measured = [{"data": "phantom", "organ": "spleen", "metric": "Dice", "value": 0.5, "cases": 2}]
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    export(checkpoint, tmp_path / "model", write_description(tmp_path / "d.json"), tmp_path / "measured.json")
    model = json.loads((tmp_path / "model" / "model.json").read_text())
    assert model["intensity"] == json.loads((tmp_path / "out" / "dataset.json").read_text())["intensity"]
