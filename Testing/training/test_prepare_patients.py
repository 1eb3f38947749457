"""Whose image a case is, and that no patient is on both sides of any split."""

import numpy as np
import pydicom
import pytest

from attention_unet_training.commands.prepare import main
from attention_unet_training.data.cases_data import CasesData
from attention_unet_training.preparation.layouts import find_source
from attention_unet_training.preparation.patients import subject_of
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.preparation.records import write_record
from attention_unet_training.preparation.splits import Fold, Split
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support import prepare_phantoms as made


def prepare(source, output, *options) -> PreparedDataset:
    labels = made.LABEL_OPTIONS if source.suffix == ".csv" else []
    assert main([str(source), "--output", str(output), "--workers", "0", *labels, *options]) == 0
    return PreparedDataset.open(output)


def patients(dataset) -> dict[str, str]:
    return {case.id: case.patient for case in dataset.cases}


def write_dicom_table(folder, ids: list[str], column: tuple[str, ...] = (), linked: bool = False):
    """One DICOM folder per PatientID given, perhaps with linked slices, and a table of them; ids may repeat."""
    lines = ["image,label,patient" if column else "image,label"]
    for n, patient in enumerate(ids):
        ct, labels = made.abdomen(n)
        made.write_slices(folder / ("real" if linked else "") / f"scan{n}", ct, series=f"1.2.{n + 1}", patient=patient)
        if linked:
            (folder / f"scan{n}").mkdir()
            (folder / f"scan{n}" / "slices").symlink_to(folder / "real" / f"scan{n}")
        made.save(labels, folder / f"labels{n}.nii.gz")
        lines.append(",".join([f"scan{n}", f"labels{n}.nii.gz", *column[n : n + 1]]))
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder / "cases.csv"


def test_scans_of_one_patient_id_stay_together(tmp_path, capsys):
    source = write_dicom_table(tmp_path, ["Ann", "Ben", " Ann ", "Cleo"])
    for seed in range(4):
        options = ("--split", "2/2", "--folds", "3", "--seed", str(seed))
        dataset = prepare(source, tmp_path / f"out{seed}", *options)
        assert patients(dataset) == {"scan0": "Ann", "scan1": "Ben", "scan2": "Ann", "scan3": "Cleo"}
        for name in dataset.split_names():
            for fold in dataset.split(name).folds:
                assert ("scan0" in fold.train) == ("scan2" in fold.train)
    expected = "the DICOM PatientID identifies the patients of 4 images"
    assert dataset.record.patients == expected
    assert expected in capsys.readouterr().out


def test_anonymous_scans_are_not_taken_for_one_patient_silently(tmp_path, capsys):
    source = write_dicom_table(tmp_path, ["ANON", "ANON"])
    assert (
        main([str(source), "--output", str(tmp_path / "out"), "--workers", "0", *made.LABEL_OPTIONS, "--split", "1/1"])
        == 1
    )
    assert (
        "at least 2 patients, got 1 (ANON); the column patient of a table tells patients apart"
        in capsys.readouterr().err
    )
    lines = source.read_text().splitlines()
    source.write_text("\n".join([f"{lines[0]},patient", f"{lines[1]},a", f"{lines[2]},b"]))
    dataset = prepare(source, tmp_path / "out", "--split", "1/1")
    assert patients(dataset) == {"scan0": "a", "scan1": "b"}
    assert dataset.record.patients.endswith("is the same in all images, and ignored as a placeholder")


def test_slices_in_linked_folders_tell_their_patient_and_are_noticed_when_they_change(tmp_path):
    source = write_dicom_table(tmp_path, ["Ann", "Ann", "Ben"], linked=True)
    assert patients(prepare(source, tmp_path / "out")) == {"scan0": "Ann", "scan1": "Ann", "scan2": "Ben"}
    for path in (tmp_path / "real" / "scan1").iterdir():
        path.unlink()
    made.write_slices(tmp_path / "real" / "scan1", made.abdomen(1)[0], series="1.2.2", patient="Ben")
    assert patients(prepare(source, tmp_path / "out"))["scan1"] == "Ben"


