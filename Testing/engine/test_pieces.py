import dataclasses

import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging.pieces import drop_pieces, smallest_ml
from AttentionUNetSegmentationLib.monitor import Cancelled, Monitor
from AttentionUNetSegmentationLib.volume import Grid, Segmentation, Volume
from support import phantoms

GRID = phantoms.grid((40, 50, 60), (2, 2, 2), phantoms.rotation(5, 8, 15))  # 125 voxels are 1 ml
SPECS = [dataclasses.replace(label, plausible_ml=(20.0, 200.0)) for label in phantoms.LABELS]
ORGANS = [organ for label in phantoms.LABELS for organ in label.organs(split=True)]


def run(boxes, scanned=np.s_[:, :, :], **changes) -> tuple[np.ndarray, list[str]]:
    """What is left of boxes (value, (k, j, i), (depth, height, width)), and notes; padding where nothing is scanned."""
    labels = np.zeros(GRID.shape_kji, np.uint8)
    for value, start, size in boxes:
        labels[tuple(slice(first, first + length) for first, length in zip(start, size, strict=True))] = value
    voxels = np.full(GRID.shape_kji, -2000, np.int16)
    voxels[scanned] = np.indices(GRID.shape_kji).sum(axis=0)[scanned]
    volume = Volume(voxels, GRID.ijk_to_ras, **changes)
    result = Segmentation(labels, GRID.ijk_to_ras, ORGANS)
    return result.labels, list(drop_pieces(result, SPECS, volume, Monitor()).values())


@pytest.mark.parametrize("start", [(0, 20, 20), (36, 20, 20), (20, 0, 20), (20, 46, 20), (20, 20, 0), (20, 20, 56)])
def test_a_piece_of_an_organ_at_the_edge_of_the_field_is_said_not_shown(start):
    labels, notes = run([(1, start, (4, 4, 4))])
    assert not labels.any()
    assert notes == ["pancreas: 0.5 ml at the edge of the field are not shown, too little for an organ"]


def test_a_small_piece_at_the_edge_is_taken_from_an_organ_that_stays():
    labels, notes = run([(2, (10, 10, 10), (20, 20, 20)), (2, (0, 0, 0), (4, 5, 5)), (2, (0, 20, 50), (10, 10, 10))])
    assert np.count_nonzero(labels) == 8000 + 1000
    assert notes == ["spleen: 0.8 ml at the edge of the field are not shown, too little for an organ"]


def test_a_small_second_part_inside_the_field_stays():
    labels, notes = run([(1, (10, 10, 10), (20, 20, 20)), (1, (35, 5, 5), (4, 4, 4))])
    assert np.count_nonzero(labels) == 8064
    assert notes == []


@pytest.mark.parametrize(("width", "shown"), [(14, False), (16, True)])
def test_an_organ_of_less_than_3_ml_is_none(width, shown):
    labels, notes = run([(4, (20, 20, 20), (5, 5, width))])  # 2.8 and 3.2 ml
    assert labels.any() == shown
    assert notes == ([] if shown else ["left kidney: 2.8 ml are not shown, too little for an organ"])


def test_what_is_small_by_nature_is_not_lost():
    label = phantoms.LABELS[0]
    assert smallest_ml(label) == 0.0  # what is plausible is not known
    assert smallest_ml(dataclasses.replace(label, plausible_ml=(2.0, 9.0))) == pytest.approx(0.4)
    assert smallest_ml(dataclasses.replace(label, plausible_ml=(100.0, 900.0))) == 3.0


def test_crumbs_are_cleared_without_a_word():
    labels, notes = run([(1, (0, 0, 0), (1, 2, 2))])
    assert not labels.any()
    assert notes == []


def test_each_organ_is_judged_for_itself():
    labels, notes = run([(1, (0, 0, 0), (4, 4, 4)), (2, (0, 4, 0), (10, 20, 20)), (3, (39, 49, 59), (1, 1, 1))])
    assert set(np.unique(labels)) == {0, 2}
    assert len(notes) == 1


def test_the_edge_of_a_straightened_scan_is_an_edge():
    valid = Grid((40, 50, 40), GRID.crop((0, 0, 10), (40, 50, 40)).ijk_to_ras)
    boxes = [(2, (10, 20, 20), (20, 20, 20)), (2, (10, 10, 10), (4, 4, 4))]
    assert run(boxes)[1] == []
    labels, notes = run(boxes, valid_region=valid)
    assert np.count_nonzero(labels) == 8000
    assert notes == ["spleen: 0.5 ml at the edge of the field are not shown, too little for an organ"]


@pytest.mark.parametrize("scanned", [np.s_[10:], np.s_[:14], np.s_[:, 10:], np.s_[:, :14], np.s_[:, :, 10:14]])
def test_padding_begins_where_the_field_ends(scanned):
    piece = [(1, (10, 10, 10), (4, 4, 4))]
    assert run(piece)[1] == ["pancreas: 0.5 ml are not shown, too little for an organ"]
    (note,) = run(piece, scanned)[1]
    assert "0.5 ml at the edge of the field" in note


def test_flipped_and_permuted_labels_lose_the_same():
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[0:4, 20:24, 20:24] = labels[10:30, 10:30, 30:50] = 1
    for copy in phantoms.flipped_and_permuted(Volume(labels, GRID.ijk_to_ras)):
        result = Segmentation(copy.voxels, copy.ijk_to_ras, ORGANS)
        assert len(drop_pieces(result, SPECS, copy, Monitor())) == 1
        assert np.count_nonzero(result.labels) == 8000


def test_it_can_be_cancelled():
    result = Segmentation(np.zeros(GRID.shape_kji, np.uint8), GRID.ijk_to_ras, ORGANS)
    with pytest.raises(Cancelled):
        drop_pieces(result, SPECS, Volume(result.labels, GRID.ijk_to_ras), Monitor(cancel=lambda: True))
