import dataclasses
import re

import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging import place
from AttentionUNetSegmentationLib.imaging.place import field_of_view_warnings, place_warnings
from AttentionUNetSegmentationLib.volume import Grid, Segmentation, Volume
from support import phantoms

GRID = phantoms.grid((60, 80, 110), (3, 3, 3), np.diag([-1.0, -1, 1]))
LABELS = (
    dataclasses.replace(phantoms.LABELS[0], components=2, place="crosses midline"),
    dataclasses.replace(phantoms.LABELS[1], place="left", place_source="so in all maps", solid=True),
    dataclasses.replace(phantoms.LABELS[2], solid=True),
)
PANCREAS, SPLEEN, RIGHT_KIDNEY = 1, 2, 3
SPLEEN_AT = (-80, -20, 20)


def patient(*organs, bright=(), grid: Grid = GRID, noise: float = 15.0) -> tuple[Segmentation, Volume]:
    """A CT of a body with a spine and organs, balls of (value, centre, radius); ``bright`` of (HU, centre, radius)."""
    k, j, i = np.meshgrid(*map(np.arange, grid.shape_kji), indexing="ij")
    right, front, _ = np.moveaxis(grid.ras_of(np.stack([i, j, k], axis=-1)), -1, 0)
    hu = np.where((right / 150) ** 2 + (front / 105) ** 2 < 1, -90.0, -1000.0)
    hu[right**2 + (front + 50) ** 2 < 18**2] = 300
    labels = np.zeros(grid.shape_kji, np.uint8)
    for value, centre, radius in organs:
        inside = phantoms.ball(grid, centre, radius) > 0.5
        labels[inside], hu[inside] = value, 110
    for value_hu, centre, radius in bright:
        hu[phantoms.ball(grid, centre, radius) > 0.5] = value_hu
    hu += np.random.default_rng(0).normal(0, noise, hu.shape)
    return Segmentation(labels, grid.ijk_to_ras, []), Volume(hu.astype(np.float32), grid.ijk_to_ras)


def said(result: Segmentation, volume: Volume, labels=LABELS) -> list[str]:
    return place_warnings(result, phantoms.spec(labels), volume)


USUAL = ((PANCREAS, (0, 30, 0), 20), (SPLEEN, SPLEEN_AT, 35), (RIGHT_KIDNEY, (60, -40, 0), 25))


def test_organs_in_their_places_raise_no_warning():
    assert said(*patient(*USUAL)) == []
    assert said(*patient()) == []


def test_nothing_is_said_where_the_model_does_not_say_where_organs_lie():
    wrong = patient((PANCREAS, (80, 0, 0), 20), (SPLEEN, (80, -20, 20), 35), bright=[(5, (80, -20, 20), 25)])
    assert said(*wrong, labels=phantoms.LABELS) == []


@pytest.mark.parametrize("axes", ["LPS", "oblique", "permuted"])
def test_a_spleen_on_the_right_is_said_in_any_orientation(axes):
    result, volume = patient((SPLEEN, (80, -20, 20), 30))
    if axes == "oblique":
        result, volume = patient(
            (SPLEEN, (80, -20, 20), 30), grid=phantoms.grid(GRID.shape_kji, (3, 3, 3), phantoms.rotation(4, 7, 12))
        )
    if axes == "permuted":
        copies = zip(
            phantoms.flipped_and_permuted(Volume(result.labels, GRID.ijk_to_ras)),
            phantoms.flipped_and_permuted(volume),
            strict=True,
        )
        labels, volume = list(copies)[3]
        result = Segmentation(labels.voxels, labels.ijk_to_ras, [])
    (warning,) = said(result, volume)
    assert warning.startswith("spleen: 11")
    assert "ml lie on the patient's right, but it belongs on the left (so in all maps)" in warning


def test_a_part_of_the_spleen_right_of_the_midline_is_said():
    beside, bridge = said(*patient((SPLEEN, SPLEEN_AT, 35), (SPLEEN, (60, 20, 20), 20)))
    assert re.match("spleen: 3[0-9] ml lie on the patient's right, but it belongs on the left", beside)  # 33.5 ml
    assert "thin bridge" in bridge


def test_a_spleen_that_reaches_the_midline_is_no_reason():
    assert said(*patient((SPLEEN, (-50, 0, 0), 55))) == []


