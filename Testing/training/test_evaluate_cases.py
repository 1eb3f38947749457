"""Cases, systems and kept results of an evaluation."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest
import SimpleITK as sitk

from attention_unet_training.cli import main
from attention_unet_training.commands.average import average
from attention_unet_training.evaluation import runner
from attention_unet_training.evaluation.cases import cases_of_dataset, cases_of_files, file_state
from attention_unet_training.evaluation.ensemble import load_ensemble
from attention_unet_training.evaluation.results import CaseResult, ResultStore
from attention_unet_training.evaluation.systems import Column, Labelled, LabelMapSystem, NetworkSystem, model_column
from attention_unet_training.evaluation.timing import forward_time
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.preparation.records import IGNORED, REFERENCE_FILE
from attention_unet_training.task.provenance import bases_of_model
from attention_unet_training.task.starting_weights import read_starting_weights
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.models.description import ArchitectureSpec
from AttentionUNetSegmentationLib.models.loading import Model, build_network, save_model
from AttentionUNetSegmentationLib.models.provenance import Provenance
from AttentionUNetSegmentationLib.pipeline import Options
from AttentionUNetSegmentationLib.volume import Volume
from support import evaluation_cases, phantoms, prepared_cases
from support.training_checkpoints import tiny_network, write_checkpoint

CPU = Options(device="cpu")


def threshold_model() -> Model:
    return Model(phantoms.spec(phantoms.LABELS[:2]), phantoms.ThresholdNetwork((-100.0, 60.0, 180.0)))


def test_a_network_is_measured_in_the_world(tmp_path):
    """Reference and CT on different grids: the metrics are those of the organs."""
    where = phantoms.grid((50, 50, 70), (1.7, 1.9, 1.8), phantoms.rotation(0, 0, 10))
    voxels = np.zeros(where.shape_kji, np.uint8)
    voxels[phantoms.ball(where, evaluation_cases.CENTRES["pancreas"], 10) > 0.5] = 7
    ct, reference = evaluation_cases.ct(evaluation_cases.labels()), Volume(voxels, where.ijk_to_ras)
    for name, volume in (("ct", ct), ("labels", reference)):
        write_volume(volume, tmp_path / f"{name}.nrrd")
    case = cases_of_files([tmp_path / "ct.nrrd"], [tmp_path / "labels.nrrd"], {"pancreas": [7, 8], "spleen": [9]})[0]
    result = runner.measure_case(NetworkSystem(threshold_model(), CPU), case)
    assert result.case == result.patient == "ct"
    assert result.organs["pancreas"].dice > 0.9
    assert result.organs["pancreas"].surface_distance_mm < 0.7
    assert result.organs["pancreas"].reference_ml == pytest.approx(4 / 3 * math.pi, rel=0.02)
    assert result.organs["spleen"].reference_ml == 0
    assert result.organs["spleen"].predicted_ml > 3
    assert result.seconds > 0


def test_a_reference_that_goes_on_beyond_the_ct_is_no_reference_of_it(tmp_path):
    """A network was not shown the rest; up to a tenth may lie outside, as at the edges of thick slices."""
    labels = evaluation_cases.labels()
    ct = evaluation_cases.ct(labels)
    write_volume(labels, tmp_path / "labels.nrrd")
    for stop, refused in ((26, True), (34, False)):  # the spleen's ball ends at 35, its middle is at 30
        write_volume(Volume(ct.voxels[:, :, :stop], ct.ijk_to_ras), tmp_path / "ct.nrrd")
        case = cases_of_files([tmp_path / "ct.nrrd"], [tmp_path / "labels.nrrd"], {"pancreas": [1], "spleen": [2]})[0]
        system = NetworkSystem(threshold_model(), CPU)
        if refused:
            with pytest.raises(ValueError, match="% of the reference's spleen lie outside the CT: do the two belong"):
                runner.measure_case(system, case)
        else:
            assert runner.measure_case(system, case).organs["spleen"].dice > 0.9


@pytest.mark.parametrize("ending", ["mhd", "nhdr"])
def test_kept_results_are_of_the_voxels_beside_the_header(tmp_path, ending):
    labels = evaluation_cases.labels()
    path = tmp_path / f"labels.{ending}"
    image = sitk.GetImageFromArray(labels.voxels)
    sitk.WriteImage(image, str(path))
    before = file_state(path)
    assert file_state(path) == before and before["files"] == 2
    (data,) = [other for other in tmp_path.iterdir() if other != path]
    os.utime(data, ns=(1, before["modified"] + 1))
    assert file_state(path) != before


def test_a_network_for_each_fold_is_told_as_such(tmp_path):
    system = NetworkSystem(threshold_model(), CPU)
    info = runner._info(Column("A", lambda fold: system, per_fold=True), system, 0)
    assert info.weights == ""
    assert info.identity == f"one network for each fold, the first {system.identity}"


@pytest.mark.parametrize(("clean_up", "precision"), [(True, 1.0), (False, 0.95)])
def test_clean_up_is_measured_unless_raw_is_wanted(tmp_path, clean_up, precision):
    write_volume(evaluation_cases.ct(evaluation_cases.labels(satellite=True)), tmp_path / "ct.nrrd")
    write_volume(evaluation_cases.labels(), tmp_path / "labels.nrrd")
    case = cases_of_files([tmp_path / "ct.nrrd"], [tmp_path / "labels.nrrd"], {"pancreas": [1]})[0]
    system = NetworkSystem(threshold_model(), Options(device="cpu", clean_up=clean_up))
    measured = runner.measure_case(system, case).organs["pancreas"]
    assert measured.precision == pytest.approx(precision, abs=0.015)
    assert measured.recall == pytest.approx(1, abs=0.01)


def test_a_network_and_its_options_are_part_of_the_fingerprint():
    model = phantoms.model()
    case = None
    prints = [
        NetworkSystem(model, CPU).fingerprint(case),
        NetworkSystem(model, Options(device="cpu", clean_up=False)).fingerprint(case),
        NetworkSystem(model, CPU, ["spleen"]).fingerprint(case),
        NetworkSystem(Model(phantoms.spec(spacing_mm=(3.0, 3.0, 3.0)), model.network), CPU).fingerprint(case),
    ]
    assert len({json.dumps(entry) for entry in prints}) == 4
    renamed = Model(phantoms.spec(name="other", title="Other"), model.network)
    assert NetworkSystem(renamed, CPU).fingerprint(case) == prints[0]


def test_only_what_changed_is_measured_again(tmp_path, monkeypatch):
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 3)
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 3)
    cases, _ = cases_of_dataset(dataset)
    store = ResultStore(tmp_path / "kept")
    organs = {"pancreas": (1,)}

    def resumed(values) -> list[bool]:
        cases, _ = cases_of_dataset(dataset)
        column = Column("maps", lambda fold: LabelMapSystem(maps, values))
        return [outcome.resumed for outcome in runner.run([column], cases, store)[0]]

    assert resumed(organs) == [False] * 3
    assert resumed(organs) == [True] * 3
    write_volume(evaluation_cases.labels(9.9), maps / "c0.nii.gz")
    write_volume(evaluation_cases.labels(9.9), dataset / "cases" / "c1" / REFERENCE_FILE)
    assert resumed(organs) == [False, False, True]
    assert resumed({"pancreas": (2,)}) == [False] * 3
    for path in (tmp_path / "kept").glob("c2.*.json"):
        path.write_text(path.read_text()[:50])
    assert resumed(organs) == [True, True, False]
    assert cases[0].fingerprint() == cases_of_dataset(dataset)[0][0].fingerprint()


def test_ignored_voxels_of_a_reference_are_left_out(tmp_path):
    """Where a prepared case's reference says ignore, a wrong answer costs nothing; files name the value themselves."""
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 1)
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 1)
    system = LabelMapSystem(maps, {"pancreas": (1,)})
    (case,) = cases_of_dataset(dataset)[0]
    answer = system.segment(case).labels
    reference = case.read_reference()
    reference.voxels[answer.voxels != reference.voxels] = IGNORED
    reference.voxels[:, :, : int(np.argwhere(reference.voxels == 1).mean(axis=0)[2])] = IGNORED  # half of the organ
    write_volume(reference, dataset / "cases" / "c0" / REFERENCE_FILE)
    (case,) = cases_of_dataset(dataset)[0]
    measured = runner.measure_case(system, case).organs["pancreas"]
    assert (measured.dice, measured.surface_distance_mm) == (1, 0)
    assert measured.reference_ml == pytest.approx(np.sum(reference.voxels == 1) * reference.grid.voxel_volume_ml)
    files = [tmp_path / "maps" / "c0.nii.gz"], [dataset / "cases" / "c0" / REFERENCE_FILE]
    (named,) = cases_of_files(*files, {"pancreas": [1], "ignore": [IGNORED]})
    (silent,) = cases_of_files(*files, {"pancreas": [1]})
    assert runner.measure_case(system, named).organs["pancreas"] == measured
    assert runner.measure_case(system, silent).organs["pancreas"].dice < 1
    assert named.fingerprint() != silent.fingerprint()
    with pytest.raises(ValueError, match="need --organ"):
        cases_of_files(*files, {"ignore": [IGNORED]})


