"""The command ``attention-unet-train evaluate``: tables, files, failures, interruptions."""

import csv
import json

import numpy as np
import pytest

from attention_unet_training.cli import main
from attention_unet_training.evaluation import runner
from attention_unet_training.evaluation.metrics import METRICS
from attention_unet_training.evaluation.runner import measure
from attention_unet_training.evaluation.systems import Labelled, NetworkSystem
from attention_unet_training.preparation.patients import COLUMN
from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.models.description import Measurement
from AttentionUNetSegmentationLib.models.loading import save_model
from AttentionUNetSegmentationLib.pipeline import Options
from AttentionUNetSegmentationLib.volume import Volume
from support import evaluation_cases, phantoms

pytestmark = pytest.mark.slow

CPU = Options(device="cpu")
PREDICTION_ORGANS = ["--prediction-organ", "pancreas=1", "--prediction-organ", "spleen=2"]


def write_case(folder, name: str, reference: Volume) -> list[str]:
    """--ct and --labels of a case that is written."""
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(evaluation_cases.ct(reference), folder / f"{name}.nrrd")
    write_volume(reference, folder / f"{name}.labels.nrrd")
    return ["--ct", str(folder / f"{name}.nrrd"), "--labels", str(folder / f"{name}.labels.nrrd")]


def compare_two(folder, count: int, *more: str, **changes) -> int:
    """Evaluate exact label maps and ones shifted by a voxel of 2 mm on ``count`` cases."""
    dataset = evaluation_cases.write_dataset(folder / "data", count, **changes)
    exact = evaluation_cases.write_predictions(folder / "exact", count)
    shifted = evaluation_cases.write_predictions(folder / "shifted", count, 1)
    arguments = ["evaluate", "--dataset", str(dataset), "--predictions", f"Exact={exact}"]
    arguments += ["--predictions", f"Shifted={shifted}", *PREDICTION_ORGANS, "--report-dir", str(folder / "report")]
    return main([*arguments, *more])


def report(folder) -> dict:
    return json.loads((folder / "report" / "evaluation.json").read_text())


def table(folder) -> str:
    return (folder / "report" / "table.md").read_text()


