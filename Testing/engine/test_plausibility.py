import dataclasses
import re

import numpy as np
import pytest

from AttentionUNetSegmentationLib.command.information import describe, orientation
from AttentionUNetSegmentationLib.imaging.measures import measure_organs
from AttentionUNetSegmentationLib.imaging.plausibility import field_of_view_warnings, input_warnings, result_warnings
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
    assert field_of_view_warnings(abdomen()) == []


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


def test_a_low_region_of_interest_is_not_called_a_short_scan():
    volume = abdomen()
    part = dataclasses.replace(volume, voxels=volume.voxels[25:40], cut_faces=((0, 0), (0, -1)))
    assert "the region of interest covers only 45 mm" in input_warnings(part)[0]


def test_heads_and_chests_are_noticed():
    head = Volume(phantoms.hu_from([(phantoms.ball(GRID, (0, 0, 0), 80), 40)], -1000), GRID.ijk_to_ras)
    assert "mm wide; this may be a head" in field_of_view_warnings(head)[0]
    lungs = [(phantoms.ball(GRID, (0, 0, 0), 140), 40.0), (phantoms.ball(GRID, (0, 0, 0), 120), -850.0)]
    chest = Volume(phantoms.hu_from(lungs, -1000.0), GRID.ijk_to_ras)
    assert "below the lungs" in field_of_view_warnings(chest)[0]


def test_implausible_results_are_noticed():
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[20:30, 40:50, 0:10] = 2  # 27 ml, at the edge
    labels[0, 0, 0] = 3
    specs = [
        dataclasses.replace(
            label, plausible_ml=(50.0, 500.0), plausible_source="Somebody 1997", trained_hu=(20.0, 190.0)
        )
        for label in phantoms.LABELS
    ]
    organs = [organ for label in specs for organ in label.organs(split=True)]
    volume = Volume(np.where(labels == 2, 260, 100).astype(np.int16), GRID.ijk_to_ras)
    result = Segmentation(labels, GRID.ijk_to_ras, organs)
    result.organ_measures = measure_organs(result, volume)
    warnings = result_warnings(result, phantoms.spec(specs), volume)
    assert warnings == [
        "pancreas: not found",
        "spleen: 27 ml lies outside the usual 50-500 ml (Somebody 1997)",
        "spleen: its mean of 260 HU lies outside 20-190 HU of training",
        "spleen: reaches the edge of the field of view, so its volume is incomplete",
        "left kidney: not found",
        "kidney: 0 ml lies outside the usual 50-500 ml (Somebody 1997)",
        "kidney: reaches the edge of the field of view, so its volume is incomplete",
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
