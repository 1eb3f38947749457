"""Which cases a tree or a table holds, and what they are called."""

import os
from pathlib import Path

import pydicom
import pytest

from AttentionUNetSegmentationLib.cohort.inputs import find_cohort
from AttentionUNetSegmentationLib.formats.files import write_volume
from support import phantom_files
from support.permissions import needs_permissions


def names(root: Path, output: Path | None = None) -> list[str]:
    return [case.name for case in find_cohort(root, output or root.parent / "out")]


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def write_series(folder: Path, study: str = "1.2", series: str = "1.2.3", patient: str = "P1") -> None:
    """A DICOM series of two slices."""
    phantom_files.write_slices(folder, phantom_files.scan((2, 8, 8)), series=series)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.StudyInstanceUID, image.PatientID = study, patient
        image.save_as(path)


def test_a_case_is_called_by_its_path_without_ending(tmp_path):
    touch(tmp_path / "in", "b/ct.nii.gz", "a.1/scan.NRRD", "top.mha", "b/notes.txt", "b/.hidden.nii")
    cases = find_cohort(tmp_path / "in", tmp_path / "out")
    assert [(case.name, case.called) for case in cases] == [
        ("a.1/scan", "in/a.1/scan.NRRD"),
        ("b/ct", "in/b/ct.nii.gz"),
        ("top", "in/top.mha"),
    ]
    assert cases[0].source == tmp_path / "in" / "a.1" / "scan.NRRD"
    assert cases[0].folder == tmp_path / "out" / "cases" / "a.1" / "scan"
    assert cases[0].input_id == "in/a.1/scan.NRRD"


def test_a_study_is_one_case_and_its_folder_names_it(tmp_path):
    write_series(tmp_path / "in" / "p1" / "study" / "s1")
    write_series(tmp_path / "in" / "p1" / "study" / "s2", series="1.2.4")
    write_series(tmp_path / "in" / "p2" / "images", study="1.3", series="1.3.1")
    assert names(tmp_path / "in") == ["p1/study", "p2/images"]


def test_where_studies_share_a_folder_each_series_is_a_case(tmp_path):
    for series, study in (("s1", "1.2"), ("s2", "1.2"), ("s3", "1.9")):
        write_series(tmp_path / "in" / "p" / series, study, f"{study}.{series[1]}")
    assert names(tmp_path / "in") == ["p/s1", "p/s2", "p/s3"]


def test_a_study_that_was_exported_twice_is_two_cases(tmp_path):
    for copy in ("first", "second"):
        write_series(tmp_path / "in" / copy / "s1")
        write_series(tmp_path / "in" / copy / "s2", series="1.2.4")
    assert names(tmp_path / "in") == ["first", "second"]


def test_patients_whose_studies_got_one_uid_are_told_apart(tmp_path):
    for patient in ("p1", "p2"):
        phantom_files.write_slices(tmp_path / "in" / patient, phantom_files.scan((2, 8, 8)), patient=patient)
    assert names(tmp_path / "in") == ["p1", "p2"]


def test_a_tree_that_is_one_study_is_called_like_its_folder(tmp_path):
    write_series(tmp_path / "Study7")
    assert names(tmp_path / "Study7") == ["Study7"]


def test_a_damaged_dicom_file_is_a_case_that_will_say_so(tmp_path):
    (tmp_path / "in" / "p").mkdir(parents=True)
    (tmp_path / "in" / "p" / "image").write_bytes(b"\x08\x00" + b"\xff" * 300)
    assert names(tmp_path / "in") == ["p"]


def test_a_file_that_only_begins_like_dicom_hides_nothing_below_it(tmp_path):
    for number in "123":
        write_series(tmp_path / "in" / number, study=f"1.{number}", series=f"1.{number}.1")
    (tmp_path / "in" / "index.bin").write_bytes(b"\x08\x00any binary file")
    assert names(tmp_path / "in") == ["1", "2", "3"]


@pytest.mark.parametrize("place", ["", "site1"])
@pytest.mark.parametrize("patients", [["", "", ""], ["P1", "P2", "P3"], ["P1", "P1", "P1"]])
def test_an_image_above_studies_of_several_patients_is_refused(patients, place, tmp_path):
    root = tmp_path / "in" / place
    for number, patient in enumerate(patients):
        write_series(root / str(number), study=f"1.{number}", series=f"1.{number}.1", patient=patient)
    sorted((root / "0").iterdir())[0].rename(root / "stray")
    if patients == ["P1"] * 3:  # with one patient's earlier studies below
        assert names(tmp_path / "in") == [place or "in"]
        return
    with pytest.raises(ValueError, match="/stray lies above folders of 2 other studies: move it into one of its own"):
        names(tmp_path / "in")


def test_what_lies_below_dicom_images_belongs_to_them(tmp_path):
    write_series(tmp_path / "in" / "p")
    write_series(tmp_path / "in" / "p" / "more", series="1.2.4")
    write_series(tmp_path / "in" / "q", study="1.3", series="1.3.1")
    assert names(tmp_path / "in") == ["p", "q"]


def test_hidden_folders_are_left_out_and_dead_links_are_cases_that_fail(tmp_path):
    touch(tmp_path / "in", ".Trash/ct.nii", "a/.writing-x/ct.nii", "a/ct.nii")
    os.symlink(tmp_path / "gone.nii.gz", tmp_path / "in" / "lost.nii.gz")
    assert names(tmp_path / "in") == ["a/ct", "lost"]


@needs_permissions
def test_a_folder_that_must_not_be_read_is_named(tmp_path):
    touch(tmp_path / "in", "a/ct.nii", "closed/ct.nii")
    (tmp_path / "in" / "closed").chmod(0)
    with pytest.raises(PermissionError, match="closed"):
        names(tmp_path / "in")


