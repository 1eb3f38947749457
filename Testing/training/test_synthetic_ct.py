"""Tests of the synthetic-CT generator's samples, on label maps made of a few boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from attention_unet_training.synthetic_ct import generate, generate_full, load_atlas, prepare_anatomy
from attention_unet_training.synthetic_ct.config import SyntheticCTConfig
from attention_unet_training.synthetic_ct.deformation import draw_centre_mm
from attention_unet_training.synthetic_ct.field_of_view import Slab, draw_slab, valid_slab
from attention_unet_training.synthetic_ct.masses import Mass, displace_by_masses
from attention_unet_training.synthetic_ct.preview import contact_sheet
from attention_unet_training.synthetic_ct.randomness import Randomness
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import TARGET_OF_STRUCTURE, number_of
from support import shared_data
from support.box_anatomy import (
    BOXES,
    CLEAN,
    RAS_2MM,
    REAL_ATLAS,
    SHAPE,
    box_anatomy,
    centre_mm,
    own_names,
    still_config,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def test_same_seed_same_bits_and_other_seed_other_image(anatomy):
    config = SyntheticCTConfig()
    first, again, other = (generate(anatomy, config, seed, SHAPE) for seed in (5, 5, 6))
    assert first.image_hu.tobytes() == again.image_hu.tobytes()
    assert first.target.tobytes() == again.target.tobytes()
    assert (first.phase, first.seed) == (again.phase, 5)
    assert np.abs(first.image_hu - other.image_hu).mean() > 10


def test_crops_are_aimed_at_the_pancreas(anatomy):
    crop = dataclasses.replace(
        SyntheticCTConfig().crop,
        near_organs_probability=1,
        near_pancreas_probability=1,
        pancreas_jitter_mm=(4.0, 4.0, 4.0),
    )
    for seed in range(20):
        centre = draw_centre_mm(anatomy, crop, Randomness(seed), height_mm=20.0)
        pancreas_mm = np.argwhere(anatomy.labels == number_of("pancreas")) * anatomy.spacing_mm
        low, high = pancreas_mm.min(0), pancreas_mm.max(0)
        assert (low - 4 <= centre).all()
        assert (centre <= high + 4).all()


def test_sample_types_and_limits(anatomy):
    sample = generate(anatomy, SyntheticCTConfig(), 2, SHAPE)
    assert sample.image_hu.dtype == np.float32
    assert sample.target.dtype == sample.labels.dtype == np.uint8
    assert sample.image_hu.shape == sample.target.shape == sample.labels.shape == SHAPE
    assert np.isfinite(sample.image_hu).all()
    assert sample.image_hu.min() >= -1024
    assert sample.image_hu.max() <= 3071
    assert set(np.unique(sample.target)) <= {0, 1, 2, 3}


def test_without_deformation_the_labels_come_back(anatomy):
    sample = generate(anatomy, still_config(), 0, anatomy.labels.shape, 2.0, centre_mm(anatomy))
    assert np.array_equal(sample.labels, anatomy.labels)
    for name, target in TARGET_OF_STRUCTURE.items():
        assert (sample.target[anatomy.labels == number_of(name)] == target).all()
    assert (sample.target > 0).sum() == np.isin(anatomy.labels, [number_of(n) for n in TARGET_OF_STRUCTURE]).sum()


def test_orientation_right_is_larger_i_front_is_larger_j(anatomy):
    for seed in range(4):
        sample = generate(anatomy, SyntheticCTConfig(), seed, (48, 64, 80), 2.0, centre_mm(anatomy))
        where = {
            name: np.argwhere(sample.labels == number_of(name)).mean(0)
            for name in ("liver", "spleen", "stomach", "vertebrae_L1")
        }
        assert where["liver"][2] > where["spleen"][2] + 8
        assert where["stomach"][1] > where["vertebrae_L1"][1] + 4


def test_tissue_values_with_noise_off(anatomy):
    """Means inside organs follow the phase's ranges when nothing else varies."""
    still = still_config()
    exact = dataclasses.replace(
        still,
        contrast=dataclasses.replace(
            still.contrast,
            phases={
                "portal_venous": dataclasses.replace(
                    still.contrast.phases["portal_venous"],
                    liver_hu=Range(111, 111),
                    spleen_hu=Range(123, 123),
                    pancreas_hu=Range(95, 95),
                    muscle_gain_hu=Range(0, 0),
                )
            },
            soft_tissue_offset_sd_hu=0,
            steatosis_probability=0,
            fatty_pancreas_probability=0,
        ),
        tissue=dataclasses.replace(
            still.tissue,
            muscle_hu=Range(50, 50),
            organ_texture_hu=Range(0, 0),
            pancreas_texture_hu=Range(0, 0),
            muscle_texture_hu=Range(0, 0),
        ),
        solid_organs=dataclasses.replace(
            still.solid_organs, focal_lesion_probability=0, pancreas_fat_share=Range(0, 0), pancreas_duct_probability=0
        ),
        acquisition=CLEAN,
    )
    sample = generate(anatomy, exact, 1, anatomy.labels.shape, 2.0, centre_mm(anatomy))
    deep = anatomy.border_depth_mm > 5
    for name, expected in (("liver", 111), ("spleen", 123), ("pancreas", 95), ("autochthon_left", 50)):
        values = sample.image_hu[(anatomy.labels == number_of(name)) & deep]
        assert np.median(values) == pytest.approx(expected, abs=1), name


