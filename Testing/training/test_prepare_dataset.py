"""The prepared dataset as training and evaluation read it: typed, damage told, thousands of cases at once."""

import json
import time

import numpy as np
import pytest

from attention_unet_training.commands.prepare import main
from attention_unet_training.preparation.prepared import PreparedDataset
from AttentionUNetSegmentationLib.models.description import IntensitySpec
from support import prepare_phantoms as made

pytestmark = pytest.mark.slow

IDENTITY = [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]


def write_dataset(folder, count=1, **changes):
    """A dataset whose voxel files are empty but for the first case's."""
    cases = []
    for n in range(count):
        name = f"case{n:04}"
        case = folder / "cases" / name
        case.mkdir(parents=True)
        for file in ("image.npy", "labels.npy", "reference.nii.gz"):
            (case / file).touch()
        cases.append(
            {
                "id": name,
                "patient": name,
                "folder": f"cases/{name}",
                "shape_kji": [3, 4, 5],
                "ijk_to_ras": IDENTITY,
                "image_source": "/data/ct.nii.gz",
                "labels_source": "/data/labels.nii.gz",
                "voxels": {"spleen": 7},
                "labelled": ["spleen"],
                "notes": [],
            }
        )
    np.save(folder / "cases" / "case0000" / "image.npy", np.full((3, 4, 5), 0.5, np.float16))
    np.save(folder / "cases" / "case0000" / "labels.npy", np.ones((3, 4, 5), np.uint8))
    content = {
        "format": 1,
        "name": "tiny",
        "organs": ["spleen"],
        "spacing_mm": [2, 2, 2],
        "intensity": {"clip_hu": [-200, 300], "mean_hu": -25, "std_hu": 130},
        "cases": cases,
        "left_out": [{"id": "x", "reason": "why"}],
    }
    (folder / "dataset.json").write_text(json.dumps(content | changes))
    return folder


def test_a_dataset_by_hand(tmp_path):
    dataset = PreparedDataset.open(write_dataset(tmp_path))
    assert (dataset.name, dataset.organs, dataset.spacing_mm) == ("tiny", ("spleen",), (2.0, 2.0, 2.0))
    assert dataset.intensity == IntensitySpec((-200, 300), -25, 130)
    assert [(entry.id, entry.reason) for entry in dataset.left_out] == [("x", "why")]
    case = dataset.case("case0000")
    assert (case.id, case.patient, case.labelled, case.voxels) == ("case0000", "case0000", ("spleen",), {"spleen": 7})
    assert (case.grid.shape_kji, case.grid.spacing_mm) == ((3, 4, 5), (2, 2, 2))
    assert float(case.image().max()) == 0.5
    assert int(case.labels().sum()) == 60
    with pytest.raises(ValueError, match="no case 'other'"):
        dataset.case("other")
    with pytest.raises(ValueError, match=r"ct.nii.gz does not exist"):
        case.ct()


def test_a_thousand_cases_open_at_once(tmp_path):
    write_dataset(tmp_path, 1000)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        dataset = PreparedDataset.open(tmp_path)
        seconds.append(time.perf_counter() - began)
    assert len(dataset.cases) == 1000
    assert min(seconds) < 1.0  # 0.28 s on a busy machine


def test_a_real_one_reads_ct_and_reference_on_one_grid(tmp_path):
    made.write_csv(tmp_path, 1)
    assert main([str(tmp_path / "cases.csv"), "--output", str(tmp_path / "out"), *made.LABEL_OPTIONS, "--quiet"]) == 0
    (case,) = PreparedDataset.open(tmp_path / "out").cases
    ct, labels = made.abdomen(0)
    np.testing.assert_array_equal(case.ct().voxels, ct.voxels)
    assert case.reference().grid.same_as(case.ct().grid)
    assert case.reference().voxels.dtype == np.uint8
    np.testing.assert_array_equal(case.reference().voxels, made.only(labels, {1: 1, 2: 2, 3: 3, 4: 3}).voxels)
    middle = case.grid.corners_ras_mm().mean(axis=0)
    np.testing.assert_allclose(middle, ct.grid.corners_ras_mm().mean(axis=0), atol=6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format must be 1, got 2"),
        ({"extra": 1}, "dataset has unknown keys: extra"),
        ({"organs": ["spleen", "spleen"]}, "organs must be distinct"),
        ({"organs": ["liver"]}, "labelled for organs that are not listed: spleen"),
        ({"spacing_mm": [2, 2]}, r"dataset.spacing_mm needs 3 entries"),
        ({"spacing_mm": "2"}, r"dataset.spacing_mm must be a list"),
        ({"intensity": {"clip_hu": [3, 1], "mean_hu": 0, "std_hu": 1}}, "clip_hu must rise"),
        ({"cases": [{"id": "a"}]}, r"dataset.cases\[0\] lacks keys"),
    ],
)
def test_damaged_descriptions_are_told(tmp_path, changes, message):
    write_dataset(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        PreparedDataset.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "../x", "folder": "cases/../x"}, "id must consist of letters"),
        ({"folder": "elsewhere/case0000"}, "folder must be cases/case0000"),
        ({"id": "case0001", "folder": "cases/case0001"}, "image.npy is missing"),
        ({"patient": 7}, "patient must be of type str, got 7"),
    ],
)
def test_damaged_cases_are_told(tmp_path, change, message):
    write_dataset(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    content["cases"][0] |= change
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        PreparedDataset.open(tmp_path)


def test_a_case_that_is_listed_twice_is_told(tmp_path):
    write_dataset(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    content["cases"] *= 2
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="listed twice"):
        PreparedDataset.open(tmp_path)


def test_no_dataset_and_broken_json(tmp_path):
    with pytest.raises(ValueError, match="is not a prepared dataset"):
        PreparedDataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        PreparedDataset.open(tmp_path)


def test_damaged_voxel_files_are_told_when_they_are_read(tmp_path):
    (case,) = PreparedDataset.open(write_dataset(tmp_path)).cases
    np.save(case.folder / "image.npy", np.zeros((3, 4, 6), np.float16))
    with pytest.raises(ValueError, match=r"must hold float16 of shape \(3, 4, 5\), got float16 of shape \(3, 4, 6\)"):
        case.image()
    np.save(case.folder / "labels.npy", np.zeros((3, 4, 5), np.int64))
    with pytest.raises(ValueError, match="must hold uint8"):
        case.labels()
    for content in (b"", (case.folder / "image.npy").read_bytes()[:-20], b"hello"):
        (case.folder / "image.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"image.npy is missing or damaged"):
            case.image()


def test_splits_that_do_not_belong_are_refused(tmp_path):
    dataset = PreparedDataset.open(write_dataset(tmp_path, 2))
    with pytest.raises(ValueError, match="no split '120-30'; it has: none yet"):
        dataset.split("120-30")
    (tmp_path / "splits").mkdir()
    fold = {"train": ["case0000"], "test": ["case0009"]}
    (tmp_path / "splits" / "x.json").write_text(json.dumps({"kind": "holdout", "seed": 0, "folds": [fold]}))
    with pytest.raises(ValueError, match=r"does not have \(case0009 ...\); draw it again"):
        dataset.split("x")
    with pytest.raises(ValueError, match="it has: x"):
        dataset.split("../x")
