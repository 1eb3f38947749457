"""The whole command: what it writes, resuming, other options, workers, interruption, splits later."""

import builtins
import dataclasses
import json
import os

import numpy as np
import pytest

from attention_unet_training.commands.prepare import main
from attention_unet_training.preparation import case as case_preparation
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.preparation.workers import run_parallel
from AttentionUNetSegmentationLib.imaging.preprocessing import preprocess
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support import prepare_phantoms as made

pytestmark = pytest.mark.slow


def run(source, output, *options) -> int:
    workers = () if "--workers" in options else ("--workers", "0")
    return main([str(source), "--output", str(output), *workers, *made.LABEL_OPTIONS, *options])


def times(folder) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("cases/*/image.npy")}


def test_what_is_written(tmp_path):
    source = made.write_csv(tmp_path, 2, patients={0: "Ann", 1: "Ben"})
    assert run(source, tmp_path / "out", "--name", "test data") == 0
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert set(content) == {
        "format",
        "name",
        "organs",
        "spacing_mm",
        "intensity",
        "cases",
        "left_out",
        "patients",
        "labelled_by",
    }
    assert (content["format"], content["name"], content["left_out"]) == (1, "test data", [])
    assert content["labelled_by"] == ""
    assert content["patients"] == "the table's column patient identifies the patients of 2 images"
    assert content["organs"] == ["pancreas", "spleen", "kidney"]
    assert content["spacing_mm"] == [2, 2, 2]
    assert content["intensity"] == {"clip_hu": [-200, 300], "mean_hu": -25, "std_hu": 130}
    case = content["cases"][1]
    assert (case["id"], case["patient"], case["folder"]) == ("ct1", "Ben", "cases/ct1")
    assert case["image_source"] == str(tmp_path / "ct1.nii.gz")
    assert case["labels_source"] == str(tmp_path / "labels1.nii.gz")
    assert case["labelled"] == content["organs"]
    files = sorted(path.name for path in (tmp_path / "out" / "cases" / "ct1").iterdir())
    assert files == ["case.json", "image.npy", "labels.npy", "reference.nii.gz"]


def test_images_and_labels_are_what_the_engine_would_make_of_the_ct(tmp_path):
    options = ["--spacing", "2.5", "2.5", "3", "--clip", "-150", "250", "--mean", "10", "--std", "80"]
    assert run(made.write_csv(tmp_path, 1), tmp_path / "out", *options) == 0
    dataset = PreparedDataset.open(tmp_path / "out")
    (case,) = dataset.cases
    expected = preprocess(case.ct(), (2.5, 2.5, 3), IntensitySpec((-150, 250), 10, 80))
    assert (dataset.spacing_mm, dataset.intensity) == ((2.5, 2.5, 3), IntensitySpec((-150, 250), 10, 80))
    assert case.grid.same_as(expected.grid)
    np.testing.assert_array_equal(case.image(), expected.image.astype(np.float16))
    assert (case.image().dtype, case.labels().dtype) == (np.float16, np.uint8)
    assert isinstance(case.image(), np.memmap)
    assert isinstance(case.labels(), np.memmap)
    counts = np.bincount(case.labels().ravel(), minlength=4)
    assert case.voxels == {"pancreas": counts[1], "spleen": counts[2], "kidney": counts[3]}
    truth = made.abdomen(0)[1]
    for number, values in ((1, (1,)), (2, (2,)), (3, (3, 4))):
        centre = phantoms.centroid_ras_mm(np.isin(truth.voxels, values), truth.grid)
        np.testing.assert_allclose(
            phantoms.centroid_ras_mm(case.labels() == number, case.grid), centre, atol=1.0
        )  # of 2.5 mm


def test_finished_cases_are_not_done_again(tmp_path, capsys):
    source = made.write_csv(tmp_path, 3)
    (tmp_path / "ct1.nii.gz").rename(tmp_path / "away")
    assert run(source, tmp_path / "out") == 0
    before = times(tmp_path / "out")
    (tmp_path / "away").rename(tmp_path / "ct1.nii.gz")
    assert run(source, tmp_path / "out") == 0
    after = times(tmp_path / "out")
    assert set(before) == {"ct0", "ct2"}
    assert set(after) == {"ct0", "ct1", "ct2"}
    assert {name: after[name] for name in before} == before
    assert "cases: 3 (there already: 2)" in capsys.readouterr().out