@pytest.mark.parametrize(("right_mm", "side"), [(-45, "left"), (50, "right")])
def test_a_pancreas_beside_the_midline_is_said(right_mm, side):
    (warning,) = said(*patient((PANCREAS, (right_mm, 30, 0), 25)))
    assert warning.startswith(f"pancreas: lies on the patient's {side} only, but should cross the midline")


def test_a_pancreas_that_the_field_cuts_may_go_on_beyond():
    assert said(*patient((PANCREAS, (-45, 30, 85), 25))) == []


def test_a_pancreas_near_the_midline_is_no_reason():
    assert said(*patient((PANCREAS, (-32, 30, 0), 25))) == []


def test_where_no_midline_is_seen_nothing_is_said_of_it():
    result, volume = patient((SPLEEN, (80, -20, 20), 20))
    box = (slice(20, 45), slice(30, 60), slice(15, 40))
    part = Volume(volume.voxels[box], volume.grid.crop_to(box).ijk_to_ras)
    assert result.labels[box].any()
    assert said(Segmentation(result.labels[box], part.ijk_to_ras, []), part) == []


def test_ribs_in_a_narrow_field_are_no_spine_that_a_spleen_lies_right_of():
    result, volume = patient(
        (SPLEEN, (-60, -20, 20), 25), bright=[(300, (-90, -40, z), 14) for z in range(-80, 80, 20)]
    )
    box = (slice(None), slice(12, 70), slice(67, 92))  # i runs to the left: R -99 to -27
    part = Volume(volume.voxels[box], volume.grid.crop((0, 12, 67), (60, 58, 25)).ijk_to_ras)
    assert np.count_nonzero(result.labels[box]) > 1000
    assert said(Segmentation(result.labels[box], part.ijk_to_ras, []), part) == []


def test_what_lies_above_lung_is_said():
    lung = [(-800, (-40, 40, height_mm), 30) for height_mm in range(-45, 91, 15)]
    (warning,) = said(
        *patient((SPLEEN, SPLEEN_AT, 30), bright=[(-800, (-80, -20, -45), 30), (-800, (-60, 10, -45), 30), *lung])
    )
    assert "ml lie above lung, but it belongs below the diaphragm" in warning


def test_what_lies_above_all_lung_is_said():
    """The view ends above the lungs, with the spleen that lies there."""
    lungs = [(-800, (side, 0, -30), 45) for side in (-80, 80)]
    (warning,) = said(*patient((SPLEEN, (-80, 0, 50), 25), (PANCREAS, (0, 30, -60), 20), bright=lungs))
    assert "ml lie above lung" in warning


def test_lung_above_and_gas_in_the_gut_below_are_no_reason():
    for gas in ([(-1000, (-80, -20, -45), 30), (-800, (-80, -20, -30), 6)], [(-800, (-80, -20, -45), 30)]):
        bright = [(-800, (-80, -20, 80), 30), *gas]
        assert said(*patient((SPLEEN, SPLEEN_AT, 25), bright=bright)) == []


def test_fluid_in_a_solid_organ_is_said():
    (warning,) = said(*patient((SPLEEN, SPLEEN_AT, 40), bright=[(5, (-80, -20, 0), 25)]))
    assert re.match(
        "spleen: [0-9]+ ml inside are as dark as fluid, the rest has 1[01][0-9] HU \\(simple fluid", warning
    )


def test_noise_a_small_cyst_and_fluid_alone_are_no_fluid_in_an_organ():
    assert said(*patient((SPLEEN, SPLEEN_AT, 40), noise=60)) == []
    assert said(*patient((SPLEEN, SPLEEN_AT, 40), bright=[(5, (-80, -20, 20), 12)])) == []
    assert said(*patient((SPLEEN, SPLEEN_AT, 30), bright=[(5, SPLEEN_AT, 32)])) == []


def test_an_organ_hardly_denser_than_fluid_has_none():
    assert said(*patient((SPLEEN, SPLEEN_AT, 40), bright=[(32, SPLEEN_AT, 42), (15, (-80, -20, 0), 25)], noise=5)) == []


def test_a_thin_bridge_to_a_second_part_is_said():
    bridge = [(SPLEEN, (-80, front_mm, 20), 4) for front_mm in range(-10, 24, 3)]
    result, volume = patient((SPLEEN, (-80, -30, 20), 25), (SPLEEN, (-80, 35, 20), 20), *bridge)
    (warning,) = said(result, volume)
    assert warning.startswith("spleen: falls into parts that a thin bridge joins")


