"""Every layout of a public dataset: found, told from the others, and prepared with the right organs."""

import json
import math

import numpy as np
import pytest

from attention_unet_training.commands.prepare import main
from attention_unet_training.preparation.layouts import find_source
from attention_unet_training.preparation.layouts.csv_table import parse_values
from attention_unet_training.preparation.layouts.nnunet import label_table
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.preparation.records import IGNORED
from support import prepare_phantoms as made

VALUE_TO_NAME = {"0": "background", "1": "pancreas", "2": "spleen", "3": "right kidney", "4": "left kidney"}
MSD = {"modality": {"0": "CT"}, "labels": VALUE_TO_NAME, "numTraining": 2}
NNUNET = {
    "channel_names": {"0": "CT"},
    "labels": {name: int(value) for value, name in VALUE_TO_NAME.items()},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def prepare(source, output, *options) -> PreparedDataset:
    assert main([str(source), "--output", str(output), "--workers", "0", *options]) == 0
    return PreparedDataset.open(output)


def dice_with_truth(case, seed, organ_values) -> float:
    """Of a case's reference on the CT's grid against the phantom's labels, over all classes."""
    truth = np.zeros(made.GRID.shape_kji, dtype=np.uint8)
    for number, values in enumerate(organ_values, start=1):
        truth[np.isin(made.abdomen(seed)[1].voxels, values)] = number
    reference = case.reference()
    assert reference.grid.same_as(made.GRID)
    hits = np.count_nonzero((reference.voxels == truth) & (truth > 0))
    return 2 * hits / (np.count_nonzero(truth) + np.count_nonzero(reference.voxels))


ALL = [(1,), (2,), (3, 4)]


def test_msd(tmp_path, capsys):
    source = made.write_nnunet(tmp_path / "msd", ["pancreas_001", "pancreas_002"], MSD)
    (source / "imagesTr" / "._pancreas_001.nii.gz").write_text("macOS puts such files beside the real ones")
    (source / "imagesTr" / "pancreas_009.nii.gz").write_bytes((source / "imagesTr/pancreas_001.nii.gz").read_bytes())
    dataset = prepare(source, tmp_path / "out")
    assert [case.id for case in dataset.cases] == ["pancreas_001", "pancreas_002"]
    assert [(entry.id, entry.reason) for entry in dataset.left_out] == [
        ("pancreas_009", "there are no labels for this image")
    ]
    assert dataset.name == "msd"
    assert [dice_with_truth(case, n, ALL) for n, case in enumerate(dataset.cases)] == [1, 1]
    output = capsys.readouterr().out
    assert "nnU-Net or MSD, cases with CT and labels: 2" in output
    assert "right kidney -> kidney" in output


def test_nnunet_names_channels_and_labels_the_other_way_round(tmp_path):
    source = made.write_nnunet(tmp_path / "Dataset001", ["case_0001", "case_0002"], NNUNET, suffix="_0000")
    found = find_source(source)
    assert [case.id for case in found.cases] == ["case_0001", "case_0002"]
    assert found.remarks == ("2 training cases found, dataset.json announces 3",)
    assert found.cases[0].labels[0].names == {1: "pancreas", 2: "spleen", 3: "right kidney", 4: "left kidney"}


@pytest.mark.parametrize(
    ("labels", "table"),
    [
        ({"0": "background", "1": "pancreas", "2": "cancer"}, ({1: "pancreas", 2: "cancer"}, {})),
        ({"background": 0, "pancreas": 1, "cancer": 2}, ({1: "pancreas", 2: "cancer"}, {})),
        ({"background": 0, "pancreas": [1, 2], "tumour": 2}, ({2: "tumour"}, {"pancreas": (1, 2)})),
        ({"background": 0, "spleen": 1, "ignore": 2}, ({1: "spleen", 2: "ignore"}, {})),
    ],
)
def test_label_tables_run_either_way(tmp_path, labels, table):
    assert label_table(labels, tmp_path) == table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "has no labels"),
        ({"labels": {"pancreas": "one"}}, "must be name: value or value: name"),
        ({"labels": {"background": 0, "pancreas": 1, "spleen": 1}}, "the value 1 is both 'pancreas' and 'spleen'"),
        (
            {"labels": {"pancreas": [1, 2], "spleen": [2, 3]}},
            "a.nii.gz: the label value 2 belongs to pancreas and to spleen",
        ),
        ({"labels": {"pancreas": 1.7}}, "must be a whole number from 0 to 65535, got 1.7"),
        ({"labels": {"pancreas": math.inf}}, "must be a whole number from 0 to 65535, got inf"),
        ({"labels": {"pancreas": [math.nan]}}, "must be a whole number from 0 to 65535, got nan"),
        ({"labels": {"pancreas": True}}, "must be a whole number from 0 to 65535, got True"),
        ({"labels": {"pancreas": -1}}, "must be a whole number from 0 to 65535, got -1"),
        ({"labels": {"pancreas": 10**400}}, "must be a whole number from 0 to 65535, got 1000"),
        ({"labels": {"65536": "pancreas"}}, "must be a whole number from 0 to 65535, got 65536"),
        ({"labels": {"1": "pancreas", "01": "spleen"}}, "the value 1 is both 'pancreas' and 'spleen'"),
        ({"labels": {"pancreas": [1, 2], "ignore": 2}}, "ignore must be one value and in no region"),
        ({"labels": {"pancreas": 1, "ignore": [2, 3]}}, "ignore must be one value and in no region"),
        ({"modality": {"0": "MRI"}}, "the channels are MRI"),
        ({"modality": {"0": "CT", "1": "PET"}}, "the channels are CT, PET"),
    ],
)
def test_descriptions_that_cannot_be_used(tmp_path, capsys, change, message):
    source = made.write_nnunet(tmp_path / "msd", ["a"], MSD | change)
    assert main([str(source), "--output", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[" * 100_000, '{"labels": {"pancreas": 1' + "0" * 5000 + "}}", "{"])
def test_a_description_that_is_no_json_is_named(tmp_path, capsys, text):
    source = made.write_nnunet(tmp_path / "msd", ["a"], MSD)
    (source / "dataset.json").write_text(text)
    assert main([str(source), "--output", str(tmp_path / "out")]) == 1
    assert f"error: {source / 'dataset.json'} is not valid JSON" in capsys.readouterr().err


def test_amos_takes_training_and_validation_and_leaves_mr_out(tmp_path):
    description = {"labels": VALUE_TO_NAME, "modality": {"0": "CT"}}
    source = made.write_nnunet(tmp_path / "amos22", ["amos_0001", "amos_0507"], description)
    made.write_nnunet(source, ["amos_0500"], description, part="Va")
    found = find_source(source)
    assert found.layout == "AMOS"
    assert [case.id for case in found.cases] == ["amos_0001", "amos_0500"]
    assert [entry.id for entry in found.left_out] == ["amos_0507"]
    assert "MR" in found.left_out[0].reason


def test_totalsegmentator_merges_masks(tmp_path):
    source = made.write_totalsegmentator(tmp_path / "ts", ["s0000", "s0001"], ("liver", "kidney_cyst_left"))
    (source / "s0001" / "segmentations" / "kidney_left.nii.gz").unlink()
    (source / "s0002").mkdir()
    made.save(made.abdomen(5)[0], source / "s0003" / "ct.nii.gz")
    dataset = prepare(source, tmp_path / "out")
    assert [case.id for case in dataset.cases] == ["s0000"]
    assert dice_with_truth(dataset.cases[0], 0, ALL) == 1
    assert [(entry.id, entry.reason) for entry in dataset.left_out] == [
        ("s0003", "there are no labels for this image"),
        ("s0001", "missing organ: there is no mask of kidney_left"),
    ]


def test_subjects_of_totalsegmentator_that_are_one_case_are_refused_by_their_paths(tmp_path):
    source = made.write_totalsegmentator(tmp_path / "ts", ["s 1", "s_1"])
    with pytest.raises(ValueError, match=rf"{source}/s 1/ct.nii.gz and {source}/s_1/ct.nii.gz are two .* of one case"):
        find_source(source)


def test_btcv_uses_its_own_numbers(tmp_path):
    source = made.write_btcv(tmp_path / "RawData" / "Training")
    (source / "img" / "img0002.nii.gz").unlink()
    found = find_source(tmp_path)
    assert found.layout == "BTCV"
    assert [(entry.id, entry.reason) for entry in found.left_out] == [("btcv_0002", "the CT is not there")]
    assert found.remarks == ("1 cases found, 30 are expected: BTCV's training cases",)
    dataset = prepare(tmp_path, tmp_path / "out")
    assert dice_with_truth(dataset.cases[0], 1, ALL) == 1


def test_flare22_as_downloaded(tmp_path):
    source = made.write_flare(tmp_path / "FLARE22Train")
    (source / "labels" / "FLARE22_Tr_0002.nii.gz").unlink()
    found = find_source(source)
    assert found.layout == "FLARE22"
    assert [(case.id, case.patient) for case in found.cases] == [("FLARE22_Tr_0001",) * 2]
    assert [entry.id for entry in found.left_out] == ["FLARE22_Tr_0002"]
    assert "1 cases found, 50 are expected" in found.remarks[0]
    assert found.remarks[1].startswith("1 CTs without labels are left aside")
    dataset = prepare(source, tmp_path / "out")
    assert dice_with_truth(dataset.cases[0], 1, ALL) == 1


def test_flare22_without_labels_is_told_as_such(tmp_path):
    source = made.write_flare(tmp_path / "x", numbers=(), unlabelled=(1, 2))
    with pytest.raises(ValueError, match="holds 2 CTs of FLARE22, and labels of none of them"):
        find_source(source)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("flare/labels/FLARE22_Tr_0001.nii.gz", "flare/predictions/FLARE22_Tr_0001.nii.gz"),
        ("flare/images/FLARE22_Tr_0001_0000.nii.gz", "flare/copy/FLARE22_Tr_0001_0000.nii.gz"),
        ("tcia/labels/label0001.nii.gz", "tcia/predictions/label0001.nii.gz"),
        ("tcia/labels/label0001.nii.gz", "tcia/labels/label0001.nii"),
        ("tcia/Pancreas-CT/PANCREAS_0001/1.dcm", "tcia/old/PANCREAS_0001/1.dcm"),
        ("nnunet/labelsTr/a.nii", "nnunet/labelsTr/a.nii.gz"),
        ("nnunet/imagesTr/b_0000.nii.gz", "nnunet/imagesTr/b_0001.nii.gz"),
    ],
)
def test_two_files_of_one_case_are_refused_by_their_paths(tmp_path, first, second):
    for path in (first, second, "nnunet/labelsTr/b.nii.gz"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for folder in ("nnunet/imagesTr", "tcia/PANCREAS_0002"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "flare" / "FLARETs_0001_0000.nii.gz").parent.mkdir(exist_ok=True)
    (tmp_path / "flare" / "FLARETs_0001_0000.nii.gz").touch()
    (tmp_path / "nnunet" / "dataset.json").write_text(json.dumps(MSD))
    with pytest.raises(ValueError, match="are two files of one case") as refusal:
        find_source(tmp_path / first.split("/")[0])
    assert all(str(tmp_path / path.removesuffix("/1.dcm")) in str(refusal.value) for path in (first, second))


def test_files_of_the_same_name_in_a_folder_of_another_layout_do_not_matter(tmp_path):
    source = made.write_btcv(tmp_path / "RawData" / "Training", numbers=(1,))
    for place in ("a", "b"):
        made.save(made.abdomen()[1], source / place / "label0001.nii.gz")
    assert find_source(tmp_path).layout == "BTCV"


@pytest.mark.parametrize("below", ["", "dataset"])
def test_kits23_as_downloaded(tmp_path, below):
    source = made.write_kits(tmp_path / "kits23", numbers=(0, 1, 7))
    (source / "dataset" / "case_00001" / "imaging.nii.gz").unlink()
    (source / "dataset" / "case_00007" / "segmentation.nii.gz").unlink()
    (source / "dataset" / "kits23.json").write_text("[]")
    dataset = prepare(source / below, tmp_path / "out")
    assert [case.id for case in dataset.cases] == ["case_00000"]
    assert [entry.reason for entry in dataset.left_out] == [
        "the CT is not there",
        "there are no labels for this image",
    ]
    case = dataset.cases[0]
    assert case.labelled == ("kidney",)
    upright = made.as_kits(case.reference())  # the order of axes is its own inverse
    kidneys = np.isin(made.abdomen(0)[1].voxels, (3, 4))
    np.testing.assert_array_equal(upright.voxels == dataset.organs.index("kidney") + 1, kidneys)
    assert upright.grid.same_as(made.GRID)


def test_kits_tumours_can_be_background(tmp_path):
    dataset = prepare(made.write_kits(tmp_path / "kits", (0,)), tmp_path / "out", "--tumour", "background")
    kidneys = np.count_nonzero(np.isin(made.abdomen(0)[1].voxels, (3, 4)))
    assert np.count_nonzero(dataset.cases[0].reference().voxels) == kidneys - 8


def nnunet_with(tmp_path, labels, change):
    """An nnU-Net folder of one case; ``change`` gets its label array."""
    source = made.write_nnunet(
        tmp_path / "Dataset002", ["case"], {"channel_names": {"0": "CT"}, "labels": labels}, "_0000"
    )
    voxels = made.abdomen(0)[1]
    change(voxels.voxels)
    made.save(voxels, source / "labelsTr" / "case.nii.gz")
    return source, voxels.voxels


def test_nnunets_ignore_label_is_carried(tmp_path, capsys):
    def ignore_the_lowest(voxels):
        voxels[:8] = 5

    names = {"background": 0, "pancreas": 1, "spleen": 2, "right kidney": 3, "left kidney": 4, "ignore": 5}
    source, voxels = nnunet_with(tmp_path, names, ignore_the_lowest)
    (case,) = prepare(source, tmp_path / "out").cases
    reference = case.reference().voxels
    np.testing.assert_array_equal(reference == IGNORED, voxels == 5)
    np.testing.assert_array_equal(reference == 3, np.isin(voxels, (3, 4)))
    share = np.mean(case.labels() == IGNORED)
    assert share == pytest.approx(8 / 24, abs=0.07)  # at 2 mm, in the body's box
    assert set(np.unique(case.labels())) == {0, 1, 2, 3, IGNORED}
    assert "33.3% of the voxels are labelled ignore" in capsys.readouterr().out


def test_a_case_of_ignored_voxels_alone_has_no_labels(tmp_path, capsys):
    names = {"background": 0, "pancreas": 1, "spleen": 2, "kidney": 3, "other": 4, "ignore": 5}
    source, _ = nnunet_with(tmp_path, names, lambda voxels: np.copyto(voxels, 5))
    assert main([str(source), "--output", str(tmp_path / "out"), "--workers", "0", "--allow-missing"]) == 1
    assert "empty labels: no voxel is labelled" in capsys.readouterr().err


@pytest.mark.parametrize(("tumour", "expected"), [("organ", (3, 4, 5)), ("background", (3, 4))])
def test_nnunets_regions_are_followed(tmp_path, tumour, expected):
    def tumour_in_a_kidney(voxels):
        voxels[tuple(np.argwhere(voxels == 3)[::2].T)] = 5

    names = {"background": 0, "pancreas": 1, "spleen": 2, "kidney": [3, 4, 5], "masses": [5], "tumour": 5}
    source, voxels = nnunet_with(tmp_path, names, tumour_in_a_kidney)
    (case,) = prepare(source, tmp_path / "out", "--tumour", tumour).cases
    np.testing.assert_array_equal(case.reference().voxels == 3, np.isin(voxels, expected))


def test_a_tables_values_can_be_ignored(tmp_path):
    ct, labels = made.abdomen()
    labels.voxels[:8] = 255
    made.save(ct, tmp_path / "ct.nii.gz")
    made.save(labels, tmp_path / "labels.nii.gz")
    (tmp_path / "t.csv").write_text("image,label\nct.nii.gz,labels.nii.gz\n")
    (case,) = prepare(tmp_path / "t.csv", tmp_path / "out", *made.LABEL_OPTIONS, "--label", "ignore=255").cases
    np.testing.assert_array_equal(case.reference().voxels == IGNORED, labels.voxels == 255)


def test_tcia_reads_dicom_unflips_labels_and_counts(tmp_path, capsys):
    source = made.write_tcia(tmp_path / "ct82", numbers=(1, 2, 25, 4), labelled=(1, 2, 25, 70, 3), flip=(1,))
    dataset = prepare(source, tmp_path / "out")
    assert [(case.id, case.patient) for case in dataset.cases] == [("PANCREAS_0001",) * 2, ("PANCREAS_0002",) * 2]
    assert [dice_with_truth(case, n, [(1,)]) for n, case in enumerate(dataset.cases, start=1)] == [1, 1]
    assert all(case.labelled == ("pancreas",) for case in dataset.cases)
    assert "flipped front-back" in dataset.cases[0].record.notes[-1]
    reasons = {entry.id: entry.reason for entry in dataset.left_out}
    assert reasons["PANCREAS_0003"] == "the CT is not there"
    assert reasons["PANCREAS_0004"] == "there are no labels for this image"
    assert "withdrawn by TCIA" in reasons["PANCREAS_0025"]
    assert "withdrawn by TCIA" in reasons["PANCREAS_0070"]
    output = capsys.readouterr().out
    assert "2 cases found, 80 are expected" in output
    assert "the source does not label spleen, kidney" in output


def test_tcia_without_a_pair_is_refused(tmp_path):
    made.write_tcia(tmp_path, numbers=(1,), labelled=(2,))
    with pytest.raises(ValueError, match=r"1 PANCREAS_\* folders and 1 label\*.nii.gz files, but no pair"):
        find_source(tmp_path)


def test_csv_takes_dicom_folders_ids_and_patients(tmp_path):
    ct, labels = made.abdomen()
    made.write_slices(tmp_path / "dicom", ct)
    made.save(labels, tmp_path / "labels.nrrd")
    table = tmp_path / "my cases.csv"
    table.write_text("id, image, label, patient\nfirst scan, dicom, labels.nrrd, Ann\n")
    dataset = prepare(table, tmp_path / "out", *made.LABEL_OPTIONS)
    assert dataset.name == "my cases"
    assert [(case.id, case.patient) for case in dataset.cases] == [("first_scan", "Ann")]
    assert dice_with_truth(dataset.cases[0], 0, ALL) == 1


def test_csv_names_cases_by_their_folders_where_files_are_called_alike(tmp_path):
    (tmp_path / "t.csv").write_text("image,label\na/ct.nii.gz,a/l.nii.gz\nb/ct.nii.gz,b/l.nii.gz\nc.nii.gz,l.nii.gz\n")
    found = find_source(tmp_path / "t.csv", values={1: "pancreas"})
    assert [case.id for case in found.cases] == ["a_ct", "b_ct", "c"]
    assert found.cases[0].image == tmp_path / "a" / "ct.nii.gz"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mask\na,b\n", "columns must be image, label"),
        ("image,label,age\na,b,c\n", "got image, label, age"),
        ("image,label,split\na,b,train\nc,d,dev\n", "line 3: split must be train, validation or test, got 'dev'"),
        ("image,label\na\n", "line 2 must have 2 entries"),
        ("image,label,patient\na,b,A\nc,d,\n", "t.csv: line 3 has no patient"),
        ("image,label\na,b,c\n", "line 2 must have 2 entries"),
        ("id,image,label\nx,a,b\nx,c,d\n", "x stands for two cases"),
        ("image,label\n", "holds no case"),
        ("", "columns must be"),
        ("image,label\na\0,b\n", "t.csv: line 2 has a null byte|t.csv is not a readable CSV table"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        find_source(tmp_path / "t.csv", values={1: "pancreas"})


def test_label_options():
    assert parse_values(["pancreas=1", "kidney=3,4"]) == {1: "pancreas", 3: "kidney", 4: "kidney"}
    for bad in (
        "pancreas",
        "pancreas=",
        "pancreas=0",
        "=1",
        "pancreas=one",
        "pancreas=²",
        "pancreas=70000",
        "pancreas=" + "9" * 5000,
    ):
        with pytest.raises(ValueError, match=r"must look like kidney=3,4"):
            parse_values([bad])
    with pytest.raises(ValueError, match="the value 1 to 'a' and to 'b'"):
        parse_values(["a=1", "b=1"])


def test_what_is_no_source(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        find_source(tmp_path / "nothing")
    with pytest.raises(ValueError, match="none of the known layouts"):
        find_source(tmp_path)
    with pytest.raises(ValueError, match="does not look like btcv"):
        find_source(tmp_path, "btcv")
    with pytest.raises(ValueError, match="must be one of auto"):
        find_source(tmp_path, "dicom")
    (tmp_path / "t.csv").write_text("image,label\na,b\n")
    with pytest.raises(ValueError, match="needs --label NAME=VALUE"):
        find_source(tmp_path / "t.csv")
    made.write_nnunet(tmp_path, ["a"], MSD)
    with pytest.raises(ValueError, match="--label names the values of a CSV table"):
        find_source(tmp_path, values={1: "pancreas"})
    (tmp_path / "dataset.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="must hold an object"):
        find_source(tmp_path)