def test_a_case_is_done_again_when_its_files_or_options_change(tmp_path):
    source = made.write_csv(tmp_path, 2)
    assert run(source, tmp_path / "out") == 0
    before = times(tmp_path / "out")
    made.save(made.only(made.abdomen(1)[1], {1: 1, 2: 2, 3: 3}), tmp_path / "labels1.nii.gz")
    assert run(source, tmp_path / "out") == 0
    after = times(tmp_path / "out")
    assert after["ct0"] == before["ct0"]
    assert after["ct1"] != before["ct1"]
    assert run(source, tmp_path / "out", "--allow-missing") == 0
    assert times(tmp_path / "out")["ct0"] != after["ct0"]
    (tmp_path / "out" / "cases" / "ct0" / "case.json").write_text("{}")
    before = times(tmp_path / "out")
    assert run(source, tmp_path / "out", "--allow-missing") == 0
    assert times(tmp_path / "out")["ct0"] != before["ct0"]


def test_datasets_are_not_mixed_in_one_folder(tmp_path, capsys):
    source = made.write_csv(tmp_path, 2)
    assert run(source, tmp_path / "out") == 0
    for options, message in (
        (["--spacing", "3"], "with spacing_mm (2.0, 2.0, 2.0), now (3.0, 3.0, 3.0)"),
        (["--organs", "spleen"], "with organs"),
        (["--mean", "0"], "with intensity"),
        (["--name", "other"], "with name cases, now other"),
    ):
        assert run(source, tmp_path / "out", *options) == 1
        assert message in capsys.readouterr().err
    other = tmp_path / "cases.csv"
    other.write_text("image,label\nct0.nii.gz,labels0.nii.gz\n")
    assert run(other, tmp_path / "out") == 1
    assert "holds cases that this source does not have (ct1 ...)" in capsys.readouterr().err
    assert run(other, tmp_path / "out", "--overwrite", "--spacing", "3") == 0
    assert [path.name for path in (tmp_path / "out" / "cases").iterdir()] == ["ct0"]
    assert PreparedDataset.open(tmp_path / "out").spacing_mm == (3, 3, 3)


def test_an_interrupted_case_leaves_nothing_and_the_next_run_goes_on(tmp_path, monkeypatch, capsys):
    source = made.write_csv(tmp_path, 2)
    write = case_preparation.write_volume

    def interrupted(volume, path):
        if "ct1" in str(path):
            raise KeyboardInterrupt
        write(volume, path)

    monkeypatch.setattr(case_preparation, "write_volume", interrupted)
    assert run(source, tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out" / "cases").iterdir()] == ["ct0"]
    assert not (tmp_path / "out" / "dataset.json").exists()
    before = times(tmp_path / "out")
    monkeypatch.setattr(case_preparation, "write_volume", write)
    (tmp_path / "out" / "cases" / ".writing-ct1-killed").mkdir()
    assert run(source, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out" / "cases").iterdir()) == ["ct0", "ct1"]
    assert times(tmp_path / "out")["ct0"] == before["ct0"]


def test_an_interrupted_overwrite_leaves_no_dataset_of_two_kinds_of_classes(tmp_path, monkeypatch, capsys):
    source = made.write_csv(tmp_path, 2)
    assert run(source, tmp_path / "out", "--organs", "pancreas,spleen") == 0
    other = ("--organs", "spleen,pancreas")
    align = case_preparation.align

    def interrupted(labels, ct, *options):
        if ct.name == "ct1.nii.gz":
            raise KeyboardInterrupt
        return align(labels, ct, *options)

    monkeypatch.setattr(case_preparation, "align", interrupted)
    assert run(source, tmp_path / "out", *other, "--overwrite") == 130
    assert "run the same command again, without --overwrite, to resume" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"out is not a prepared dataset: it has no dataset.json, .* written last"):
        PreparedDataset.open(tmp_path / "out")
    before = times(tmp_path / "out")
    monkeypatch.setattr(case_preparation, "align", align)
    assert run(source, tmp_path / "out", *other) == 0
    after = times(tmp_path / "out")
    assert (after["ct0"] == before["ct0"], after["ct1"] == before["ct1"]) == (True, False)
    assert PreparedDataset.open(tmp_path / "out").organs == ("spleen", "pancreas")


def test_an_overwrite_that_can_use_no_case_leaves_the_dataset_as_it_is(tmp_path):
    source = made.write_csv(tmp_path, 1)
    assert run(source, tmp_path / "out") == 0
    before = PreparedDataset.open(tmp_path / "out").record
    (tmp_path / "ct0.nii.gz").write_text("damaged")
    assert run(source, tmp_path / "out", "--overwrite") == 1
    assert PreparedDataset.open(tmp_path / "out").record == before


def test_labels_that_mean_no_organ_are_told(tmp_path, capsys):
    source = made.write_csv(tmp_path, 1)
    more = ("--label", "pancreatic mass=5", "--label", "lesions=6", "--label", "liver=7")
    assert run(source, tmp_path / "out", *more) == 0
    assert "labels that mean no organ: lesions, liver, pancreatic mass\n" in capsys.readouterr().out
    assert run(source, tmp_path / "out", "--organs", "pancreas,spleen,kidney_left,kidney_right", "--overwrite") == 0
    assert "mean no organ" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "4-2"), "a split must look like 120/30 (training/test cases), got '4-2'"),
        (("--split", "1/1", "--split", "0/5"), "a split must look like 120/30 (training/test cases), got '0/5'"),
        (("--folds", "1"), "the number of folds must be at least 2, got 1"),
    ],
)
def test_splits_of_a_wrong_form_are_refused_before_anything_is_prepared(tmp_path, capsys, options, message):
    assert run(made.write_csv(tmp_path, 1), tmp_path / "out", *options) == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "out").exists()