def test_air_around_the_body_and_fat_inside(anatomy):
    config = still_config()
    config = dataclasses.replace(
        config, surroundings=dataclasses.replace(config.surroundings, table_probability=0, arms_probability=0)
    )
    sample = generate(anatomy, config, 3, (20, 180, 200), 2.0, centre_mm(anatomy))
    corners = sample.image_hu[:, :8, :8]
    assert corners.mean() == pytest.approx(-1000, abs=15)
    assert sample.image_hu[:, 90, 100].mean() > -200


def test_slab_replicates_image_and_target_beyond_its_edges(anatomy):
    config = still_config()
    thin = dataclasses.replace(config.field_of_view, thin_slab_probability=1.0, thin_slab_mm=Range(20, 20))
    sample = generate(anatomy, dataclasses.replace(config, field_of_view=thin), 4, SHAPE, 2.0, centre_mm(anatomy))
    different = [k for k in range(1, SHAPE[0]) if not np.array_equal(sample.image_hu[k], sample.image_hu[k - 1])]
    assert different[-1] - different[0] == 8  # ten slices of 2 mm differ from one another, all others repeat
    assert np.array_equal(sample.target[0], sample.target[different[0] - 1])
    assert np.array_equal(sample.target[-1], sample.target[different[-1]])


def test_slices_beyond_the_anatomy_repeat_the_last_valid_one(anatomy):
    top_mm = (anatomy.labels.shape[0] - 1) * 2.0
    sample = generate(anatomy, still_config(), 4, (20, 24, 28), 2.0, (top_mm, *centre_mm(anatomy)[1:]))
    assert all(np.array_equal(sample.image_hu[k], sample.image_hu[10]) for k in range(11, 20))
    assert not np.array_equal(sample.image_hu[5], sample.image_hu[10])


def test_slab_arithmetic():
    source_z = torch.tensor([-10.0, -2.0, 0.0, 2.0, 4.0, 6.0]).view(6, 1, 1).expand(6, 3, 3)
    assert valid_slab(source_z, 4.0, 0.5) == Slab(2, 4)
    volume = torch.arange(6).view(6, 1, 1)
    assert Slab(2, 4).replicate(volume).flatten().tolist() == [2, 2, 2, 3, 4, 4]
    for seed in range(20):
        drawn = draw_slab(Slab(2, 4), 2.0, SyntheticCTConfig().field_of_view, Randomness(seed))
        assert 2 <= drawn.first <= drawn.last <= 4


def test_mass_pushes_tissue_outwards_and_keeps_far_tissue():
    line = torch.zeros(3, 1, 1, 101)
    line[2, 0, 0] = torch.arange(101.0)
    mass = Mass((0.0, 0.0, 50.0), 10.0, owner=0, neighbour=number_of("spleen"), kind="cyst")
    config = dataclasses.replace(SyntheticCTConfig().masses, surface_roughness=0)
    moved, index = displace_by_masses(line, [mass], config, torch.zeros(1, 1, 101))
    assert index.flatten().nonzero().flatten().tolist() == list(range(41, 60))
    assert torch.equal(moved[:, 0, 0, :26], line[:, 0, 0, :26])
    assert (moved[2, 0, 0].diff() > -1e-4).all()  # nothing folds
    assert float(moved[2, 0, 0, 61]) == pytest.approx(50 + (11**3 - 10**3) ** (1 / 3), abs=2.5)