def test_case_results_survive_json():
    organs = {"a": runner.measure_organ(np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool), phantoms.grid((2, 2, 2)))}
    result = CaseResult("c", "p", organs, math.nan, ("careful",))
    text = json.dumps(result.to_json(), allow_nan=False)
    again = CaseResult.from_json(json.loads(text))
    assert repr(again) == repr(result)


def test_splits_choose_the_cases(tmp_path):
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 4)

    def chosen(*options) -> tuple[list[tuple[str, int]], str]:
        cases, name = cases_of_dataset(dataset, *options)
        return [(case.id, case.fold) for case in cases], name

    assert chosen() == ([("c0", 0), ("c1", 0), ("c2", 0), ("c3", 0)], "balls")
    assert chosen("half") == ([("c2", 0), ("c3", 0)], "balls, split half, test")
    assert chosen("half", 0, "train") == ([("c0", 0), ("c1", 0)], "balls, split half, train")
    assert chosen("folds-2") == ([("c2", 0), ("c3", 0), ("c0", 1), ("c1", 1)], "balls, split folds-2, test")
    assert chosen("folds-2", 1) == ([("c0", 1), ("c1", 1)], "balls, split folds-2, fold 1, test")
    with pytest.raises(ValueError, match=r"the split 'folds-2' has the folds 0..1, got 2"):
        chosen("folds-2", 2)
    with pytest.raises(ValueError, match=r"--fold and --part need --split; .* has: folds-2, half"):
        chosen(None, 1)
    with pytest.raises(ValueError, match="--fold and --part need --split"):
        chosen(None, None, "train")


