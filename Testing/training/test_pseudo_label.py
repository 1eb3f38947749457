"""``attention-unet-train pseudo-label``: labels where a model is confident, ignored voxels elsewhere; ensembles."""

import json

import numpy as np
import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.commands.pseudo_label import confident_labels
from attention_unet_training.evaluation.ensemble import Ensemble, load_ensemble
from attention_unet_training.preparation.prepared import PreparedDataset
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.models.loading import save_model
from AttentionUNetSegmentationLib.volume import OrganMask, Segmentation, Volume
from support import phantom_files, phantoms
from support.training_checkpoints import tiny_network, write_checkpoint

ORGANS = ("pancreas", "spleen")


def result(labels: list[int], *probabilities: list[float]) -> Segmentation:
    """A result of one row of voxels."""

    def row(values: list, kind: type) -> np.ndarray:
        return np.array(values, kind).reshape(1, 1, -1)

    maps = {
        name: Volume(row(values, np.float32), np.eye(4)) for name, values in zip(ORGANS, probabilities, strict=True)
    }
    organs = [OrganMask(name, 10 * n, "", "", (1, 2, 3)) for n, name in enumerate(ORGANS, start=1)]
    return Segmentation(row(labels, np.uint8), np.eye(4), organs, probabilities=maps)


def test_labels_are_kept_where_the_model_is_sure_of_them():
    found = confident_labels(
        result([10, 10, 20, 20, 0, 0, 0], [0.95, 0.6, 0, 0.3, 0.02, 0.2, 0.95], [0.01, 0.3, 1, 0.7, 0.03, 0, 0]), 0.9
    )
    # the last voxel: a component that the clean-up took away is neither organ nor background
    assert found.ravel().tolist() == [1, 3, 2, 3, 0, 3, 3]
    assert found.dtype == np.uint8


def test_an_ensemble_is_the_mean_of_probabilities():
    networks = [tiny_network(seed=seed).eval() for seed in (0, 1)]
    x = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, attention = Ensemble(networks)(x)
        parts = [network(x) for network in networks]
    expected = sum(part[0].softmax(dim=1) for part in parts) / 2
    torch.testing.assert_close(logits.softmax(dim=1), expected)
    assert list(attention) == list(parts[0][1])
    for name, alpha in attention.items():
        torch.testing.assert_close(alpha, (parts[0][1][name] + parts[1][1][name]) / 2)


@pytest.fixture
def ct(tmp_path):
    where = phantoms.grid((24, 24, 24), (3, 3, 3))
    voxels = phantoms.hu_from([(phantoms.ball(where, (0, 0, 0), 20), 80)])
    path = tmp_path / "scan.nii.gz"
    write_volume(Volume(voxels.astype(np.int16), where.ijk_to_ras), path)
    return path


@pytest.fixture
def models(tmp_path):
    """Two models, both sure of background."""
    folders = []
    for seed in (0, 1):
        network = tiny_network(seed=seed)
        with torch.no_grad():
            network.get_parameter("mix.bias")[0] += 20
        folders.append(tmp_path / f"model{seed}")
        save_model(folders[-1], network, phantoms.spec(architecture=phantoms.spec().architecture))
    return [str(folder) for folder in folders]