def test_dicom_files_are_written_for_dicom_only(tmp_path):
    write_series(tmp_path / "in" / "p")
    touch(tmp_path / "in", "ct.nii")
    assert {case.name: case.dicom for case in find_cohort(tmp_path / "in", tmp_path / "out", dicom=True)} == {
        "ct": False,
        "p": True,
    }


def test_results_of_an_earlier_run_in_the_tree_are_no_cases(tmp_path, tiny_model):
    from AttentionUNetSegmentationLib.command.cli import main

    (tmp_path / "in").mkdir()
    write_volume(phantom_files.scan(), tmp_path / "in" / "ct.nii.gz")
    arguments = ["--output-dir", str(tmp_path / "in" / "ct"), "--model", str(tiny_model), "--quiet"]
    assert main(["segment", str(tmp_path / "in" / "ct.nii.gz"), *arguments]) == 0
    assert names(tmp_path / "in") == ["ct"]


def test_dicom_results_of_an_earlier_run_beside_a_series_are_no_case(tmp_path):
    write_series(tmp_path / "in" / "p" / "s1")
    (result := tmp_path / "in" / "p" / "result").mkdir()
    (result / "segmentation.dcm").write_bytes(next((tmp_path / "in" / "p" / "s1").iterdir()).read_bytes())
    (result / "report.json").write_text('{"files": ["segmentation.dcm"], "run": {"input": "x"}}')
    assert names(tmp_path / "in") == ["p/s1"]


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["a/CT.nii", "a/ct.nrrd"], "would both be case a/ct"),
        (["notes.txt"], "holds no CT"),
    ],
)
def test_a_tree_that_is_no_cohort_is_refused(tmp_path, paths, sentence):
    touch(tmp_path / "in", *paths)
    with pytest.raises(ValueError, match=sentence):
        names(tmp_path / "in")


def test_output_within_the_input_is_refused(tmp_path):
    touch(tmp_path / "in", "ct.nii")
    with pytest.raises(ValueError, match="lies within"):
        names(tmp_path / "in", tmp_path / "in" / "out")


def test_a_folder_that_is_linked_to_counts_once(tmp_path):
    touch(tmp_path / "in", "a/ct.nii")
    os.symlink(tmp_path / "in" / "a", tmp_path / "in" / "b")
    assert names(tmp_path / "in") == ["a/ct"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_names_paths_and_perhaps_cases(tmp_path, ending):
    rows = [{"source": "x/ct.nii.gz", "case": ""}, {"source": str(tmp_path / "far.nrrd"), "case": "far away"}]
    table = tmp_path / f"cohort.{ending}"
    if ending == "csv":
        table.write_text("source,case\n" + "".join(f"{row['source']},{row['case']}\n" for row in rows), "utf-8-sig")
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    cases = find_cohort(table, tmp_path / "out")
    assert [(case.name, case.source) for case in cases] == [
        ("far away", tmp_path / "far.nrrd"),
        ("x/ct", tmp_path / "x" / "ct.nii.gz"),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path\nct.nii\n", r't.csv, row 1 has no "source": the table has "path"'),
        ("source;case\nct.nii;a\n", r'the table has "source;case"'),
        ("source\nct.nii\n../ct.nii\n", 'row 2: "../ct.nii" leads out of the table\'s folder'),
        ("source\n/data/ct.nii\n", "leads out of the table's folder"),
        ("source\na\\b.nii\n", "or holds a backslash"),
        (f"source\n{'n' * 300}.nii\n", "t.csv, row 1: File name too long: nnn"),
        ("source,case\nct.nii,../../home\n", "is no name for a case"),
        ("source,case\nct.nii,/home\n", "is no name for a case"),
        ("source,case\na.nii,x\nb.nii,./x\n", "would both be case x"),
        ('source\n"a.nii\n', "t.csv cannot be read as CSV in UTF-8"),
        ("source\nm\udcfcller.nii\n", "t.csv cannot be read as CSV in UTF-8"),
        ("source\n", "holds no CT"),
    ],
)
def test_a_table_that_is_no_cohort_is_refused(tmp_path, text, sentence):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=sentence):
        find_cohort(tmp_path / "t.csv", tmp_path / "out")


def test_a_parquet_table_with_numbers_for_names_is_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"source": ["a.nii"], "case": [0]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"row 1, column case must be text, got 0"):
        find_cohort(tmp_path / "t.parquet", tmp_path / "out")
    whole = (tmp_path / "t.parquet").read_bytes()
    for damaged in (b"hello", whole[:200] + whole[300:]):
        (tmp_path / "t.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"t.parquet cannot be read as Parquet"):
            find_cohort(tmp_path / "t.parquet", tmp_path / "out")


def test_what_is_neither_folder_nor_table_is_refused(tmp_path):
    touch(tmp_path, "ct.nii.gz")
    for name, sentence in (("ct.nii.gz", "neither a folder nor a table"), ("missing", "does not exist")):
        with pytest.raises(ValueError, match=sentence):
            find_cohort(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("column", ["Case", " case"])
def test_a_column_that_is_nearly_called_right_is_refused(column, tmp_path):
    (tmp_path / "cases.csv").write_text(f"source,{column}\na.nii.gz,A\n")
    with pytest.raises(ValueError, match=f'cases.csv has a column "{column}": call it "case"'):
        names(tmp_path / "cases.csv")


def test_other_columns_may_be_called_nearly_like_one_that_is_there(tmp_path):
    (tmp_path / "cases.csv").write_text("source,case,Case\na.nii.gz,A,control\n")
    assert names(tmp_path / "cases.csv") == ["A"]