def row(text: str, name: str) -> list[str]:
    """Cells of a table's row."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_two_systems_give_tables_with_the_better_one_in_bold(tmp_path, capsys):
    assert compare_two(tmp_path, 9) == 0
    text = table(tmp_path)
    assert capsys.readouterr().out.startswith(text)
    assert text.startswith("# balls\n")
    assert row(text, "") == ["Exact", "Shifted"]
    exact, shifted = row(text, "Pancreas DSC")
    assert exact == "**1.000 ± 0.000**"
    assert not shifted.startswith("**")
    entry = next(entry for entry in report(tmp_path)["comparisons"] if entry["metric"] == "surface_distance_mm")
    assert (entry["first"], entry["second"], entry["organ"]) == ("Exact", "Shifted", "pancreas")
    assert entry["pairs"] == 9
    assert entry["p"] == pytest.approx(2 / 2**9)  # all nine differences have the same sign
    assert entry["p_corrected"] == pytest.approx(10 * 2 / 2**9)  # two organs, five metrics
    low, high = entry["interval"]
    assert 0.5 < low <= entry["difference"] <= high < 1.5
    assert row(text, "Spleen recall")[0] == "**1.000 ± 0.000**"
    assert "Shifted minus Exact, case by case:\n\n|  | difference | 95 % interval | pairs | p | p (Holm) |" in text
    comparison = text[text.index("Shifted minus Exact") :]
    assert row(comparison, "Pancreas DSC")[2:] == ["9", "0.0039", "0.039"]
    assert "corrected by Holm's method for 10 tests: all of this table's." in text
    intervals = text[text.index("95 % confidence intervals of the means") :]
    assert row(intervals, "Pancreas DSC")[0] == "1.000 to 1.000"
    assert "9 cases of 9 patients" in text
    assert report(tmp_path)["cleaned"] is None  # no network ran
    assert row(text, "Number of parameters") == row(text, "Forward pass, 160 x 160 x 96") == ["-", "-"]


def test_what_only_the_correction_makes_insignificant_is_not_bold(tmp_path):
    """Seven differences of one sign: p = 0.016 alone, 0.16 as one of ten tests."""
    assert compare_two(tmp_path, 7) == 0
    assert all(entry["p"] < 0.05 < entry["p_corrected"] for entry in report(tmp_path)["comparisons"])
    assert "**" not in table(tmp_path)


def test_metrics_per_case_are_those_of_the_masks(tmp_path):
    assert compare_two(tmp_path, 2) == 0
    with (tmp_path / "report" / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 2  # systems, cases, organs
    reference = evaluation_cases.labels(8.5).voxels == 1
    wanted = phantoms.dice(reference, np.roll(reference, 1, axis=2))
    found = next(r for r in rows if (r["system"], r["case"], r["organ"]) == ("Shifted", "c1", "pancreas"))
    assert float(found["dice"]) == pytest.approx(wanted)
    assert float(found["hausdorff_95_mm"]) == pytest.approx(2, abs=0.01)
    assert float(found["reference_ml"]) == pytest.approx(np.count_nonzero(reference) * 0.008)
    assert (found["volume_ratio"], found["patient"], found["seconds"], found["error"]) == ("1.0", "p1", "", "")


def test_fewer_than_six_pairs_are_not_tested(tmp_path):
    assert compare_two(tmp_path, 5) == 0
    text = table(tmp_path)
    assert "Comparisons not tested: fewer than 6 pairs (5)." in text
    assert "**" not in text
    assert all(entry["p"] is None for entry in report(tmp_path)["comparisons"])


def test_cases_of_one_patient_are_not_tested(tmp_path):
    assert compare_two(tmp_path, 7, patients=["a", "b", "c", "d", "e", "f", "f"]) == 0
    text = table(tmp_path)
    assert "Comparisons not tested: cases are not independent (7 cases of 6 patients)." in text
    assert "**" not in text


@pytest.mark.parametrize(("how", "named"), [(["", COLUMN], False), ([COLUMN, COLUMN], True)])
def test_a_prepared_dataset_tells_whether_its_patients_were_named(tmp_path, how, named):
    evaluation_cases.write_dataset(tmp_path / "data", 2)
    path = tmp_path / "data" / "dataset.json"
    content = json.loads(path.read_text())
    for case, source in zip(content["cases"], how, strict=True):
        case["patient_from"] = source
    path.write_text(json.dumps(content))
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 2)
    arguments = ["evaluate", "--dataset", str(tmp_path / "data"), "--predictions", str(maps), *PREDICTION_ORGANS]
    assert main([*arguments, "--report-dir", str(tmp_path / "report")]) == 0
    assert report(tmp_path)["patients_named"] is named
    assert ("Patients were not named" in table(tmp_path)) is not named


def test_an_organ_that_no_reference_has_is_told(tmp_path, capsys):
    """A mistyped value: both masks are empty, Dice is 1."""
    case = write_case(tmp_path, "one", evaluation_cases.labels())
    maps = tmp_path / "maps"
    maps.mkdir()
    write_volume(evaluation_cases.labels(), maps / "one.nii.gz")
    arguments = ["--organ", "pancreas=1", "--organ", "spleen=5", "--prediction-organ", "pancreas=1"]
    arguments += ["--prediction-organ", "spleen=5", "--predictions", str(maps), "--data-name", "x"]
    assert main(["evaluate", *case, *arguments]) == 0
    text = capsys.readouterr().out
    assert row(text, "Spleen DSC") == ["1.000"]
    assert "segmentations are" not in text  # what is said of the clean-up is said of networks
    assert "- No reference has a voxel of the spleen: is its value right?\n" in text
    assert "voxel of the pancreas" not in text


def test_undefined_distances_are_counted_and_left_out(tmp_path):
    """One organ that is not found: Dice 0, no distance."""
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 3)
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 3)
    nothing = evaluation_cases.labels()
    write_volume(Volume(np.zeros_like(nothing.voxels), nothing.ijk_to_ras), maps / "c1.nii.gz")
    arguments = ["evaluate", "--dataset", str(dataset), "--predictions", str(maps), *PREDICTION_ORGANS]
    assert main([*arguments, "--report-dir", str(tmp_path / "report")]) == 0
    text = table(tmp_path)
    assert row(text, "Pancreas DSC") == ["0.667 ± 0.577"]
    assert row(text, "Pancreas S2S distance (mm)") == ["0.000 ± 0.000 (n = 2)"]
    assert "maps: distances of the pancreas are undefined in 1 of 3 cases (one mask is empty)." in text
    case = report(tmp_path)["systems"][0]["cases"][1]["organs"]["pancreas"]
    assert (case["dice"], case["surface_distance_mm"], case["predicted_ml"]) == (
        0,
        None,
        0,
    )


def test_a_failing_case_does_not_stop_the_others(tmp_path, capsys):
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 3)
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 3)
    (maps / "c1.nii.gz").write_text("no image")
    arguments = ["evaluate", "--dataset", str(dataset), "--predictions", str(maps), *PREDICTION_ORGANS]
    assert main([*arguments, "--report-dir", str(tmp_path / "report")]) == 1
    assert "error: maps: c1: " in capsys.readouterr().err
    content = report(tmp_path)
    assert [case["case"] for case in content["systems"][0]["cases"]] == ["c0", "c2"]
    assert content["failures"][0]["case"] == "c1"
    assert row(table(tmp_path), "Pancreas DSC") == ["1.000 ± 0.000 (n = 2)"]
    assert "maps: not measured on c1: " in table(tmp_path)
    write_volume(evaluation_cases.labels(8.5), maps / "c1.nii.gz")
    assert main([*arguments, "--report-dir", str(tmp_path / "report")]) == 0
    assert row(table(tmp_path), "Pancreas DSC") == ["1.000 ± 0.000"]


def test_without_any_measured_case_there_is_an_error_and_no_table(tmp_path, capsys):
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 1)
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 1)
    (maps / "c0.nii.gz").write_text("no image")
    arguments = ["evaluate", "--dataset", str(dataset), "--predictions", str(maps), *PREDICTION_ORGANS]
    assert main([*arguments, "--report-dir", str(tmp_path / "report")]) == 1
    captured = capsys.readouterr()
    (error,) = captured.err.splitlines()
    assert error.startswith("error: maps: c0: ")
    assert captured.out == ""
    assert not (tmp_path / "report" / "table.md").exists()


def test_an_interrupted_evaluation_goes_on(tmp_path, monkeypatch):
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 4)
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 4, 1)
    arguments = ["evaluate", "--dataset", str(dataset), "--predictions", str(maps), *PREDICTION_ORGANS]
    arguments += ["--report-dir", str(tmp_path / "report")]
    measured, plain = [], runner.measure_case

    def watched(system, case):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(case.id)
        return plain(system, case)

    monkeypatch.setattr(runner, "measure_case", watched)
    assert main(arguments) == 130
    assert measured == ["c0", "c1"]
    assert not (tmp_path / "report" / "table.md").exists()
    measured[:] = [None] * 3
    assert main(arguments) == 0
    assert measured[3:] == ["c2", "c3"]
    whole = (tmp_path / "report" / "evaluation.json").read_text()
    measured.clear()
    assert main(arguments) == 0  # nothing is left to do
    assert measured == []
    assert (tmp_path / "report" / "evaluation.json").read_text() == whole


def test_a_patient_named_later_is_the_patient_of_a_kept_result(tmp_path):
    evaluation_cases.write_dataset(tmp_path / "data", 1)
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 1)
    arguments = ["evaluate", "--dataset", str(tmp_path / "data"), "--predictions", str(maps), *PREDICTION_ORGANS]
    arguments += ["--report-dir", str(tmp_path / "report")]
    assert main(arguments) == 0
    path = tmp_path / "data" / "dataset.json"
    path.write_text(path.read_text().replace('"patient": "p0"', '"patient": "Ann"'))
    assert main(arguments) == 0
    assert [case["patient"] for case in report(tmp_path)["systems"][0]["cases"]] == ["Ann"]


def test_organs_that_the_source_does_not_label_are_left_out(tmp_path):
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 2, labelled=[["pancreas"], ["pancreas", "spleen"]])
    maps = evaluation_cases.write_predictions(tmp_path / "maps", 2)
    arguments = ["evaluate", "--dataset", str(dataset), "--predictions", str(maps), *PREDICTION_ORGANS]
    assert main([*arguments, "--report-dir", str(tmp_path / "report")]) == 0
    assert [list(case["organs"]) for case in report(tmp_path)["systems"][0]["cases"]] == [
        ["pancreas"],
        ["pancreas", "spleen"],
    ]
    assert row(table(tmp_path), "Spleen DSC") == ["1.000 (n = 1)"]


def test_files_give_one_list_of_measurements_per_data_name(tmp_path, capsys):
    save_model(tmp_path / "model", phantoms.model(phantoms.LABELS[:2]).network, phantoms.spec(phantoms.LABELS[:2]))
    measured = tmp_path / "out" / "measured.json"
    arguments = ["evaluate", "--model", str(tmp_path / "model"), "--organ", "pancreas=1", "--organ", "spleen=2"]
    arguments += ["--output", str(measured), "--time-runs", "0", "--device", "cpu"]
    first = write_case(tmp_path / "a", "one", evaluation_cases.labels())
    second = write_case(tmp_path / "b", "one", evaluation_cases.labels(8))
    assert main([*arguments, *first, *second, "--data-name", "balls"]) == 0
    text = capsys.readouterr().out
    assert "2 cases of 2 patients" in text
    assert "Patients were not named" in text
    assert "- model: Test model, version 1, weights " in text
    assert "- Networks' segmentations are cleaned up as for users.\n" in text
    assert row(text, "Number of parameters") == [
        f"{NetworkSystem(phantoms.model(phantoms.LABELS[:2]), CPU).parameters:,}"
    ]
    assert main([*arguments, *first, "--data-name", "one ball"]) == 0
    entries = json.loads(measured.read_text())
    assert {(entry["data"], entry["cases"]) for entry in entries if entry["metric"] == "Dice"} == {
        ("balls", 2),
        ("one ball", 1),
    }
    assert {entry["metric"] for entry in entries} <= {metric.name for metric in METRICS}
    assert {entry["metric"] for entry in entries} >= {"Dice", "precision", "recall"}
    assert [Measurement(**entry).data for entry in entries].count("balls") > 0
    before = measured.read_text()
    assert main([*arguments, *first, "--data-name", "one ball"]) == 0
    assert sorted(map(str, json.loads(measured.read_text()))) == sorted(map(str, json.loads(before)))


FILES = ["--ct", "ct.nrrd", "--labels", "labels.nrrd", "--organ", "spleen=2", "--data-name", "x"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "abdomen-ct"], "give either --dataset, or --ct with --labels, --organ and --data-name"),
        (FILES, "give at least one --model or --predictions"),
        ([*FILES, "--model", "nonsense"], "there is no model 'nonsense'"),
        ([*FILES, "--model", "abdomen-ct", "--organ", "kidney=a"], "--organ must look like kidney=3,4, got 'kidney=a'"),
        ([*FILES, "--model", "abdomen-ct", *("--organ", "kidney=3", "--organ", "kidney=4")], "it is given twice"),
        ([*FILES, "--model", "abdomen-ct", "--organ", "liver=1"], "the model has no organ 'liver'; it has pancreas"),
        ([*FILES, "--model", "abdomen-ct", "--ct", "b.nrrd"], "every --ct needs its --labels, got 2 and 1"),
        ([*FILES, "--model", "abdomen-ct", "--patient", "a", "--patient", "b"], "for every --ct or for none, got 2"),
        ([*FILES, "--model", "abdomen-ct", "--split", "half"], "--split, --fold and --part belong to --dataset"),
        ([*FILES, "--model", "abdomen-ct", "--part", "train"], "--split, --fold and --part belong to --dataset"),
        ([*FILES, "--model", "abdomen-ct", "--model", "abdomen-ct"], "got 'abdomen-ct' twice"),
        (
            [*FILES, "--predictions", "/nowhere", "--prediction-organ", "spleen=1"],
            "there is no folder of label maps /nowhere",
        ),
        ([*FILES, "--predictions", "."], "--prediction-organ NAME=VALUE"),
        (
            [*FILES, "--predictions", ".", "--prediction-organ", "spleeen=2"],
            "no reference has 'spleeen'; they have spleen",
        ),
        (
            [*FILES, "--predictions", ".", "--prediction-organ", "spleen=2", "--output", "x"],
            "--output takes the figures of one network, not of label maps",
        ),
        ([*FILES, "--model", "abdomen-ct", "--organ", "kidney=2"], "spleen and kidney have the same values 2"),
        ([*FILES, "--model", "abdomen-ct", "--organ", "ignore=2,3"], "2 is to be left out, and is that of the spleen"),
        (
            ["--ct", "./ct.nrrd", "--labels", "b.nrrd", *FILES, "--model", "abdomen-ct"],
            "ct.nrrd is given twice, and would count as two patients'",
        ),
        ([*FILES, "--model", "abdomen-ct", "--time-runs", "-1"], "--time-runs must not be negative, got -1"),
        (
            [*FILES, "--model", "A=abdomen-ct", "--model", "B=abdomen-ct", "--output", "x"],
            "figures of one model, got 2",
        ),
        (FILES[:-2] + ["--model", "abdomen-ct"], "--ct needs --data-name"),
        (["--dataset", "/nowhere", "--model", "abdomen-ct"], "/nowhere is not a prepared dataset"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, message, capsys):
    assert main(["evaluate", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("content", ['{"not": "a list"}', '[{"data": ["a"]}]', '[{"organ": "spleen"}]'])
def test_a_file_that_is_no_list_of_measurements_is_left_alone(tmp_path, capsys, content):
    (tmp_path / "m.json").write_text(content)
    arguments = ["evaluate", *FILES, "--model", "abdomen-ct", "--output", str(tmp_path / "m.json")]
    assert main(arguments) == 1
    assert f"error: {tmp_path / 'm.json'} is not a list of measurements" in capsys.readouterr().err
    assert (tmp_path / "m.json").read_text() == content


@pytest.mark.parametrize("turned", [np.eye(3), phantoms.rotation(0, 0, 20)], ids=["", "oblique"])
def test_an_organ_that_the_label_map_cuts_does_not_go_on_beyond_it(turned):
    """A reference of 40 slices, of which the label map has the lower 20, with an organ through all of them."""
    whole, lower = (phantoms.grid((slices, 16, 16), (2, 2, 2), turned) for slices in (40, 20))
    shifted = np.array(whole.ijk_to_ras)
    shifted[:3, 3] = whole.ras_of(np.array([0.25, 0.25, 0]))
    labels = Volume(np.ones(lower.shape_kji, np.uint8), shifted)
    reference = Volume(np.ones(whole.shape_kji, np.uint8), whole.ijk_to_ras)
    scores = measure(Labelled(labels, {"spleen": (1,)}, 0.0), reference, {"spleen": [1]})
    assert scores["spleen"].precision == 1
    assert scores["spleen"].recall == pytest.approx(0.5, abs=0.02)
