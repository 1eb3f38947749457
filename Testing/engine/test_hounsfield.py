"""Which volumes are taken for a CT in HU: tissues and offsets, scales and paddings of them."""

import functools
import time
from collections.abc import Callable

import numpy as np
import pytest

from AttentionUNetSegmentationLib import read_volume
from AttentionUNetSegmentationLib.imaging.hounsfield import hu_warnings
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms, shared_data

CASE = shared_data.DATA.parent / "cases" / "hu1024_padded_minus2000.nii.gz"
REAL = {
    "no contrast": shared_data.DATA / "ct_abdomen_3mm" / "ct.nii.gz",
    "portal venous": shared_data.DATA / "ct_crlm_1004" / "ct.nii.gz",
    "slab": shared_data.DATA / "ct_dicom_slab" / "dicom",
}
PADDING = (-2000, -3024, -32768, 0, -1024)
MIDDLE = (0, 0, 0)

# radius in mm and HU, from the skin inwards
BODIES = {
    "abdomen": ((140, -95), (120, 50)),
    "contrast": ((140, -95), (120, 110), (50, 220)),
    "ascites": ((140, -95), (130, 12)),
    "thin patient": ((120, -60), (118, 50)),
    "child": ((60, -60), (57, 50)),
    "chest": ((140, -95), (130, 45), (120, -870)),
    "fibrotic lung": ((140, -95), (130, 45), (100, -500)),
    "head": ((88, -90), (84, 45), (80, 1200), (72, 35)),
    "leg": ((70, -100), (60, 55), (20, 1200), (12, -50)),
    "knee": ((70, -100), (50, 55), (42, 400), (38, 200)),
    "metal": ((140, -95), (120, 50), (30, 8000)),
    "water phantom": ((100, 0),),
}
VARIANTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "offset 1024": (lambda hu: hu + 1024, "look like HU + 1024; subtract 1024"),
    "offset 1000": (lambda hu: hu + 1000, "look like HU + 1000; subtract 1000"),
    "ten times": (lambda hu: hu * 10, "look like HU x 10; divide them by 10"),
    "inverted": (lambda hu: -hu, "look like inverted HU; change their sign"),
    "unsigned": (lambda hu: np.where(hu < 0, hu + 65536, hu), "look like HU stored as unsigned 16 bit"),
    "half": (lambda hu: hu / 2, "do not look like a CT in HU"),
    "a thousandth": (lambda hu: hu / 1000, "do not look like a CT in HU"),
    "z-score": (lambda hu: (hu - hu.mean()) / hu.std(), "do not look like a CT in HU"),
    "monochrome 1": (lambda hu: 3071 - hu, "do not look like a CT in HU"),
    "8 bit": (lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255).astype(np.uint8), "8-bit picture"),
    "magnetic resonance": (lambda hu: np.abs(np.select([hu < -300, hu < -30], [15.0, 300.0], 160.0)), "darker than"),
}


@functools.cache
def body(name: str, noise_hu: float = 15.0) -> np.ndarray:
    grid = phantoms.grid((24, 76, 76), (4, 4, 4))
    hu = phantoms.hu_from([(phantoms.ball(grid, MIDDLE, radius), value) for radius, value in BODIES[name]], -1000.0)
    return np.round(hu + np.random.default_rng(0).normal(0, noise_hu, hu.shape))


def volume(voxels: np.ndarray, spacing_mm: float = 4.0) -> Volume:
    return Volume(voxels, phantoms.grid(voxels.shape, (spacing_mm,) * 3).ijk_to_ras)


def padded(voxels: np.ndarray, value: float | np.ndarray) -> np.ndarray:
    """With one value outside the circle that a scanner reconstructs."""
    _, j, i = (np.arange(size) - (size - 1) / 2 for size in voxels.shape)
    outside = np.hypot(j[:, None] / voxels.shape[1], i / voxels.shape[2]) > 0.5
    return np.where(outside, value, voxels)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("noise_hu", [0, 15, 60])
