"""A label map of a few boxes, for tests of the synthetic-CT generator."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from attention_unet_training.synthetic_ct import prepare_anatomy
from attention_unet_training.synthetic_ct.config import AcquisitionConfig, DeformationConfig, SyntheticCTConfig
from attention_unet_training.synthetic_ct.ranges import Range
from attention_unet_training.synthetic_ct.structures import STRUCTURES, number_of
from support.shared_data import DATA

REAL_ATLAS = DATA / "atlas"
RAS_2MM = np.diag([2.0, 2.0, 2.0, 1.0])
SHAPE = (32, 40, 48)

# Boxes (z, y, x) in a map of 40 x 40 x 60 voxels; x grows to the right of the patient, y to the front.
BOXES = {
    "vertebrae_L1": ((0, 40), (4, 12), (26, 34)),
    "autochthon_left": ((0, 40), (2, 9), (14, 25)),
    "liver": ((10, 36), (12, 34), (36, 56)),
    "spleen": ((14, 34), (8, 24), (4, 14)),
    "pancreas": ((16, 26), (16, 24), (18, 32)),
    "kidney_right": ((2, 20), (6, 16), (38, 48)),
    "kidney_left": ((2, 14), (6, 18), (12, 24)),
    "aorta": ((0, 40), (12, 16), (25, 29)),
    "stomach": ((22, 36), (24, 36), (12, 26)),
    "colon": ((2, 16), (26, 36), (10, 50)),
}


NO_DEFORMATION = DeformationConfig(
    rotation_deg=(0, 0, 0),
    log_scale=0,
    log_axis_scale=0,
    shear=0,
    elastic_sd_mm=(Range(0, 0),) * 3,
    organ_probability=0,
    label_jitter_mm=0,
)

# Without what a scanner adds, which would hide what tissue was painted.
CLEAN = AcquisitionConfig(
    partial_volume_sigma_vox=0.01,
    blur_in_plane_mm=Range(0.01, 0.01),
    blur_through_plane_mm=Range(0.01, 0.01),
    strong_blur_probability=0,
    thick_slice_probability=0,
    noise_minimum_hu=0,
    noise_maximum_hu=0,
    strong_noise_probability=0,
    bias_hu=Range(0, 0),
    offset_sd_hu=0,
    scale=Range(1, 1),
    streak_probability=0,
    metal_probability=0,
)


def box_labels(boxes: dict = BOXES, shape: tuple[int, int, int] = (40, 40, 60)) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    for name, ((z0, z1), (y0, y1), (x0, x1)) in boxes.items():
        labels[z0:z1, y0:y1, x0:x1] = number_of(name)
    return labels


def own_names() -> dict[int, str]:
    return dict(enumerate(STRUCTURES, start=1))


def box_anatomy(boxes: dict = BOXES, shape: tuple[int, int, int] = (40, 40, 60)):
    return prepare_anatomy(box_labels(boxes, shape), own_names(), RAS_2MM, name="boxes")


def write_atlas(
    folder: Path,
    subjects: Sequence[str],
    boxes: dict = BOXES,
    shape: tuple[int, int, int] = (40, 40, 60),
    spacing_mm: float = 2.0,
) -> Path:
    """Write the label map once per subject, as a folder that ``load_atlas`` reads."""
    image = sitk.GetImageFromArray(box_labels(boxes, shape))
    image.SetSpacing([spacing_mm] * 3)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS+
    for subject in subjects:
        sitk.WriteImage(image, str(folder / f"{subject}.nii.gz"))
    names = {str(number): name for number, name in own_names().items()}
    (folder / "labels.json").write_text(json.dumps({"0": "background"} | names))
    return folder


def still_config(**sections) -> SyntheticCTConfig:
    """The anatomy as it is: no deformation, masses, fluid, closed gaps, erosion, hollow kidneys, cuts or circles."""
    config = SyntheticCTConfig()
    config = dataclasses.replace(
        config,
        deformation=NO_DEFORMATION,
        masses=dataclasses.replace(config.masses, probability=0),
        solid_organs=dataclasses.replace(
            config.solid_organs,
            left_lobe_probability=0,
            pancreas_erosion_probability=0,
            even_pancreas_probability=0,
            pancreas_gradient_hu=Range(0, 0),
            lobulated_pancreas_probability=0,
            dilated_duct_probability=0,
            wide_pelvis_probability=0,
            hydronephrosis_probability=0,
            sinus_depth_mm=Range(60, 60),
        ),
        mesentery=dataclasses.replace(config.mesentery, closed_gap_probability=0),
        free_fluid=dataclasses.replace(config.free_fluid, probability=0),
        field_of_view=dataclasses.replace(
            config.field_of_view,
            cut_top_probability=0,
            cut_bottom_probability=0,
            thin_slab_probability=0,
            circle_probability=0,
        ),
    )
    return dataclasses.replace(config, **sections)


def centre_mm(anatomy) -> tuple[float, ...]:
    return tuple((size - 1) * anatomy.spacing_mm / 2 for size in anatomy.labels.shape)