@pytest.mark.parametrize(
    ("change", "message"), [(math.nan, "has labels that are NaN or infinite"), (0.5, "that are no whole numbers")]
)
def test_label_maps_of_other_than_whole_numbers_are_refused_by_their_path(tmp_path, change, message):
    labels = evaluation_cases.labels()
    write_volume(evaluation_cases.ct(labels), tmp_path / "ct.nii.gz")
    write_volume(labels, tmp_path / "labels.nii.gz")
    (tmp_path / "maps").mkdir()
    write_volume(Volume(labels.voxels + np.float32(change), labels.ijk_to_ras), tmp_path / "maps" / "ct.nii.gz")
    system = LabelMapSystem(tmp_path / "maps", {"pancreas": (1,)})
    (case,) = cases_of_files([tmp_path / "ct.nii.gz"], [tmp_path / "labels.nii.gz"], {"pancreas": [1]})
    with pytest.raises(ValueError, match=rf"{tmp_path}/maps/ct.nii.gz .*{message}"):
        runner.measure_case(system, case)
    (case,) = cases_of_files([tmp_path / "ct.nii.gz"], [tmp_path / "maps" / "ct.nii.gz"], {"pancreas": [1]})
    with pytest.raises(ValueError, match=rf"{tmp_path}/maps/ct.nii.gz .*{message}"):
        runner.measure_case(EmptySystem(), case)


class EmptySystem:
    organs, identity = ("pancreas",), "finds nothing"

    def segment(self, case):
        reference = case.read_reference()
        return Labelled(Volume(np.zeros_like(reference.voxels), reference.ijk_to_ras), {"pancreas": (1,)}, 1.0)

    def fingerprint(self, case):
        return {}


