"""DICOM folders with one thing odd about each are read right or refused, never wrong in silence."""

import pytest

from AttentionUNetSegmentationLib.formats.files import read_volume
from support.dicom_frame_cases import frame_cases, several_file_cases
from support.dicom_series_cases import series_cases
from support.dicom_truth import fault

CASES = [*series_cases(), *frame_cases(), *several_file_cases()]
REFUSED_THOUGH_SOUND = {"compressed, a rescaling for each frame"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_folder_is_read_right_or_refused(case, tmp_path):
    case.write(tmp_path / "dicom")
    if not case.truths or case.name in REFUSED_THOUGH_SOUND:
        with pytest.raises(ValueError, match="dicom"):
            read_volume(tmp_path / "dicom")
    else:
        assert fault(read_volume(tmp_path / "dicom"), case.truths) == ""
