import dataclasses
import re

import numpy as np
import pytest

from AttentionUNetSegmentationLib.command.information import describe, orientation
from AttentionUNetSegmentationLib.imaging.measures import measure_organs
from AttentionUNetSegmentationLib.imaging.plausibility import input_warnings, result_warnings
from AttentionUNetSegmentationLib.volume import Segmentation, Volume
from support import phantoms

GRID = phantoms.grid((60, 100, 130), (3, 3, 3), np.diag([-1.0, -1, 1]))


def abdomen(noise: float = 10.0, **changes) -> Volume:
    body = phantoms.ball(GRID, (0, 0, 0), 140)
    hu = phantoms.hu_from([(body, -90.0), (phantoms.ball(GRID, (0, 0, 0), 120), 50.0)], -1000.0)
    hu += np.random.default_rng(0).normal(0, noise, hu.shape)
    return dataclasses.replace(Volume(hu.astype(np.float32), GRID.ijk_to_ras), **changes)


def test_a_ct_of_the_abdomen_raises_no_warning():
    assert input_warnings(abdomen()) == []


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (lambda hu: hu + 1024, "look like HU \\+ 1024"),
        (lambda hu: np.clip(hu, 0, 255) / 255, "do not look like a CT in HU"),
        (lambda hu: np.abs(hu) * 40 + 3000, "do not look like a CT in HU"),
        (lambda hu: np.clip(hu, -150, None), "nothing but padding is darker than -149 HU"),
    ],
)
def test_wrong_intensities_are_noticed(voxels, message):
    volume = abdomen()
    (warning,) = input_warnings(dataclasses.replace(volume, voxels=voxels(volume.voxels)))
    assert re.search(message, warning)


def test_other_modalities_thick_slices_and_short_scans_are_noticed():
    assert "the modality is MR, not CT" in input_warnings(abdomen(modality="MR"))[0]
    matrix = GRID.ijk_to_ras.copy()
    matrix[:, 2] *= 8 / 3
    assert "8.0 mm is coarser than 5 mm" in input_warnings(abdomen(ijk_to_ras=matrix))[0]
    volume = abdomen()
    short = dataclasses.replace(volume, voxels=volume.voxels[25:40])
    assert "only 45 mm from top to bottom" in input_warnings(short)[0]


@pytest.mark.parametrize("turn", [(10, 0, 0), (0, 25, 0), (-20, 5, 30)])
def test_a_short_scan_is_as_short_when_it_is_tilted(turn):
    tilted = phantoms.grid((15, 60, 80), (3, 3, 3), phantoms.rotation(*turn))
    short = dataclasses.replace(abdomen(), voxels=abdomen().voxels[25:40, :60, :80], ijk_to_ras=tilted.ijk_to_ras)
    assert "only 45 mm from top to bottom" in input_warnings(short)[-1]


@pytest.mark.parametrize("spacing", [4.9999, 5.0, 5.0000001, 5.04])
def test_a_spacing_at_the_limit_is_not_beyond_it(spacing):
    matrix = GRID.ijk_to_ras.copy()
    matrix[:, 2] *= spacing / 3
    assert input_warnings(abdomen(ijk_to_ras=matrix)) == []


def test_a_height_at_the_limit_is_not_beyond_it():
    matrix = GRID.ijk_to_ras.copy()
    matrix[:, 2] *= 0.9999999
    volume = abdomen()
    assert input_warnings(dataclasses.replace(volume, voxels=volume.voxels[20:40], ijk_to_ras=matrix)) == []


def test_a_volume_and_a_density_at_their_limits_are_not_beyond_them():
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[20:30, 40:50, 10:20] = 2  # 27 ml
    specs = [dataclasses.replace(label, plausible_ml=(27.3, 100), trained_hu=(20, 99.7)) for label in phantoms.LABELS]
    volume = Volume(np.full(GRID.shape_kji, 100, np.int16), GRID.ijk_to_ras)
    result = Segmentation(labels, GRID.ijk_to_ras, [organ for label in specs for organ in label.organs(split=True)])
    result.organ_measures = measure_organs(result, volume)
    assert result_warnings(result, phantoms.spec(specs), volume) == ["pancreas: not found", "kidney: not found"]