def test_each_fold_is_measured_with_its_own_model(tmp_path):
    cases, _ = cases_of_dataset(evaluation_cases.write_dataset(tmp_path / "data", 4), "folds-2")
    opened = []

    def open_system(fold):
        opened.append(fold)
        return EmptySystem()

    for per_fold, wanted in ((True, [0, 1]), (False, [0])):
        opened.clear()
        outcomes, _ = runner.run([Column("x", open_system, per_fold)], cases, ResultStore(None))
        assert opened == wanted
        assert [outcome.result.organs["pancreas"].dice for outcome in outcomes] == [0] * 4


def test_a_path_with_fold_names_one_model_per_fold(tmp_path):
    for fold in (0, 1):
        save_model(tmp_path / f"fold{fold}", phantoms.model().network, phantoms.spec())
    column = model_column(f"CV={tmp_path}/fold{{fold}}", CPU, {0, 1})
    assert (column.title, column.per_fold) == ("CV", True)
    assert column.open(1).model.folder == tmp_path / "fold1"
    with pytest.raises(ValueError, match="there is no model at .*fold2"):
        model_column(f"CV={tmp_path}/fold{{fold}}", CPU, {0, 1, 2})


def test_cases_get_names_of_their_own(tmp_path):
    paths = [tmp_path / "a" / "ct.nii.gz", tmp_path / "b" / "ct.nii.gz", tmp_path / "ct_2.nrrd"]
    cases = cases_of_files(paths, paths, {"spleen": [1]}, ["p", "p", "q"])
    assert [case.id for case in cases] == ["ct", "ct_2", "ct_2_2"]
    assert [case.patient for case in cases] == ["p", "p", "q"]


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    reference = evaluation_cases.labels()
    far = reference.ijk_to_ras.copy()
    far[:3, 3] += 500
    write_volume(evaluation_cases.ct(reference), tmp_path / "ct.nrrd")
    write_volume(Volume(reference.voxels, far), tmp_path / "labels.nrrd")
    case = cases_of_files([tmp_path / "ct.nrrd"], [tmp_path / "labels.nrrd"], {"spleen": [2]})[0]
    with pytest.raises(
        ValueError, match="100% of the reference's spleen lie outside the CT: do the two belong together"
    ):
        runner.measure_case(NetworkSystem(threshold_model(), CPU), case)
    with pytest.raises(ValueError, match=r"the reference's middle, RAS \(.*\) mm, lies outside the segmentation"):
        runner.measure(Labelled(reference, {"spleen": (2,)}, 0.0), case.read_reference(), {"spleen": [2]})


def test_a_mean_of_networks_is_padded_for_the_deepest(tmp_path):
    for name, widths in (("flat", (2, 4, 4)), ("deep", (2, 4, 4, 4, 4))):
        architecture = ArchitectureSpec("AttentionUNet", widths)
        labels = phantoms.LABELS[:2]
        network = build_network(architecture, len(labels) + 1)
        save_model(tmp_path / name, network, phantoms.spec(labels, architecture=architecture))
    for order in (("flat", "deep"), ("deep", "flat")):
        model, _ = load_ensemble([str(tmp_path / name) for name in order])
        assert model.spec.architecture.widths == (2, 4, 4, 4, 4)


def test_label_maps_are_found_in_either_place(tmp_path):
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 1)
    case = cases_of_dataset(dataset)[0][0]
    system = LabelMapSystem(tmp_path, {"spleen": (2,)})
    with pytest.raises(ValueError, match="has no label map of the case c0"):
        system.segment(case)
    (tmp_path / "c0").mkdir()
    write_volume(evaluation_cases.labels(), tmp_path / "c0" / "labels.nii.gz")
    assert system.segment(case).labels.grid.same_as(evaluation_cases.GRID)
    write_volume(evaluation_cases.labels(), tmp_path / "c0.nrrd")
    with pytest.raises(ValueError, match="has 2 label maps of the case c0"):
        system.segment(case)
    assert read_volume(tmp_path / "c0.nrrd").voxels.max() == 2