def test_an_unforeseen_error_costs_its_case_only(tmp_path, monkeypatch, caplog):
    source = made.write_csv(tmp_path, 2)
    align = case_preparation.align

    def broken(labels, ct, *options):
        if ct.name == "ct1.nii.gz":
            raise ZeroDivisionError("oops")
        return align(labels, ct, *options)

    monkeypatch.setattr(case_preparation, "align", broken)
    assert run(source, tmp_path / "out") == 0
    dataset = PreparedDataset.open(tmp_path / "out")
    assert [(entry.id, entry.reason) for entry in dataset.left_out] == [("ct1", "ZeroDivisionError: oops")]
    assert "case ct1 failed" in caplog.text
    assert "Traceback" in caplog.text


def test_several_processes_give_the_same_as_one(tmp_path):
    source = made.write_csv(tmp_path, 3)
    assert run(source, tmp_path / "one", "--workers", "0", "--name", "x") == 0
    assert run(source, tmp_path / "two", "--workers", "2", "--name", "x") == 0
    first, second = PreparedDataset.open(tmp_path / "one"), PreparedDataset.open(tmp_path / "two")
    assert first.record == second.record
    for a, b in zip(first.cases, second.cases, strict=True):
        np.testing.assert_array_equal(a.image(), b.image())
        np.testing.assert_array_equal(a.labels(), b.labels())


def test_a_killed_process_costs_its_item_only():
    items = ["1 + 1", "__import__('os')._exit(9)", "2 + 2", "3 + 3"]
    assert dict(run_parallel(builtins.eval, items, 2)) == {0: 2, 1: None, 2: 4, 3: 6}
    with pytest.raises(ValueError, match="must be 0 or more, got -1"):
        list(run_parallel(len, ["a"], -1))