def test_patients_whom_the_column_or_the_headers_connect_are_one(tmp_path, capsys):
    source = write_dicom_table(tmp_path, ["Ann", "Ann", "Ben", "Cleo"], ("w", "x", "x", "z"))
    for _ in range(2):  # prepared, and there already
        dataset = prepare(source, tmp_path / "out")
        assert patients(dataset) == {"scan0": "w", "scan1": "w", "scan2": "w", "scan3": "z"}
        note = "scan2: patient x is taken as patient w: the DICOM headers or the source name one person"
        assert note in capsys.readouterr().out
    assert not [path for path in (tmp_path / "out").rglob("*.json") if "Ann" in path.read_text()]


def test_a_subject_in_names_connects_scans_of_different_patient_ids(tmp_path):
    source = write_dicom_table(tmp_path, ["Ann1", "Ann2", "Ben"])
    for n, name in enumerate(("sub-01_ses-1", "sub-01_ses-2", "sub-02")):
        (tmp_path / f"scan{n}").rename(tmp_path / name)
        source.write_text(source.read_text().replace(f"scan{n},", f"{name},"))
    assert list(patients(prepare(source, tmp_path / "out")).values()) == ["Ann1", "Ann1", "Ben"]


def test_without_patient_ids_name_and_birth_date_together_tell_who_it_is(tmp_path):
    source = write_dicom_table(tmp_path, [""] * 4)
    people = [("X^Ann", "19500101"), ("X^ANN^^", "19500101"), ("X^Ann", "19700101"), ("X^Ann", "")]
    for n, (name, birth) in enumerate(people):
        for path in (tmp_path / f"scan{n}").iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PatientName, dataset.PatientBirthDate = name, birth
            dataset.save_as(path)
    dataset = prepare(source, tmp_path / "out")
    assert patients(dataset) == {"scan0": "scan0", "scan1": "scan0", "scan2": "scan2", "scan3": "scan3"}
    assert dataset.record.patients == (
        "the DICOM patient's name and birth date identifies the patients of 3 images; "
        "each of 1 images is counted as a separate patient, because no patient column was given"
    )
    for path in (tmp_path / "out").rglob("*.json"):
        assert not [text for text in ("X^A", "1950") if text in path.read_text()]


def test_a_folder_of_two_patients_is_refused(tmp_path):
    source = write_dicom_table(tmp_path, ["Ann", "Ben"])
    made.write_slices(tmp_path / "scan0" / "more", made.abdomen(7)[0], series="1.2.99", patient="Cleo")
    (entry,) = prepare(source, tmp_path / "out").left_out
    assert f"{tmp_path / 'scan0'}: CTs of 2 patients" in entry.reason


def test_what_is_assumed_is_said(tmp_path, capsys):
    source = made.write_csv(tmp_path, 2)
    assumed = "each of 2 images is counted as a separate patient, because no patient column was given"
    assert prepare(source, tmp_path / "out").record.patients == assumed
    assert assumed in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("sub-01_ses-02_ct.nii.gz", "sub-01"),
        ("sub-01/ses-02/anat/ct.nii.gz", "sub-01"),
        ("sub-01.nii.gz", "sub-01"),
        ("s0001_1", "s0001"),
        ("s0001-2/ct.nii.gz", "s0001"),
        ("s0001", ""),
        ("case_0001", ""),
        ("subject-1.nii.gz", ""),
        ("a/b/c/d/e/ct.nii.gz", ""),
        ("sub-far/a/b/c/ct.nii.gz", ""),
        ("", ""),
    ],
)
def test_subjects_are_read_from_names(name, subject):
    assert subject_of(name) == subject


def test_subjects_of_names_stay_together(tmp_path):
    totalsegmentator = made.write_totalsegmentator(tmp_path / "ts", ["s0001_1", "s0001_2", "s0002"], ())
    assert [case.patient for case in find_source(totalsegmentator).cases] == ["s0001", "s0001", ""]
    labels = {"background": 0, "pancreas": 1, "spleen": 2, "right kidney": 3, "left kidney": 4}
    bids = made.write_nnunet(tmp_path / "nn", ["sub-01_ses-1", "sub-01_ses-2", "sub-02"], {"labels": labels}, "_0000")
    dataset = prepare(bids, tmp_path / "out", "--split", "2/1")
    assert patients(dataset) == {"sub-01_ses-1": "sub-01", "sub-01_ses-2": "sub-01", "sub-02": "sub-02"}
    assert dataset.record.patients == "the subject in the file's name identifies the patients of 3 images"
    assert dataset.split("2-1").folds[0] == Fold(("sub-01_ses-1", "sub-01_ses-2"), ("sub-02",))