@pytest.mark.slow
def test_a_folder_that_prepare_reads_with_a_picture_of_every_case(ct, models, tmp_path, capsys):
    out = tmp_path / "pseudo"
    arguments = ["pseudo-label", str(ct), "--output", str(out), "--device", "cpu"]
    arguments += [part for model in models for part in ("--model", model)]
    assert main(arguments) == 0
    assert "scan: of what was found, kept pancreas not found" in capsys.readouterr().out
    description = json.loads((out / "dataset.json").read_text())
    names = [label.name for label in phantoms.spec().labels]
    assert description["labels"] == {name: n for n, name in enumerate(["background", *names, "ignore"])}
    image, labels = (read_volume(out / name) for name in ("imagesTr/scan_0000.nii.gz", "labelsTr/scan.nii.gz"))
    assert np.array_equal(image.voxels, read_volume(ct).voxels)
    assert labels.grid.same_as(image.grid)
    assert not labels.voxels.any()
    assert (out / "pictures" / "scan.png").stat().st_size > 1000
    (out / "labelsTr" / "scan.nii.gz").unlink()  # found to be wrong
    earlier = {key: value for key, value in description.items() if key != "labelled_by"}  # as earlier versions wrote it
    (out / "dataset.json").write_text(json.dumps(earlier))
    assert main(arguments) == 0
    assert json.loads((out / "dataset.json").read_text()) == description
    assert "scan: done before" in capsys.readouterr().out
    assert not (out / "labelsTr" / "scan.nii.gz").exists()
    assert main([*arguments, "--confidence", "0.7"]) == 1
    assert "holds other files, or labels of another model or confidence" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_model_labelled_is_no_reference_and_its_patients_are_known(models, tmp_path, capsys):
    source, data = tmp_path / "dicom", tmp_path / "data"
    for name, patient in (("scan10", "P77"), ("scan11", "P77"), ("scan12", "P78")):
        made_scan = phantom_files.scan()
        made_scan.voxels[0, 0, 0] = int(name[-2:])  # no copies of each other
        phantom_files.write_slices(source / name, made_scan, series=f"1.2.{name[-2:]}", patient=patient)
    folders = [str(path) for path in sorted(source.iterdir())]
    assert (
        main(["pseudo-label", *folders, "--output", str(tmp_path / "out"), "--model", models[0], "--device", "cpu"])
        == 0
    )
    for path in (tmp_path / "out" / "labelsTr").iterdir():
        labels = read_volume(path)
        labels.voxels[2:6, 2:9, 2:9] = 1  # a network that finds nothing labels nothing
        write_volume(labels, path)
    options = ["--organs", "pancreas", "--workers", "0", "--split", "1/1", "--trust-geometry"]
    assert main(["prepare", str(tmp_path / "out"), "--output", str(data), *options]) == 0
    assert "patients: 2" in capsys.readouterr().out
    first, second, third = (case.patient for case in PreparedDataset.open(data).cases)
    assert first == second != third and "P7" not in first
    assert main(["evaluate", "--dataset", str(data), "--model", models[0], "--output", str(tmp_path / "m.json")]) == 1
    assert f"{data} was labelled by {models[0]}, not by a person" in capsys.readouterr().err
    assert main(["evaluate", "--dataset", str(data), "--model", models[0], "--time-runs", "0"]) == 0
    assert f"(labelled by {models[0]}, not by a person)" in capsys.readouterr().out


@pytest.mark.slow
def test_another_ct_of_the_same_name_is_refused(ct, models, tmp_path, capsys):
    arguments = ["--model", models[0], "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["pseudo-label", str(ct), *arguments]) == 0
    other = tmp_path / "other" / ct.name
    other.parent.mkdir()
    volume = read_volume(ct)
    write_volume(Volume(volume.voxels + np.int16(1), volume.ijk_to_ras), other)
    before = (tmp_path / "out" / "labelsTr" / "scan.nii.gz").read_bytes()
    assert main(["pseudo-label", str(other), *arguments]) == 1
    assert "scan_0000.nii.gz is another CT of that name: rename one" in capsys.readouterr().err
    assert (tmp_path / "out" / "labelsTr" / "scan.nii.gz").read_bytes() == before


def test_mistakes_are_told_in_one_line_and_one_bad_ct_does_not_stop_the_others(ct, models, tmp_path, capsys):
    (tmp_path / "bad.nii.gz").write_text("nothing")
    arguments = ["pseudo-label", str(tmp_path / "bad.nii.gz"), str(ct), "--model", models[0], "--device", "cpu"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {tmp_path / 'bad.nii.gz'}: ")
    assert len(said.err.splitlines()) == 1
    assert (tmp_path / "out" / "labelsTr" / "scan.nii.gz").is_file()
    assert main([*arguments, "--output", str(tmp_path / "other"), "--confidence", "0.2"]) == 1
    assert capsys.readouterr().err == "error: --confidence must lie between 0.5 and 1, got 0.2\n"
    assert not (tmp_path / "other").exists()
    scaled = write_checkpoint(tmp_path / "scaled.ckpt", tiny_network(), per_volume=True)
    arguments[4] = str(scaled)
    assert main([*arguments, "--output", str(tmp_path / "other")]) == 1
    assert "scaled.ckpt was trained with data.per_volume, so it takes no CT in HU" in capsys.readouterr().err
    other = tmp_path / "other_rule"
    save_model(other, tiny_network(), phantoms.spec(intensity=IntensitySpec((-100.0, 100.0), 0.0, 1.0)))
    with pytest.raises(
        ValueError, match="other_rule has another intensity than .*model0, so the two cannot be averaged"
    ):
        load_ensemble([models[0], str(other)])


def test_a_damaged_description_is_named(ct, models, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset.json").write_text("{")
    assert main(["pseudo-label", str(ct), "--model", models[0], "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'out' / 'dataset.json'} is not valid JSON")


def test_an_ensemble_is_known_by_all_its_weights(models):
    (first, organs), (both, _), (turned, _) = (load_ensemble(part) for part in (models[:1], models, models[::-1]))
    assert len({model.spec.weights.sha256 for model in (first, both, turned)}) == 3
    assert organs == tuple(label.name for label in phantoms.spec().labels)
    assert both.spec.title == "mean of 2 networks"
