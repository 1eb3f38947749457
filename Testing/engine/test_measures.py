import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging.measures import measure_attention, measure_organs
from AttentionUNetSegmentationLib.volume import OrganMask, Segmentation, Volume
from support import phantoms

ORGANS = [OrganMask(name, value, "", "", (1, 2, 3)) for value, name in enumerate(("a", "b", "none"), start=1)]
GRID = phantoms.grid((20, 22, 24), (1.0, 2.0, 2.5), phantoms.rotation(10, 0, 20), (5, 6, 7))


def two_boxes() -> Segmentation:
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[2:6, 4:8, 6:10] = 1  # 64 voxels of 5 mm3
    labels[10:12, 4:8, 6:8] = 2  # 16 voxels
    return Segmentation(labels, GRID.ijk_to_ras, ORGANS)


def test_volume_mean_and_centroid_by_hand():
    segmentation = two_boxes()
    voxels = np.where(segmentation.labels == 1, 40, -7).astype(np.int16)
    voxels[2, 4, 6] = 104
    a, b, none = measure_organs(segmentation, Volume(voxels, GRID.ijk_to_ras))
    assert (a.voxels, a.volume_ml) == (64, pytest.approx(0.32))
    assert a.mean_hu == pytest.approx(41.0)
    np.testing.assert_allclose(a.centroid_ras_mm, GRID.ras_of(np.array([7.5, 5.5, 3.5])))
    assert (b.voxels, b.mean_hu) == (16, pytest.approx(-7))
    assert (none.voxels, none.volume_ml, none.mean_hu, none.centroid_ras_mm) == (0, 0.0, None, None)


def attention_on(grid, voxels) -> dict[str, Volume]:
    return {"gate": Volume(voxels.astype(np.float32), grid.ijk_to_ras)}


def test_a_flat_map_has_the_organs_share_of_the_volume():
    segmentation = two_boxes()
    segmentation.attention = attention_on(GRID, np.full(GRID.shape_kji, 0.5))
    gate = measure_attention(segmentation)["gate"]
    size = np.prod(GRID.shape_kji)
    assert gate.share == {"a": pytest.approx(64 / size), "b": pytest.approx(16 / size), "none": 0.0}
    assert gate.volume_share == {"a": pytest.approx(64 / size), "b": pytest.approx(16 / size), "none": 0.0}
    assert (gate.mean, gate.std) == (pytest.approx(0.5), pytest.approx(0.0))


def test_attention_inside_one_organ_only():
    segmentation = two_boxes()
    segmentation.attention = attention_on(GRID, (segmentation.labels == 2) * 0.8)
    gate = measure_attention(segmentation)["gate"]
    assert gate.share == {"a": pytest.approx(0), "b": pytest.approx(1), "none": 0.0}


def test_a_coarse_map_shares_out_by_the_voxels_that_lie_in_it():
    """One coarse voxel holds organ a and nothing else; half of another is organ b."""
    grid = phantoms.grid((8, 8, 16), (1, 1, 1))
    labels = np.zeros(grid.shape_kji, np.uint8)
    labels[:, :, 0:8] = 1
    labels[:, :, 12:16] = 2
    segmentation = Segmentation(labels, grid.ijk_to_ras, ORGANS)
    segmentation.attention = attention_on(phantoms.grid((1, 1, 2), (8, 8, 8)), np.array([[[0.25, 0.75]]]))
    gate = measure_attention(segmentation)["gate"]
    assert gate.volume_share == {"a": pytest.approx(0.5), "b": pytest.approx(0.25), "none": 0.0}
    assert gate.share == {"a": pytest.approx(0.25), "b": pytest.approx(0.375), "none": 0.0}


def test_no_attention_mass_gives_zero_shares():
    segmentation = two_boxes()
    segmentation.attention = attention_on(GRID, np.zeros(GRID.shape_kji))
    assert measure_attention(segmentation)["gate"].share == {"a": 0.0, "b": 0.0, "none": 0.0}


def test_maps_that_cover_only_part_of_the_volume():
    segmentation = two_boxes()
    segmentation.attention = attention_on(GRID.crop((15, 15, 15), (4, 4, 4)), np.ones((4, 4, 4)))
    assert measure_attention(segmentation)["gate"].share == {"a": 0.0, "b": 0.0, "none": 0.0}