def test_patients_who_share_an_image_are_one(tmp_path):
    source = made.write_csv(tmp_path, 4, patients={0: "Ann", 1: "Ben", 2: "Ben", 3: "Cleo"})
    ct = made.abdomen(0)[0]
    turned = list(phantoms.flipped_and_permuted(ct))[-1]
    assert turned.voxels.shape != ct.voxels.shape
    made.save(Volume(turned.voxels.astype(np.float64), turned.ijk_to_ras), tmp_path / "ct1.nii.gz")
    made.save(made.only(made.abdomen(0)[1], {n: n for n in made.NAMES}), tmp_path / "labels1.nii.gz")
    dataset = prepare(source, tmp_path / "out", "--split", "2/1")
    assert [(entry.id, entry.reason) for entry in dataset.left_out] == [("ct1", "the same voxels as case ct0")]
    assert patients(dataset) == {"ct0": "Ann", "ct2": "Ann", "ct3": "Cleo"}
    assert dataset.cases[1].record.notes[-1] == "patient Ben is taken as patient Ann: they share an image"
    assert dataset.split("2-1").folds[0] == Fold(("ct0", "ct2"), ("ct3",))


def test_the_same_voxels_with_another_spacing_are_a_copy(tmp_path):
    source = made.write_csv(tmp_path, 2)
    for kind, volume in zip(("ct", "labels"), made.abdomen(0), strict=True):
        wider = volume.ijk_to_ras.copy()
        wider[:3, :3] *= 1.1
        made.save(Volume(volume.voxels, wider), tmp_path / f"{kind}1.nii.gz")
    assert [entry.reason for entry in prepare(source, tmp_path / "out").left_out] == ["the same voxels as case ct0"]


def write_meta(folder, rows: dict[str, str]) -> None:
    lines = ["image_id;age;split", *(f"{name};50;{part}" for name, part in rows.items())]
    (folder / "meta.csv").write_text("\n".join(lines))


def test_totalsegmentators_split_is_honoured(tmp_path, capsys):
    names = [f"s000{n}" for n in range(6)]
    source = made.write_totalsegmentator(tmp_path / "ts", names, ())
    write_meta(source, dict(zip(names, ["train", "test", "val", "train", "train", "test"], strict=True)))
    dataset = prepare(source, tmp_path / "out", "--split", "2/1")
    official = dataset.split("official").folds[0]
    assert official == Fold(("s0000", "s0003", "s0004"), ("s0001", "s0005"), ("s0002",))
    assert "split official (the source's own): 3/2 training/test cases, 1 for validation" in capsys.readouterr().out
    (drawn,) = dataset.split("2-1").folds
    assert set(drawn.test) < {"s0001", "s0005"}
    assert not set(drawn.train) & {"s0001", "s0005"}
    data = CasesData(tmp_path / "out", split="official", validation_cases=1)
    data.setup("fit")
    assert data.hparams["training_ids"] == ["s0000", "s0003", "s0004"]
    assert data.hparams["validation_ids"] == ["s0002"]
    assert data.hparams["test_ids"] == ["s0001", "s0005"]
    with pytest.warns(UserWarning, match="trains on all cases of .*, test cases of its split 'official' included"):
        CasesData(tmp_path / "out", validation_cases=1).setup("fit")


@pytest.mark.parametrize("text", ["image_id,split\ns0000,train", "image_id;split\ns0000;dev", "image_id;split\ns0000"])
def test_a_meta_file_that_cannot_be_used_is_refused(tmp_path, text):
    source = made.write_totalsegmentator(tmp_path, ["s0000"], ())
    (source / "meta.csv").write_text(text)
    with pytest.raises(ValueError, match=r"meta.csv must have the columns image_id and split \(train, val or test\)"):
        find_source(source)