def test_splits_with_the_dataset_and_later(tmp_path, capsys):
    source = made.write_csv(tmp_path, 5, patients=dict(enumerate("AABCD")))
    assert run(source, tmp_path / "out", "--split", "120/30") == 0
    assert "5 of 150 cases; scaled to 4/1" in capsys.readouterr().out
    before = times(tmp_path / "out")
    assert main([str(tmp_path / "out"), "--split", "3/2", "--folds", "2", "--seed", "4"]) == 0
    assert times(tmp_path / "out") == before
    kept = (tmp_path / "out" / "splits" / "3-2.json").read_text()
    assert main([str(tmp_path / "out"), "--split", "4/1", "--split", "3/2", "--seed", "6"]) == 1
    assert "3-2.json has other cases than would be drawn now: --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "out" / "splits" / "3-2.json").read_text() == kept
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.split_names() == ["120-30", "3-2", "folds-2"]
    content = json.loads((tmp_path / "out" / "splits" / "3-2.json").read_text())
    assert set(content) == {"kind", "seed", "folds"}
    assert (content["kind"], content["seed"]) == ("holdout", 4)
    (fold,) = dataset.split("3-2").folds
    assert (len(fold.train), len(fold.test)) == (3, 2)
    assert ("ct0" in fold.train) == ("ct1" in fold.train)
    assert [len(fold.test) for fold in dataset.split("folds-2").folds] in ([3, 2], [2, 3])
    assert main([str(tmp_path / "out"), "--split", "3/2", "--seed", "6", "--overwrite"]) == 0
    assert (tmp_path / "out" / "splits" / "3-2.json").read_text() != kept