def test_every_part_of_the_body_is_in_hu(name, noise_hu):
    hu = body(name, noise_hu)
    for voxels in (hu, *(padded(hu, value) for value in PADDING)):
        assert hu_warnings(volume(voxels.astype(np.int32))) == []


@pytest.mark.parametrize("tissue_hu", [-870, -100, 0, 60, 110, 200])
@pytest.mark.parametrize("noise_hu", [1, 8, 40])
def test_a_field_inside_one_tissue_tells_nothing(tissue_hu, noise_hu):
    hu = np.random.default_rng(0).normal(tissue_hu, noise_hu, (20, 20, 20))
    assert hu_warnings(volume(hu.astype(np.float32))) == []
    assert hu_warnings(volume(hu[:4, :5, :5])) == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("padding", [None, *PADDING])
def test_values_that_are_not_hu_are_noticed_whatever_pads_them(variant, padding):
    change, message = VARIANTS[variant]
    voxels = change(body("abdomen"))
    if padding is not None:
        voxels = padded(voxels, padding)
    (warning,) = hu_warnings(volume(voxels))
    assert message in warning


@pytest.mark.parametrize("variant", ["offset 1024", "offset 1000", "ten times", "inverted", "unsigned"])
@pytest.mark.parametrize("name", ["contrast", "chest", "head", "leg", "metal", "child"])
def test_values_that_are_not_hu_are_noticed_in_other_parts_of_the_body(name, variant):
    assert len(hu_warnings(volume(VARIANTS[variant][0](body(name))))) == 1


def test_a_crop_inside_the_body_with_an_offset_is_noticed():
    hu = np.random.default_rng(0).normal(60, 15, (20, 30, 30))
    (warning,) = hu_warnings(volume(hu + 1024))
    assert "do not look like a CT in HU" in warning


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_a_label_map_is_no_ct(kind):
    grid = phantoms.grid((24, 76, 76), (4, 4, 4))
    balls = [phantoms.ball(grid, (x, 0, 0), 35) for x in (-80, 0, 80)]
    labels = sum((ball > 0.5) * (n + 1) for n, ball in enumerate(balls))
    assert hu_warnings(volume(labels.astype(kind))) == ["this looks like a label map, not a CT"]
    assert hu_warnings(volume((body("abdomen") * (labels > 0)).astype(np.int16))) != [
        "this looks like a label map, not a CT"
    ]


def test_a_large_volume_takes_little_time():
    tile = body("abdomen").astype(np.int16)
    large = Volume(np.tile(tile, (8, 7, 7))[:240, :512, :512], np.diag([0.8, 0.8, 1.5, 1.0]))
    started = time.process_time()
    hu_warnings(large)
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize("name", REAL)
def test_real_cts_are_in_hu_and_their_variants_are_not(name):
    if not REAL[name].exists():
        pytest.skip(shared_data.reason(REAL[name]))
    ct = read_volume(REAL[name])
    assert hu_warnings(ct) == []
    steps = (1 + size // 64 for size in ct.voxels.shape)
    hu = ct.voxels[tuple(slice(None, None, step) for step in steps)]
    for variant in ("offset 1024", "offset 1000", "ten times", "inverted", "unsigned"):
        voxels = VARIANTS[variant][0](hu.astype(np.int32))
        for changed in (voxels, *(padded(voxels, value) for value in (-2000, 0))):
            assert len(hu_warnings(volume(changed, 5.0))) == 1, variant


@pytest.mark.parametrize("name", REAL)
def test_an_offset_behind_noise_that_looks_like_air_is_noticed(name):
    if not REAL[name].exists():
        pytest.skip(shared_data.reason(REAL[name]))
    ct = read_volume(REAL[name])
    noise = np.random.default_rng(0).normal(-1000, 8, ct.voxels.shape).round()
    assert len(hu_warnings(Volume(padded(ct.voxels.astype(np.int32) + 1024, noise), ct.ijk_to_ras))) == 1


def test_an_offset_behind_padding_is_named():
    if not CASE.exists():
        pytest.skip(shared_data.reason(CASE))
    (warning,) = hu_warnings(read_volume(CASE))
    assert "look like HU + 1024; subtract 1024" in warning