@pytest.mark.parametrize("shape", [(4, 60, 80), (60, 4, 80), (60, 60, 4), (4, 4, 4)])
def test_thin_volumes_are_looked_at_too(shape):
    grid = phantoms.grid(shape, (3, 3, 3))
    labels = np.full(shape, SPLEEN, np.uint8)
    volume = Volume(np.full(shape, 50.0, np.float32), grid.ijk_to_ras)
    assert said(Segmentation(labels, grid.ijk_to_ras, []), volume) == []


def test_thinned_voxels_keep_their_places():
    grid = phantoms.grid((9, 20, 21), (0.8, 0.7, 2.5), phantoms.rotation(5, 8, 15), (3, -4, 5))
    kji = np.stack(np.meshgrid(*map(np.arange, grid.shape_kji), indexing="ij"), axis=-1)
    along_mm = grid.ras_of(kji[..., ::-1]) @ np.array([1.0, 2.0, 3.0])
    voxels, thinned = place._thinned(Volume(along_mm, grid.ijk_to_ras))
    assert voxels.shape == thinned.shape_kji == (9, 10, 11)
    kji = np.stack(np.meshgrid(*map(np.arange, thinned.shape_kji), indexing="ij"), axis=-1)
    np.testing.assert_allclose(voxels, thinned.ras_of(kji[..., ::-1]) @ np.array([1.0, 2.0, 3.0]), atol=1e-3)


def test_an_abdomen_with_lungs_above_is_in_the_field():
    assert field_of_view_warnings(patient()[1]) == []
    assert field_of_view_warnings(patient(bright=[(-800, (side, 0, 80), 50) for side in (-80, 80)])[1]) == []
    low = phantoms.grid((13, 80, 110), (3, 3, 3), np.diag([-1.0, -1, 1]))
    assert field_of_view_warnings(patient(grid=low)[1]) == []


@pytest.mark.parametrize("foam_hu", [-900, -800])
@pytest.mark.parametrize("what", ["table", "table below a gap", "cushions and blanket"])
def test_foam_outside_the_body_is_no_lung(what, foam_hu):
    grid = phantoms.grid((60, 110, 140), (3, 3, 3), np.diag([-1.0, -1, 1]))
    _, volume = patient(grid=grid)
    j, i = np.meshgrid(*map(np.arange, grid.shape_kji[1:]), indexing="ij")
    right, front, _ = np.moveaxis(grid.ras_of(np.stack([i, j, np.zeros_like(i)], axis=-1)), -1, 0)
    below_mm = -front - (107 if "gap" in what else 95)
    foam, shell = below_mm > 0, (below_mm > 0) & ((below_mm < 6) | (below_mm > 46) | (abs(right) > 195))
    if "cushions" in what:
        foam, shell = (abs(right) < 180) & (abs(front) < 135), np.zeros_like(foam)
    air = volume.voxels[0] < -500
    hu = np.where(air & shell, 100, np.where(air & foam, foam_hu, volume.voxels)).astype(np.float32)
    assert field_of_view_warnings(Volume(hu, grid.ijk_to_ras)) == []


@pytest.mark.parametrize(
    ("tissues", "message"),
    [
        ([(phantoms.ball(GRID, (0, 0, 0), 80), 40.0)], "mm wide; this may be a head"),
        ([(phantoms.ball(GRID, (side, 0, 0), 70), 40.0) for side in (-80, 80)], "mm wide; this may be a head, a limb"),
        (
            [(phantoms.ball(GRID, (0, 0, 0), 140), 40.0), (phantoms.ball(GRID, (0, 0, 0), 110), -850.0)],
            "below the lungs",
        ),
        (
            [(phantoms.ball(GRID, (0, 0, -20), 140), 40.0), (phantoms.ball(GRID, (0, 0, -90), 100), -850.0)],
            "below the lungs",
        ),
        ([(phantoms.ball(GRID, (0, 0, 0), 9), 40.0)], "no slice shows a body"),
    ],
    ids=["head", "legs", "chest", "chest and neck", "air"],
)
def test_heads_legs_chests_and_air_are_noticed(tissues, message):
    volume = Volume(phantoms.hu_from(tissues, -1000.0), GRID.ijk_to_ras)
    (warning,) = field_of_view_warnings(volume)
    assert message in warning