def test_errors_are_one_line_and_status_1(tmp_path, capsys):
    source = made.write_csv(tmp_path, 1)
    out = ["--output", str(tmp_path / "out")]
    for arguments, message in (
        ([], "required: SOURCE"),
        ([source], "--output is needed"),
        ([source, *out, "--spacing", "2", "2"], "--spacing takes one number or three, got 2"),
        ([source, *out, *made.LABEL_OPTIONS, "--spacing", "0"], "must lie in 0.1..20 mm"),
        ([source, *out, *made.LABEL_OPTIONS, "--clip", "5", "1"], "clip_hu must rise"),
        ([source, *out, *made.LABEL_OPTIONS, "--std", "0"], "std_hu must be positive"),
        ([source, *out, *made.LABEL_OPTIONS, "--organs", "liver"], "no label means liver; the labels are: kidney_left"),
        ([source, *out, *made.LABEL_OPTIONS, "--organs", "spleen,,"], "organs must be distinct names"),
        ([source, *out, *made.LABEL_OPTIONS, "--tumour", "x"], "invalid choice: 'x'"),
        ([source, *out, *made.LABEL_OPTIONS, "--workers", "-1"], "must be 0 or more"),
        ([source, *out, "--no-such-option"], "unrecognized arguments: --no-such-option"),
        ([source, "--output", source / "x", *made.LABEL_OPTIONS], "is a file"),
        ([tmp_path / "none", *out], "does not exist"),
    ):
        assert main([str(part) for part in arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert len(error.strip().splitlines()) == 1
    assert run(source, tmp_path / "out") == 0
    assert main([str(tmp_path / "out")]) == 1
    assert "--split or --folds is needed" in capsys.readouterr().err
    assert main([str(tmp_path / "out"), "--folds", "2"]) == 1
    assert "at least 2 patients" in capsys.readouterr().err


def test_quiet_prints_nothing(tmp_path, capsys):
    assert run(made.write_csv(tmp_path, 2), tmp_path / "out", "--quiet", "--split", "1/1") == 0
    assert capsys.readouterr() == ("", "")


def test_results_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)
    try:
        assert run(made.write_csv(tmp_path, 1), tmp_path / "out") == 0
    finally:
        os.umask(before)
    folder = tmp_path / "out" / "cases" / "ct0"
    assert folder.stat().st_mode & 0o055 == 0o055
    assert (tmp_path / "out" / "dataset.json").stat().st_mode & 0o044 == 0o044
    assert os.access(folder / "image.npy", os.R_OK)


def test_options_are_part_of_the_fingerprint(tmp_path):
    source = made.write_csv(tmp_path, 1)
    found = case_preparation.SourceCase("ct0", "p", tmp_path / "ct0.nii.gz", (), source)
    options = case_preparation.CaseOptions(("a",), ("a",), {"a": "a"}, (2, 2, 2), IntensitySpec((-1, 1), 0, 1))
    task = case_preparation.CaseTask(found, options, tmp_path)
    marks = {case_preparation.fingerprint(task)}
    for change in ({"spacing_mm": (3, 3, 3)}, {"allow_missing": True}, {"intensity": IntensitySpec((-1, 1), 0, 2)}):
        changed = dataclasses.replace(task, options=dataclasses.replace(options, **change))
        marks.add(case_preparation.fingerprint(changed))
    assert len(marks) == 4
    assert case_preparation.fingerprint(dataclasses.replace(task, overwrite=True)) in marks


def _flip_labels(folder, number):
    labels = made.abdomen(number)[1]
    made.save(
        Volume(np.ascontiguousarray(labels.voxels[:, :, ::-1]), labels.ijk_to_ras), folder / f"labels{number}.nii.gz"
    )


def test_one_case_that_fits_flipped_is_left_out_to_be_looked_at(tmp_path, capsys):
    source = made.write_csv(tmp_path, 3)
    _flip_labels(tmp_path, 1)
    for _ in range(2):
        assert run(source, tmp_path / "out") == 0
        said = "left out: ct1: the labels fit the CT better flipped left-right than where their geometry puts them, but"
        assert said in capsys.readouterr().out
        assert sorted(path.name for path in (tmp_path / "out" / "cases").iterdir()) == ["ct0", "ct2"]
    assert run(source, tmp_path / "out", "--trust-geometry") == 0
    references = [case.reference().voxels for case in PreparedDataset.open(tmp_path / "out").cases]
    for n, reference in enumerate(references):
        wanted = made.abdomen(n)[1].voxels[:, :, :: -1 if n == 1 else 1]
        np.testing.assert_array_equal(reference > 0, wanted > 0)


def test_labels_that_fit_nowhere_are_left_out_whatever_others_do(tmp_path, capsys):
    source = made.write_csv(tmp_path, 3)
    labels = made.abdomen(1)[1]
    made.save(Volume(np.roll(labels.voxels, (2, 11), (1, 2)), labels.ijk_to_ras), tmp_path / "labels1.nii.gz")
    assert run(source, tmp_path / "out") == 0
    assert "left out: ct1: the labels do not fit the CT where their geometry puts them" in capsys.readouterr().out


def test_labels_that_lie_flipped_in_most_cases_are_turned_in_all(tmp_path, capsys):
    source = made.write_csv(tmp_path, 3)
    _flip_labels(tmp_path, 0)
    _flip_labels(tmp_path, 1)
    dot = made.abdomen(2)[1]
    dot.voxels[:] = 0
    dot.voxels[9:12, 9:12, 9:12] = 1  # too small to tell how it lies
    made.save(dot, tmp_path / "labels2.nii.gz")
    assert run(source, tmp_path / "out", "--organs", "pancreas", "--workers", "2") == 0
    output = capsys.readouterr().out
    assert "note: ct0: labels flipped left-right: they do not fit the CT where their geometry puts them" in output
    assert "note: ct2: labels taken as most of this source's lie, flipped left-right; in themselves they" in output
    references = [case.reference().voxels for case in PreparedDataset.open(tmp_path / "out").cases]
    for n in (0, 1):
        np.testing.assert_array_equal(references[n] > 0, made.abdomen(n)[1].voxels == 1)
    np.testing.assert_array_equal(references[2], dot.voxels[:, :, ::-1])


def test_a_table_says_which_organs_each_case_is_labelled_for(tmp_path, capsys):
    source = made.write_csv(tmp_path, 2)
    made.save(made.only(made.abdomen(1)[1], {1: 1}), tmp_path / "labels1.nii.gz")
    assert run(source, tmp_path / "out") == 0
    assert "ct1: missing organ: spleen, kidney (if the scan lacks it, --allow-missing keeps" in capsys.readouterr().out
    rows = source.read_text().splitlines()
    source.write_text(f"{rows[0]},labelled\n{rows[1]},pancreas; spleen;kidney\n{rows[2]},pancreas\n")
    assert run(source, tmp_path / "out") == 0
    cases = PreparedDataset.open(tmp_path / "out").cases
    assert [case.labelled for case in cases] == [("pancreas", "spleen", "kidney"), ("pancreas",)]
    assert not [note for note in cases[1].record.notes if "not in this scan" in note]
    source.write_text(source.read_text().replace(",pancreas\n", ",pancrea\n"))
    assert run(source, tmp_path / "out") == 1
    assert (
        "labels1.nii.gz: labelled names 'pancrea', but organs are pancreas, spleen, kidney" in capsys.readouterr().err
    )