@pytest.mark.parametrize(
    ("organ", "edges"),
    [
        ((20, 40, 10), None),
        ((0, 40, 10), "the region of interest"),
        ((20, 40, 120), "the field of view"),
        ((0, 40, 120), "the field of view and of the region of interest"),
    ],
)
def test_an_organ_is_cut_by_the_scan_or_by_the_region_of_interest(organ, edges):
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[tuple(slice(first, first + 10) for first in organ)] = 2
    organs = [organ for label in phantoms.LABELS for organ in label.organs(split=True)]
    volume = Volume(np.full(GRID.shape_kji, 100, np.int16), GRID.ijk_to_ras, cut_faces=((0, 0), (1, -1)))
    result = Segmentation(labels, GRID.ijk_to_ras, organs)
    result.organ_measures = measure_organs(result, volume)
    said = [text for text in result_warnings(result, phantoms.spec(phantoms.LABELS), volume) if "edge" in text]
    assert said == ([f"spleen: reaches the edge of {edges}, so its volume is incomplete"] if edges else [])
    assert "pancreas: not found in the region of interest" in result_warnings(
        result, phantoms.spec(phantoms.LABELS), volume
    )


@pytest.mark.parametrize("padding_hu", [-2000, -1024, 0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_scan_ends_where_padding_begins(axis, padding_hu):
    volume = abdomen()
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[20:30, 40:60, 40:60] = 2
    voxels = volume.voxels.copy()
    planes, values = np.moveaxis(voxels, axis, 0), np.moveaxis(labels, axis, 0)
    planes[: (25, 50, 50)[axis]], values[: (25, 50, 50)[axis]] = padding_hu, 0
    volume = Volume(voxels, GRID.ijk_to_ras)
    organs = [organ for label in phantoms.LABELS for organ in label.organs(split=True)]
    result = Segmentation(labels, GRID.ijk_to_ras, organs)
    result.organ_measures = measure_organs(result, volume)
    said = [text for text in result_warnings(result, phantoms.spec(phantoms.LABELS), volume) if "spleen" in text]
    assert said == ["spleen: reaches the edge of the field of view, so its volume is incomplete"]


def test_padding_makes_no_scan_taller():
    voxels = abdomen().voxels.copy()
    voxels[:10], voxels[22:] = -1024, -2000
    assert any("the scan covers only 36 mm" in text for text in input_warnings(Volume(voxels, GRID.ijk_to_ras)))


@pytest.mark.parametrize(("padding_hu", "is_said"), [(-1024, False), (0, False), (3071, True)])
@pytest.mark.parametrize("place", [np.s_[:, :, 90:], np.s_[:, :5], np.s_[50:]])
def test_a_border_as_bright_as_bone_is_said(padding_hu, is_said, place):
    voxels = abdomen().voxels.copy()
    voxels[place] = padding_hu
    said = [text for text in input_warnings(Volume(voxels, GRID.ijk_to_ras)) if "the border is filled with" in text]
    assert len(said) == is_said
    assert all("3071 HU, as bone has: crop it, or left and right may be exchanged" in text for text in said)


def test_a_low_region_of_interest_is_not_called_a_short_scan():
    volume = abdomen()
    part = dataclasses.replace(volume, voxels=volume.voxels[25:40], cut_faces=((0, 0), (0, -1)))
    assert "the region of interest covers only 45 mm" in input_warnings(part)[0]


def warnings_about(labels: np.ndarray, hu: np.ndarray, hidden=(), **changes) -> list[str]:
    specs = [dataclasses.replace(label, **changes) for label in phantoms.LABELS]
    uneven = hu + np.indices(GRID.shape_kji).sum(axis=0) % 2  # planes of one value are no scan
    volume = Volume(uneven.astype(np.int16), GRID.ijk_to_ras)
    split = 5 not in labels
    result = Segmentation(labels, GRID.ijk_to_ras, [organ for label in specs for organ in label.organs(split)])
    result.organ_measures = measure_organs(result, volume)
    return result_warnings(result, phantoms.spec(specs), volume, hidden)


def test_implausible_results_are_noticed():
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[20:30, 40:50, 10:20] = 2  # 27 ml
    labels[0:10, 40:50, 10:20] = 1  # as much, at the edge: the rest may be beyond
    labels[20:50, 60:90, 30:60] = 3  # 729 ml
    limits = {"plausible_ml": (50.0, 500.0), "plausible_source": "Somebody 1997", "trained_hu": (20.0, 190.0)}
    assert warnings_about(labels, np.where(labels == 2, 260, 100), **limits) == [
        "pancreas: reaches the edge of the field of view, so its volume is incomplete",
        "spleen: 27 ml lies outside the usual 50-500 ml (Somebody 1997)",
        "spleen: its mean of 260 HU lies outside 20-190 HU of training",
        "left kidney: not found",
        "right kidney: 729 ml lies outside the usual 25-250 ml (Somebody 1997)",
    ]


def test_each_kidney_is_judged_for_itself_and_both_together_where_they_are_not_split():
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[20:30, 40:50, 10:15], labels[20:35, 40:60, 40:60] = 3, 4  # 14 and 162 ml, one cut by the field
    labels[0, 40:50, 40:50] = 4
    hu = np.full(GRID.shape_kji, 100)
    said = [text for text in warnings_about(labels, hu, plausible_ml=(100.0, 400.0)) if "kidney" in text]
    assert said == [
        "right kidney: 14 ml lies outside the usual 50-200 ml",
        "left kidney: reaches the edge of the field of view, so its volume is incomplete",
    ]
    whole = np.where(labels > 0, 5, 0).astype(np.uint8)
    (said,) = [text for text in warnings_about(whole, hu, plausible_ml=(100.0, 400.0)) if "kidney" in text]
    assert said.startswith("kidney: reaches the edge")


def test_what_was_found_and_is_not_shown_is_not_called_missing():
    labels = np.zeros(GRID.shape_kji, np.uint8)
    hu = np.full(GRID.shape_kji, 100)
    assert warnings_about(labels, hu, hidden={"left kidney", "spleen"}) == [
        "pancreas: not found",
        "right kidney: not found",
    ]


def test_a_known_weakness_is_said_where_the_organ_is_found():
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[20:30, 40:50, 10:20] = 2
    cautions = {"pancreas": "its volume is too large", "spleen": "its border is uncertain"}
    specs = [dataclasses.replace(label, caution=cautions.get(label.name, "")) for label in phantoms.LABELS]
    organs = [organ for label in specs for organ in label.organs(split=True)]
    volume = Volume(np.full(GRID.shape_kji, 100, np.int16), GRID.ijk_to_ras)
    result = Segmentation(labels, GRID.ijk_to_ras, organs)
    result.organ_measures = measure_organs(result, volume)
    warnings = result_warnings(result, phantoms.spec(specs), volume)
    assert warnings == ["pancreas: not found", "spleen: its border is uncertain", "kidney: not found"]


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        (np.eye(3), "RAS"),
        (np.diag([-1.0, -1, 1]), "LPS"),
        (np.eye(3)[:, [1, 2, 0]], "ASR"),
        (phantoms.rotation(0, 0, 10), "RAS, oblique by up to 10.0 degrees"),
    ],
)
def test_orientation_is_named(directions, expected):
    assert orientation(phantoms.grid((2, 2, 2), directions=directions)) == expected


def test_describe_says_geometry_and_range():
    description = describe(abdomen(name="ct", notes=("a note",)))
    assert description["voxels (i, j, k)"] == [130, 100, 60]
    assert description["extent (mm)"] == [390.0, 300.0, 180.0]
    assert description["axes point to"] == "LPS"
    assert description["warnings"] == ["a note"]
