"""The bundled model on the sample CT that comes with the project, and on real CTs where they are at hand."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from AttentionUNetSegmentationLib.formats.files import read_volume, write_segmentation
from AttentionUNetSegmentationLib.imaging.measures import measure_attention
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.inference.prediction import TILE_EDGES
from AttentionUNetSegmentationLib.models.loading import Model, load_model
from AttentionUNetSegmentationLib.models.store import PACKAGED_MODELS
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.volume import Segmentation, Volume
from support import phantoms
from support.shared_data import DATA, reason

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "AttentionUNetSegmentation" / "Resources" / "SampleData"
needs_real_ct = pytest.mark.skipif(not DATA.is_dir(), reason=reason(DATA))


@cache
def bundled() -> Model:
    return load_model(PACKAGED_MODELS / "abdomen-ct")


def part_of(volume: Volume, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Volume:
    box = tuple(slice(first, first + size) for first, size in zip(start, shape, strict=True))
    return Volume(np.ascontiguousarray(volume.voxels[box]), volume.grid.crop(start, shape).ijk_to_ras, name="part")


def sample_part(name: str) -> Volume:
    """The part of the sample CT, or of its labels, that holds the organs, so that tests stay fast."""
    return part_of(read_volume(SAMPLE / name), (8, 45, 50), (54, 100, 146))


@cache
def sample_ct() -> Volume:
    return sample_part("SyntheticAbdomenCT.nrrd")


@cache
def sample_result() -> Segmentation:
    return segment(sample_ct(), bundled(), Options(device="cpu"))


def real_part() -> Volume:
    """The part of the real CT around the kidneys, so that tests stay fast."""
    return part_of(read_volume(DATA / "ct_abdomen_3mm" / "ct.nii.gz"), (66, 18, 6), (46, 62, 98))


def test_the_bundled_model_is_small_and_says_what_it_is():
    files = list((PACKAGED_MODELS / "abdomen-ct").iterdir())
    assert sum(path.stat().st_size for path in files) < 15e6
    spec = bundled().spec
    assert [label.name for label in spec.labels] == ["pancreas", "spleen", "kidney"]
    assert spec.spacing_mm == (2.0, 2.0, 2.0)
    assert spec.measured
    assert "synthetic" in spec.training_data
    assert sum(p.numel() for p in bundled().network.parameters()) == 6_407_018


def test_the_sample_ct_is_segmented():
    truth = sample_part("SyntheticAbdomenCT.labels.nrrd").voxels
    labels = sample_result().labels
    assert phantoms.dice(labels == 1, truth == 1) > 0.77  # found: 0.82
    assert phantoms.dice(labels == 2, truth == 2) > 0.92
    assert phantoms.dice(np.isin(labels, (3, 4)), truth == 3) > 0.90
    names = [organ.name for organ in sample_result().organs]
    assert names == ["pancreas", "spleen", "right kidney", "left kidney"]
    grid = sample_result().grid
    assert phantoms.centroid_ras_mm(labels == 3, grid)[0] > phantoms.centroid_ras_mm(labels == 4, grid)[0]


def test_attention_of_the_sample_ct_is_not_flat():
    measures = measure_attention(sample_result())
    assert list(measures) == ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]
    for scale in ("s2", "s3", "s4"):
        assert max(gate.std for name, gate in measures.items() if name.startswith(scale)) > 0.05, scale


def test_one_pass_and_tiles_agree_on_the_sample_ct():
    """With the smallest tiles that are ever taken without being asked for."""
    tiled = segment(sample_ct(), bundled(), Options(device="cpu", tile=min(TILE_EDGES)))
    assert tiled.provenance["passes"] == f"tiles of {min(TILE_EDGES)} voxels in slabs"
    assert phantoms.dice(tiled.labels > 0, sample_result().labels > 0) > 0.99


@needs_real_ct
def test_a_flipped_and_permuted_copy_of_a_real_ct_gives_the_same_segmentation():
    part = real_part()
    expected = Volume(segment(part, bundled(), Options(device="cpu", attention=False)).labels, part.ijk_to_ras)
    assert np.count_nonzero(expected.voxels) > 1000
    copy, wanted = (list(phantoms.flipped_and_permuted(volume))[3] for volume in (part, expected))
    assert copy.name == "(1, 2, 0) (False, True, False)"  # no axis stays, and left is right
    result = segment(copy, bundled(), Options(device="cpu", attention=False))
    assert phantoms.dice(result.labels > 0, wanted.voxels > 0) > 0.99
    assert phantoms.dice(np.isin(result.labels, (3, 4)), np.isin(wanted.voxels, (3, 4))) > 0.99


@needs_real_ct
def test_real_labels_survive_resampling_and_writing(tmp_path):
    """Reference labels of a real CT, through an oblique 2 mm grid and back, as a file on the DICOM's grid."""
    ct = read_volume(DATA / "ct_dicom_slab" / "dicom")
    reference = read_volume(DATA / "ct_dicom_slab" / "labels.nii.gz")
    assert ct.voxels.shape == (20, 512, 512)
    assert ct.modality == "CT"
    assert ct.voxels.min() == -1024
    spleen = resample(reference.voxels == 2, reference.grid, ct.grid, antialias=False) > 0.5
    np.testing.assert_allclose(
        phantoms.centroid_ras_mm(spleen, ct.grid),
        phantoms.centroid_ras_mm(reference.voxels == 2, reference.grid),
        atol=0.5,
    )
    assert 60 < ct.voxels[spleen].mean() < 200  # the labels lie on enhanced spleen, not on their mirror image
    middle = ct.grid.corners_ras_mm().mean(axis=0)
    oblique = phantoms.grid((60, 300, 300), (1.5, 1.5, 1.5), phantoms.rotation(8, -5, 20), middle)
    there = resample(spleen, ct.grid, oblique)
    back = resample(there, oblique, ct.grid) > 0.5
    assert phantoms.dice(back, spleen) > 0.97
    organs = [organ for label in phantoms.LABELS for organ in label.organs(split=True)]
    labels = np.where(back, 2, 0).astype(np.uint8)
    write_segmentation(Segmentation(labels, ct.ijk_to_ras, organs), tmp_path / "spleen.seg.nrrd")
    written = read_volume(tmp_path / "spleen.seg.nrrd")
    assert written.grid.same_as(ct.grid)
    np.testing.assert_array_equal(written.voxels, labels)


@needs_real_ct
def test_a_real_dicom_slab_is_segmented_with_honest_warnings():
    ct = read_volume(DATA / "ct_dicom_slab" / "dicom")
    result = segment(ct, bundled(), Options(device="cpu"))
    assert result.labels.shape == (20, 512, 512)
    assert any("only 40 mm from top to bottom" in warning for warning in result.warnings)
    assert any("reaches the edge" in warning or "not found" in warning for warning in result.warnings)