def test_amos_validation_is_the_test_part_and_its_test_cases_count_if_labelled(tmp_path):
    description = {"labels": {"0": "background", "1": "pancreas", "2": "spleen", "3": "kidney", "4": "left kidney"}}
    source = made.write_nnunet(tmp_path / "amos22", ["amos_0001", "amos_0002"], description)
    made.write_nnunet(source, ["amos_0500"], description, part="Va")
    made.save(made.abdomen(0)[0], source / "imagesTs" / "amos_0300.nii.gz")
    for path in (source / "imagesVa").iterdir():  # other voxels than the training cases have
        made.save(made.abdomen(9)[0], path)
        made.save(made.abdomen(9)[1], source / "labelsVa" / path.name)
    dataset = prepare(source, tmp_path / "out")
    assert dataset.split("official").folds == (Fold(("amos_0001", "amos_0002"), ("amos_0500",)),)
    assert dataset.left_out == ()


def test_a_tables_split_is_honoured_and_contradictions_are_told(tmp_path, capsys):
    source = made.write_csv(tmp_path, 4, patients={0: "Ann", 1: "Ann", 2: "Ben", 3: "Cleo"})
    rows = source.read_text().splitlines()
    parts = ("split", "training", "test", "Train", "test")
    source.write_text("\n".join(f"{row},{part}" for row, part in zip(rows, parts, strict=True)))
    dataset = prepare(source, tmp_path / "out")
    assert dataset.split("official").folds == (Fold(("ct2",), ("ct1", "ct3")),)
    assert "ct0 is left out of train, as its patient Ann is in test too" in capsys.readouterr().out


def test_a_copy_of_a_published_test_case_is_not_trained_on(tmp_path):
    source = made.write_csv(tmp_path, 3, patients={0: "Ann", 1: "Ben", 2: "Cleo"})
    for kind in ("ct", "labels"):
        (tmp_path / f"{kind}1.nii.gz").write_bytes((tmp_path / f"{kind}0.nii.gz").read_bytes())
    parts = ("split", "train", "test", "train")
    source.write_text("\n".join(f"{row},{part}" for row, part in zip(source.read_text().split(), parts, strict=True)))
    dataset = prepare(source, tmp_path / "out")
    assert [(entry.id, entry.reason) for entry in dataset.left_out] == [("ct0", "the same voxels as case ct1")]
    assert dataset.split("official").folds == (Fold(("ct2",), ("ct1",)),)


def test_test_cases_alone_are_prepared_but_not_split(tmp_path, capsys):
    source = made.write_csv(tmp_path, 2, patients={0: "Ann", 1: "Ben"})
    rows = source.read_text().splitlines()
    source.write_text("\n".join(f"{row},{part}" for row, part in zip(rows, ("split", "test", "test"), strict=True)))
    assert prepare(source, tmp_path / "out").split_names() == []
    assert main([str(tmp_path / "out"), "--split", "1/1"]) == 1
    assert "no training case beside its 2 test cases, so no split is drawn" in capsys.readouterr().err
    source.write_text(source.read_text().replace("Ann,test", "Ben,train"))
    assert main([str(source), "--output", str(tmp_path / "out"), "--workers", "0", *made.LABEL_OPTIONS]) == 1
    assert "(ct0 is left out of train, as its patient Ben is in test too)" in capsys.readouterr().err


def test_a_split_drawn_before_patients_were_known_is_refused(tmp_path):
    source = made.write_csv(tmp_path, 2)
    dataset = prepare(source, tmp_path / "out")
    write_record(Split("holdout", 0, (Fold(("ct0",), ("ct1",)),)), tmp_path / "out" / "splits" / "1-1.json")
    assert dataset.split("1-1").folds[0].test == ("ct1",)
    rows = source.read_text().splitlines()
    source.write_text("\n".join(f"{row},{who}" for row, who in zip(rows, ("patient", "Ann", "Ann"), strict=True)))
    with pytest.raises(
        ValueError, match=r"1-1\.json: ct0 and ct1 are of one patient, Ann, but in two parts; draw it again"
    ):
        prepare(source, tmp_path / "out").split("1-1")
