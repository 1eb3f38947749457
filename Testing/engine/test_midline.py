import math

import numpy as np
import pytest

from AttentionUNetSegmentationLib.imaging.midline import patient_midline_mm
from AttentionUNetSegmentationLib.imaging.preprocessing import NetworkInput
from AttentionUNetSegmentationLib.volume import Box
from support import phantoms
from support.body_phantom import patient


def midline_of(network_input: NetworkInput, organs: np.ndarray | None = None, low: float = -10, high: float = 10):
    if organs is None:
        organs = np.zeros(network_input.hu.shape, bool)
    return patient_midline_mm(network_input.hu, network_input.grid, organs, low, high)


def part(network_input: NetworkInput, box: Box) -> NetworkInput:
    hu = network_input.hu[box]
    starts = [side.indices(size)[0] for side, size in zip(box, network_input.hu.shape, strict=True)]
    return NetworkInput(hu, network_input.grid.crop(tuple(starts), hu.shape), network_input.intensity)


def column_of(network_input: NetworkInput, right_mm: float) -> int:
    return round(float(network_input.grid.ijk_of(np.array([right_mm, 0, 0]))[0]))


@pytest.mark.parametrize("spine", [True, False])
@pytest.mark.parametrize("x_mm", [-40.0, 0.0, 35.0])
def test_midline_follows_the_patient_not_the_field_of_view(x_mm, spine):
    assert midline_of(patient(x_mm, spine)) == pytest.approx(x_mm, abs=3.0)


@pytest.mark.parametrize("sagging_mm", [-45, 45])
def test_the_spine_tells_the_midline_of_a_body_that_lies_on_its_side(sagging_mm):
    assert midline_of(patient(sagging_mm=sagging_mm)) == pytest.approx(0, abs=4)
    assert midline_of(patient(sagging_mm=sagging_mm, spine=False)) == pytest.approx(sagging_mm / 2, abs=4)


def test_dense_organs_do_not_pull_the_midline():
    whole = patient(0.0)
    network_input = part(whole, (slice(None), slice(None), slice(column_of(whole, -50), column_of(whole, 55))))
    bright = phantoms.ball(network_input.grid, (35, -25, 0), 20) > 0.5
    hu = np.where(bright, 300.0, network_input.hu).astype(np.float32)
    network_input = NetworkInput(hu, network_input.grid, network_input.intensity)
    assert abs(midline_of(network_input)) > 20  # the bait works
    assert midline_of(network_input, bright) == pytest.approx(0, abs=4)


def test_bone_in_a_flank_or_an_arm_is_no_spine():
    network_input = patient(0.0)
    hu = network_input.hu.copy()
    for x_mm in (-80, 45, 52):
        hu[phantoms.ball(network_input.grid, (x_mm, -20, 0), 12) > 0.5] = 300.0
    assert midline_of(NetworkInput(hu, network_input.grid, network_input.intensity)) == pytest.approx(0, abs=4)


@pytest.mark.parametrize("sides", [(-1,), (1,), (-1, 1)])
def test_a_lowered_arm_at_the_edge_of_the_field_is_no_spine(sides):
    grid = phantoms.grid((20, 70, 120), (4, 4, 4))
    masks = [(phantoms.ball(grid, (0, 0, 0), 170), 40.0), (phantoms.ball(grid, (0, -60, 0), 25), 190.0)]
    for side in sides:
        masks += [
            (phantoms.ball(grid, (side * 210, 0, 0), 60), 40.0),
            (phantoms.ball(grid, (side * 212, -40, 0), 24), 400.0),
        ]
    hu = phantoms.hu_from(masks, -1000.0)
    assert midline_of(NetworkInput(hu, grid, phantoms.INTENSITY)) == pytest.approx(0, abs=5)


@pytest.mark.parametrize(("low_mm", "high_mm", "expected"), [(18, 80, -math.inf), (-80, -18, math.inf)])
def test_a_flank_without_spine_lies_on_its_side(low_mm, high_mm, expected):
    whole = patient(0.0)
    columns = slice(max(0, column_of(whole, low_mm)), column_of(whole, high_mm))
    assert midline_of(part(whole, (slice(None), slice(None), columns))) == expected


@pytest.mark.parametrize("cut_mm", [-12, -6, 0, 6, 12])
def test_a_field_that_cuts_the_spine_keeps_kidneys_on_their_side(cut_mm):
    whole = patient(0.0)
    cut = column_of(whole, cut_mm)
    assert midline_of(part(whole, (slice(None), slice(None), slice(cut, None)))) < 15
    assert midline_of(part(whole, (slice(None), slice(None), slice(0, cut)))) > -15


def test_a_field_inside_the_body_without_spine_tells_nothing():
    whole = patient(0.0, spine=False)
    inside = slice(column_of(whole, -20), column_of(whole, 20))
    rows = slice(30, 50)
    assert midline_of(part(whole, (slice(20, 30), rows, inside))) is None


def test_half_a_body_that_was_masked_with_air_tells_nothing():
    network_input = patient(0.0, spine=False)
    hu = network_input.hu.copy()
    hu[phantoms.ball(network_input.grid, (35, -20, 0), 18) > 0.5] = 300.0  # as bright as bone
    hu[:, :, : column_of(network_input, 0)] = hu.min()
    assert midline_of(NetworkInput(hu, network_input.grid, network_input.intensity)) is None


def test_air_alone_tells_nothing():
    network_input = patient(0.0)
    hu = np.full_like(network_input.hu, -200.0)
    assert midline_of(NetworkInput(hu, network_input.grid, network_input.intensity)) is None


def test_organs_above_or_below_the_field_take_its_last_slices():
    for low, high in ((-900, -800), (800, 900)):
        assert midline_of(patient(10.0), low=low, high=high) == pytest.approx(10, abs=4)
