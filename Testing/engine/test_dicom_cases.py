"""DICOM folders with one thing odd about each are read right or refused, never wrong in silence."""

import re

import numpy as np
import pytest

from AttentionUNetSegmentationLib.formats.files import read_volume
from support.dicom_frame_cases import frame_cases, several_file_cases
from support.dicom_series_cases import series_cases
from support.dicom_truth import fault
from support.phantom_files import scan, write_enhanced, write_slices

CASES = [*series_cases(), *frame_cases(), *several_file_cases()]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_folder_is_read_right_or_refused_in_words(case, tmp_path):
    case.write(tmp_path / "dicom")
    if case.refusal:
        with pytest.raises(ValueError, match=rf"dicom.*{case.refusal}"):
            read_volume(tmp_path / "dicom")
        return
    read = read_volume(tmp_path / "dicom")
    assert fault(read, case.truths) == ""
    assert bool(read.notes) == bool(case.note) and re.search(case.note, "".join(read.notes)), read.notes


def test_one_file_and_many_give_the_very_same_volume(tmp_path):
    write_enhanced(tmp_path / "one" / "ct.dcm", scan())
    write_slices(tmp_path / "many", scan())
    for folder in ("one", "many"):
        read = read_volume(tmp_path / folder)
        np.testing.assert_array_equal(read.voxels, scan().voxels)
        np.testing.assert_allclose(read.ijk_to_ras, scan().ijk_to_ras, atol=1e-4)
        assert (read.modality, read.name) == ("CT", folder)


@pytest.mark.parametrize(("hole", "is_read"), [(5.001, True), (5.02, False)])
def test_a_hole_as_wide_as_allowed_is_not_wider_by_rounding(hole, is_read, tmp_path):
    heights = np.arange(24) / 2  # times 2 mm
    heights[12:] += (hole - 1) / 2
    write_slices(tmp_path / "thin", scan(), heights=heights)
    if is_read:
        assert "slices are missing" in read_volume(tmp_path / "thin").notes[0]
        return
    with pytest.raises(ValueError, match="a gap of 5.0 mm: slices are missing"):
        read_volume(tmp_path / "thin")


def test_one_file_of_a_series_asks_for_the_folder(tmp_path):
    write_slices(tmp_path, scan())
    with pytest.raises(ValueError, match="one DICOM file; give the folder"):
        read_volume(next(tmp_path.iterdir()))
