"""Broken cases: each is left out with its reason, and the others are prepared."""

import gzip

import nibabel
import numpy as np
import pytest

from attention_unet_training.commands.prepare import main
from attention_unet_training.preparation.prepared import PreparedDataset
from AttentionUNetSegmentationLib.volume import Volume
from support import prepare_phantoms as made

pytestmark = pytest.mark.slow

BROKEN = 1  # the case that the tests break, of 0, 1, 2


@pytest.fixture
def source(tmp_path):
    return made.write_csv(tmp_path, 3)


def change_ct(folder, change):
    ct, _ = made.abdomen(BROKEN)
    made.save(Volume(change(ct.voxels), ct.ijk_to_ras), folder / f"ct{BROKEN}.nii.gz")


def change_labels(folder, change):
    _, labels = made.abdomen(BROKEN)
    made.save(Volume(change(labels.voxels), labels.ijk_to_ras), folder / f"labels{BROKEN}.nii.gz")


def some_nan(voxels):
    voxels = voxels.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    return voxels


def without_spacing(path):
    """Set the header's voxel size and matrices to zero."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    header["pixdim"][1:4] = 0
    header["sform_code"] = header["qform_code"] = 0
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)))


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shifted(folder):
    _, labels = made.abdomen(BROKEN)
    made.save(Volume(labels.voxels[2:, :, 3:], labels.ijk_to_ras), folder / f"labels{BROKEN}.nii.gz")


def sheared(folder):
    path = folder / f"labels{BROKEN}.nii.gz"
    image = nibabel.load(path)
    matrix = image.affine.copy()
    matrix[1, 2] = 0.3
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), matrix), path)


FAILURES = {
    "geometry mismatch": (shifted, "geometry mismatch: the labels have 41 x 36 x 22 voxels"),
    "sheared labels": (sheared, "/labels1.nii.gz is sheared"),
    "missing organ": (lambda f: change_labels(f, lambda v: v * (v != 2)), "missing organ: spleen"),
    "empty labels": (lambda f: change_labels(f, np.zeros_like), "empty labels: no voxel is labelled"),
    "unknown values": (
        lambda f: change_labels(f, lambda v: v + 5 * (v == 2)),
        "/labels1.nii.gz: 7",
    ),
    "NaN in the CT": (lambda f: change_ct(f, some_nan), "/ct1.nii.gz: has voxels that are NaN or infinite"),
    "NaN in the labels": (lambda f: change_labels(f, some_nan), "has labels that are NaN"),
    "broken labels": (lambda f: change_labels(f, lambda v: v * np.float32(0.5)), "no whole numbers"),
    "empty CT": (lambda f: change_ct(f, np.zeros_like), "all voxels have the value 0"),
    "too few slices": (lambda f: change_ct(f, lambda v: v[:3]), "at least 4 voxels are needed"),
    "no spacing in the CT": (
        lambda f: without_spacing(f / "ct1.nii.gz"),
        "no voxel spacing: its header says 0 x 0 x 0",
    ),
    "no spacing in the labels": (lambda f: without_spacing(f / "labels1.nii.gz"), "no voxel spacing"),
    "truncated CT": (lambda f: truncated(f / "ct1.nii.gz"), "damaged or truncated"),
    "truncated labels": (lambda f: truncated(f / "labels1.nii.gz"), "damaged or truncated"),
    "no image": (lambda f: (f / "ct1.nii.gz").write_text("hello"), "not a readable NIfTI file"),
    "missing CT": (lambda f: (f / "ct1.nii.gz").unlink(), "does not exist"),
    "missing labels": (lambda f: (f / "labels1.nii.gz").unlink(), "does not exist"),
    "copy of another case": (
        lambda f: [
            (f / f"{kind}1.nii.gz").write_bytes((f / f"{kind}0.nii.gz").read_bytes()) for kind in ("ct", "labels")
        ],
        "the same voxels as case ct0",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_broken_case_is_left_out_with_its_reason(source, tmp_path, capsys, name):
    breaking, reason = FAILURES[name]
    breaking(tmp_path)
    assert main([str(source), "--output", str(tmp_path / "out"), "--workers", "0", *made.LABEL_OPTIONS]) == 0
    dataset = PreparedDataset.open(tmp_path / "out")
    assert [case.id for case in dataset.cases] == ["ct0", "ct2"]
    assert [entry.id for entry in dataset.left_out] == ["ct1"]
    assert reason in dataset.left_out[0].reason
    assert "left out: ct1: " in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out" / "cases").iterdir()) == ["ct0", "ct2"]


def test_without_any_usable_case_the_command_fails(tmp_path, capsys):
    source = made.write_csv(tmp_path, 1)
    truncated(tmp_path / "ct0.nii.gz")
    assert main([str(source), "--output", str(tmp_path / "out"), *made.LABEL_OPTIONS]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: none of the 1 cases can be used: ct0: ")
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_missing_organs_and_unknown_values_can_be_allowed(source, tmp_path):
    change_labels(tmp_path, lambda voxels: np.where(voxels == 2, 9, voxels))
    options = ["--workers", "0", "--allow-missing", "--ignore-unknown", *made.LABEL_OPTIONS]
    assert main([str(source), "--output", str(tmp_path / "out"), *options]) == 0
    dataset = PreparedDataset.open(tmp_path / "out")
    assert [case.id for case in dataset.cases] == ["ct0", "ct1", "ct2"]
    broken = dataset.cases[BROKEN]
    assert broken.voxels["spleen"] == 0
    assert broken.voxels["pancreas"] > 50
    assert broken.record.notes[-2:] == (
        "values without a name taken as background: 9",
        "spleen is not in this scan",
    )


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda hu: hu + 1024, "look like HU + 1024; subtract 1024"),
        (lambda hu: hu * 10, "look like HU x 10; divide them by 10"),
        (lambda hu: -hu, "look like inverted HU; change their sign"),
    ],
)
def test_a_ct_that_is_not_in_hu_behind_padding_is_noted(source, tmp_path, capsys, change, note):
    def padded(voxels):
        changed = change(voxels)
        changed[:, :3] = changed[:, -3:] = -2000
        return changed

    change_ct(tmp_path, padded)
    main([str(source), "--output", str(tmp_path / "out"), "--workers", "0", *made.LABEL_OPTIONS])
    records = {case.id: case.record for case in PreparedDataset.open(tmp_path / "out").cases}
    assert [any(note in told for told in record.notes) for record in records.values()] == [False, True, False]
    assert note in capsys.readouterr().out


def test_masks_on_different_grids_and_overlapping_ones(tmp_path):
    source = made.write_totalsegmentator(tmp_path / "ts", ["s1", "s2", "s3"], ())
    spleen = made.only(made.abdomen(1)[1], {2: 1})
    made.save(Volume(spleen.voxels[1:], spleen.ijk_to_ras), source / "s2" / "segmentations" / "spleen.nii.gz")
    both = made.only(made.abdomen(2)[1], {1: 1, 2: 1})
    made.save(both, source / "s3" / "segmentations" / "spleen.nii.gz")
    assert main([str(source), "--output", str(tmp_path / "out"), "--workers", "0"]) == 0
    dataset = PreparedDataset.open(tmp_path / "out")
    assert [entry.id for entry in dataset.left_out] == ["s2", "s3"]
    assert "spleen.nii.gz lies on another grid" in dataset.left_out[0].reason
    assert dataset.left_out[1].reason.startswith("missing organ: pancreas")  # the spleen's mask covers all of it