def test_mass_inside_an_organ_belongs_to_it(anatomy):
    config = still_config()
    sure = dataclasses.replace(
        config.masses,
        probability=1,
        max_count=1,
        place_weights={"inside": 1.0},
        organ_weights={"spleen": 1.0},
        radius_mm=Range(16, 16),
        radius_share=Range(1, 1),
    )
    plain = generate(anatomy, config, 8, anatomy.labels.shape, 2.0, centre_mm(anatomy))
    swollen = generate(
        anatomy, dataclasses.replace(config, masses=sure), 8, anatomy.labels.shape, 2.0, centre_mm(anatomy)
    )
    assert (swollen.target == 2).sum() > 1.2 * (plain.target == 2).sum()


@pytest.mark.parametrize("names", [("liver",), ("spleen",), ("kidney_left", "vertebrae_L1"), ("colon", "aorta")])
def test_anatomies_that_lack_organs(names):
    partial = box_anatomy({name: BOXES[name] for name in names})
    for seed in range(4):
        sample = generate(partial, SyntheticCTConfig(), seed, (16, 20, 24))
        assert np.isfinite(sample.image_hu).all()
        assert set(np.unique(sample.labels)) <= {0, *(number_of(name) for name in names)}


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (1, 40, 40)])
def test_tiny_shapes(anatomy, shape):
    for seed in range(4):
        assert np.isfinite(generate(anatomy, SyntheticCTConfig(), seed, shape).image_hu).all()


def test_one_voxel_of_anatomy():
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = number_of("spleen")
    sample = generate(prepare_anatomy(labels, own_names(), RAS_2MM), SyntheticCTConfig(), 0, (6, 7, 8))
    assert np.isfinite(sample.image_hu).all()


def test_requests_that_make_no_sense(anatomy):
    with pytest.raises(ValueError, match="three positive sizes"):
        generate(anatomy, SyntheticCTConfig(), 0, (4, 0, 4))
    with pytest.raises(ValueError, match="spacing must be positive"):
        generate(anatomy, SyntheticCTConfig(), 0, (4, 4, 4), spacing_mm=0)
    with pytest.raises(ValueError, match="seed must not be negative"):
        generate(anatomy, SyntheticCTConfig(), -1, (4, 4, 4))


def test_full_field_holds_the_whole_body(anatomy):
    sample = generate_full(anatomy, still_config(), 1, 3.0, z_range_mm=(20, 60))
    assert sample.image_hu.shape[0] == pytest.approx(40 / 3, abs=1.5)
    edges = np.concatenate([sample.image_hu[:, -1].ravel(), sample.image_hu[:, :, 0].ravel()])
    assert np.median(edges) == pytest.approx(-1000, abs=20)
    assert set(np.unique(sample.target)) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="must overlap the anatomy"):
        generate_full(anatomy, still_config(), 1, 3.0, z_range_mm=(500, 600))


def test_contact_sheet_is_a_picture(anatomy, tmp_path):
    samples = [generate(anatomy, SyntheticCTConfig(), seed, SHAPE) for seed in range(2)]
    contact_sheet(samples, tmp_path / "sheet.png")
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "sheet.png")))
    assert picture.std() > 10
    with pytest.raises(ValueError, match="at least one sample"):
        contact_sheet([], tmp_path / "none.png")


def test_real_label_map(tmp_path):
    if not (REAL_ATLAS / "s0001.nii.gz").is_file():
        pytest.skip(shared_data.reason(REAL_ATLAS))
    (real,) = load_atlas(REAL_ATLAS, tmp_path, include=["s0001"])
    assert real.organs["liver"].centroid_mm[2] > real.organs["spleen"].centroid_mm[2]
    volume_ml = {
        name: (real.labels == number_of(name)).sum() * real.spacing_mm**3 / 1000
        for name in ("pancreas", "spleen", "liver")
    }
    assert volume_ml == pytest.approx({"pancreas": 65.9, "spleen": 111.6, "liver": 1101.6}, rel=0.05)
    sample = generate(real, still_config(), 0, (80, 96, 96), 2.0, real.organs["pancreas"].centroid_mm)
    spleen = sample.image_hu[sample.target == 2]
    assert spleen.size > 1000
    assert -20 < np.median(spleen) < 220