def test_models_with_a_plus_between_them_are_one_system(tmp_path):
    paths = [write_checkpoint(tmp_path / f"{n}.ckpt", tiny_network(seed=n)) for n in range(2)]
    column = model_column(f"both={paths[0]}+{paths[1]}", CPU, {0})
    system = column.open(0)
    assert column.title == "both"
    assert system.organs == ("pancreas", "spleen", "kidney")
    assert system.parameters == 2 * sum(p.numel() for p in tiny_network().parameters())
    assert system.run(evaluation_cases.ct(evaluation_cases.labels())).labels.voxels.shape == (20, 22, 40)
    assert forward_time(system, 1, (16, 32, 16)).seconds > 0
    with pytest.raises(ValueError, match="there is no model at .*nothing.ckpt"):
        model_column(f"{paths[0]}+{tmp_path / 'nothing.ckpt'}", CPU, {0})


@pytest.mark.parametrize("way", ["ensemble", "average", "base model", "base checkpoint", "patient"])
def test_what_a_network_has_seen_by_detours_is_known(tmp_path, way):
    folder = evaluation_cases.write_dataset(tmp_path / "data", 3)
    cases, _ = cases_of_dataset(folder)
    first, second, third = (case.id for case in cases)
    data = {"dataset_name": PreparedDataset.open(folder).name}
    paths = [
        write_checkpoint(tmp_path / f"{name}.ckpt", tiny_network(), training_ids=[name], **data)
        for name in (first, second)
    ]
    source, seen = str(paths[1]), [second]
    if way == "ensemble":
        source, seen = "+".join(map(str, paths)), [first, second]
    elif way == "average":
        average(paths, tmp_path / "mean.ckpt")
        source, seen = str(tmp_path / "mean.ckpt"), [first, second]
    elif way == "base model":
        spec = dataclasses.replace(
            phantoms.spec(),
            provenance=Provenance(training_cases=(first,), validation_cases=(third,), dataset=data["dataset_name"]),
        )
        bases = bases_of_model(spec)
        write_checkpoint(paths[1], tiny_network(), task={"bases": bases}, training_ids=[second], **data)
        seen = [first, second, third]
    elif way == "base checkpoint":
        write_checkpoint(paths[0], tiny_network(), training_ids=[first], validation_ids=[third], **data)
        bases = read_starting_weights(paths[0]).bases
        write_checkpoint(paths[1], tiny_network(), task={"bases": bases}, training_ids=[second], **data)
        seen = [first, second, third]
    else:
        cases = [dataclasses.replace(case, same_patient=(second, third)) for case in cases]
        seen = [second, third]
        cases[0] = dataclasses.replace(cases[0], same_patient=(first,))
    system = model_column(source, CPU, {0}).open(0)
    assert [case.id for case in cases if system.has_seen(case)] == seen


def test_cases_know_the_others_of_their_patient(tmp_path):
    folder = prepared_cases.write_dataset(tmp_path / "dataset", 3, patients=["a", "b", "a"])
    assert [case.same_patient for case in cases_of_dataset(folder)[0]] == [("c0", "c2"), ("c1",), ("c0", "c2")]


def test_a_network_that_has_seen_cases_is_told_and_gets_no_figures_for_export(tmp_path, capsys):
    folder = evaluation_cases.write_dataset(tmp_path / "data", 3)
    dataset = PreparedDataset.open(folder)
    first, second, _ = (case.id for case in dataset.cases)
    bases = [
        {"name": "x", "training_data": dataset.name, "training_cases": [second]},
        {"name": "y", "training_data": "another", "training_cases": [case.id for case in dataset.cases]},
    ]
    options = {"task": {"bases": bases}, "dataset_name": dataset.name, "training_ids": [first]}
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", tiny_network(), **options)
    arguments = [
        "evaluate",
        "--dataset",
        str(folder),
        "--model",
        f"N={checkpoint}",
        "--time-runs",
        "0",
        "--device",
        "cpu",
    ]
    assert main([*arguments, "--report-dir", str(tmp_path / "report"), "--output", str(tmp_path / "m.json")]) == 1
    said = capsys.readouterr()
    assert f"**N was trained on 2 of these cases, or selected on them**, such as {first}" in said.out
    assert said.err == f"error: the model was trained on {first}, or selected on it: no figures are kept for export\n"
    assert not (tmp_path / "m.json").exists()
    (system,) = json.loads((tmp_path / "report" / "evaluation.json").read_text())["systems"]
    assert system["trained_on"] == [first, second]
