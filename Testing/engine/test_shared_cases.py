"""Small inputs after public bug reports of similar software end as they should, and take little memory."""

import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from AttentionUNetSegmentationLib.formats.files import read_volume
from support.shared_data import DATA, reason

CASES = DATA.parent / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=reason(CASES))
KIB = 1024
SPARE_KIB = 500 * KIB  # by which no input may take more than a good one

# what is told of each: with "error: " in front if it is refused
ENDS = {
    "qform1_sform2_differ.nii.gz": r"qform \(code 1\), sform \(code 2\) and voxel spacing .* contradict each other",
    "w2_slightly_negative.nii.gz": "",
    "gzip_bomb_small.nii.gz": "the file goes on after the voxels that its header describes",
    "dicom_d1": "",
    "dicom_d6": "every image has a series UID of its own",
    "dicom_d7": "copies of images, equal in place and pixels, were left out (1)",
    "dicom_n7": "error: {path}/IM0003.dcm lacks the rescale slope and intercept that other slices have",
    "dicom_x1": "2 CT stacks in the folder; took the largest, 20 images",
    "dicom_nested_500": "1 DICOM files are no images, damaged or not named in UTF-8, and were left out (IM2.dcm)",
    "same_name/s0001/ct.nii.gz": "",
    "same_name/s0002/ct.nii.gz": "error: {path}: ct.nii.gz: has voxels that are NaN or infinite",
    "model_m5.zip": "error: {path}/weights.pt is not a file of plain weights: it has fewer numbers than its tensors",
    "model_m6.zip": "error: {path}/weights.pt does not fit the architecture in model.json",
    "model_m7.zip": "",
}
