import os
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support.phantom_files import LPS, SHAPE, SPACING, scan, write_enhanced, write_slices


def test_a_series_is_read_in_order_with_its_place(tmp_path):
    write_slices(tmp_path, scan())
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    np.testing.assert_allclose(read.ijk_to_ras, scan().ijk_to_ras, atol=1e-4)
    assert read.modality == "CT"
    assert read.notes == ()


def test_the_largest_ct_series_is_chosen_and_said(tmp_path):
    write_slices(tmp_path / "a", scan((10, 20, 22)), series="1.2.9")
    write_slices(tmp_path / "b", scan(), series="1.2.3")
    write_slices(tmp_path, scan((30, 20, 22)), series="1.2.4", modality="PT")
    write_slices(tmp_path, scan((28, 20, 22)), series="1.2.5", kind="ORIGINAL\\PRIMARY\\LOCALIZER")
    (tmp_path / "notes.txt").write_text("hello")
    read = read_volume(tmp_path)
    assert read.voxels.shape == SHAPE
    assert read.notes == ("2 CT stacks in the folder; took the largest, 24 images (series 1.2.3)",)


@pytest.mark.parametrize(
    ("tags", "message"),
    [({"modality": "MR"}, "no CT series .found: 24 MR"), ({"kind": "DERIVED\\LOCALIZER"}, "found: 24 scout")],
)
def test_other_modalities_and_scouts_are_refused(tmp_path, tags, message):
    write_slices(tmp_path, scan(), **tags)
    with pytest.raises(ValueError, match=message):
        read_volume(tmp_path)


def test_several_patients_are_refused(tmp_path):
    write_slices(tmp_path / "a", scan(), series="1.2.3")
    write_slices(tmp_path / "b", scan(), series="1.2.4", patient="P2")
    with pytest.raises(ValueError, match="CTs of 2 patients"):
        read_volume(tmp_path)


def test_phases_at_the_same_place_are_told_apart_by_acquisition(tmp_path):
    write_slices(tmp_path, scan(), acquisition="1")
    other = scan()
    write_slices(tmp_path, Volume(other.voxels + 50, other.ijk_to_ras), acquisition="2")
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    assert "2 CT stacks" in read.notes[0]


def test_phases_whose_slices_lie_between_each_others_are_told_apart_by_acquisition(tmp_path):
    write_slices(tmp_path, scan(), acquisition="1")
    later = scan()
    write_slices(tmp_path, Volume(later.voxels + 50, later.ijk_to_ras), [n + 0.5 for n in range(24)], acquisition="2")
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    assert "2 CT stacks" in read.notes[0]


def test_phases_are_told_apart_by_temporal_position(tmp_path):
    for position in "12":
        write_slices(tmp_path / position, scan(), temporal=position, instance=position)
    read = read_volume(tmp_path)
    assert read.voxels.shape == SHAPE
    assert "2 CT stacks" in read.notes[0]


def test_phases_that_only_two_marks_together_tell_apart(tmp_path):
    for n, (temporal, acquisition) in enumerate([("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]):
        tags = {"temporal": temporal, "acquisition": acquisition, "instance": str(n)}
        write_slices(tmp_path / str(n), Volume(scan().voxels + 50 * n, scan().ijk_to_ras), **tags)
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    assert "4 CT stacks" in read.notes[0]


def test_images_of_contrast_tracking_do_not_spoil_the_scan(tmp_path):
    """They lie at one place, which nothing tells apart."""
    write_slices(tmp_path, scan(), acquisition="3")
    write_slices(tmp_path, scan((5, 20, 22)), [7.0] * 5, acquisition="1")
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    assert "2 CT stacks" in read.notes[0]


@pytest.mark.parametrize(
    "second", [range(10, 16), range(1, 24, 2)], ids=["fills the first's hole", "every second slice"]
)
def test_acquisitions_that_complete_each_other_are_one_scan(second, tmp_path):
    volume = scan()
    for acquisition, numbers in (("1", [n for n in range(24) if n not in second]), ("2", list(second))):
        write_slices(tmp_path, Volume(volume.voxels[numbers], volume.ijk_to_ras), numbers, acquisition=acquisition)
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, volume.voxels)
    assert read.notes == ()


def test_acquisitions_that_overlap_a_little_are_one_scan(tmp_path):
    volume = scan()
    for acquisition, numbers in (("1", list(range(13))), ("2", list(range(12, 24)))):
        heights = [n + 0.5 * (acquisition == "2") - 1.0 * (acquisition == "2") for n in numbers]
        write_slices(tmp_path, Volume(volume.voxels[numbers], volume.ijk_to_ras), heights, acquisition=acquisition)
    read = read_volume(tmp_path)
    assert len(read.voxels) >= 23
    assert "unevenly spaced" in read.notes[0]


def test_images_that_are_not_placed_do_not_spoil_the_scan(tmp_path):
    """Screenshots and movies are CT images too, by their modality."""
    write_slices(tmp_path, scan())
    write_slices(tmp_path / "screenshots", scan((30, 20, 22)), series="1.8")
    for path in (tmp_path / "screenshots").iterdir():
        header = pydicom.dcmread(path)
        del header.ImagePositionPatient
        header.save_as(path)
    write_enhanced(tmp_path / "movie.dcm", Volume(np.zeros((60, 20, 22)), scan().ijk_to_ras), SeriesInstanceUID="1.9")
    header = pydicom.dcmread(tmp_path / "movie.dcm")
    del header.PerFrameFunctionalGroupsSequence
    header.save_as(tmp_path / "movie.dcm")
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)


def test_phases_of_which_one_has_a_hole_are_not_mixed(tmp_path):
    volume = scan()
    for acquisition, numbers in (("1", list(range(14))), ("2", [*range(6), *range(11, 24)])):
        part = Volume(volume.voxels[numbers] + 50 * (acquisition == "2"), volume.ijk_to_ras)
        write_slices(tmp_path, part, numbers, acquisition=acquisition)
    with pytest.raises(ValueError, match=r"slices are missing, a hole of 12\.0 mm"):
        read_volume(tmp_path)


def test_direction_cosines_are_normalised(tmp_path):
    """Some writers round them to three digits."""
    write_slices(tmp_path, scan())
    for path in tmp_path.iterdir():
        header = pydicom.dcmread(path)
        header.ImageOrientationPatient = [1.004, 0, 0, 0, 1.004, 0]
        header.save_as(path)
    np.testing.assert_allclose(read_volume(tmp_path).spacing_mm, (1.5, 1.5, 2.0), atol=1e-4)


@pytest.mark.parametrize("per_acquisition", [1, 6])
def test_a_scan_of_several_acquisitions_in_a_row_is_one_volume(per_acquisition, tmp_path):
    """Step and shoot: each stop of the table is an acquisition of its own."""
    volume = scan()
    for first in range(0, 24, per_acquisition):
        part = list(range(first, first + per_acquisition))
        write_slices(tmp_path, Volume(volume.voxels[part], volume.ijk_to_ras), part, acquisition=str(first))
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, volume.voxels)
    assert read.notes == ()


def test_images_at_the_same_place_that_nothing_tells_apart_are_refused(tmp_path):
    write_slices(tmp_path / "a", scan())
    write_slices(tmp_path / "b", scan(), instance="2")
    with pytest.raises(ValueError, match="same position"):
        read_volume(tmp_path)


def test_a_missing_slice_is_interpolated_and_said(tmp_path):
    volume = scan()
    keep = [n for n in range(24) if n != 12]
    write_slices(tmp_path, Volume(volume.voxels[keep], volume.ijk_to_ras), heights=keep)
    read = read_volume(tmp_path)
    assert read.voxels.shape == SHAPE
    np.testing.assert_allclose(read.voxels[12], (volume.voxels[11] + volume.voxels[13]) / 2, atol=0.51)
    np.testing.assert_allclose(read.voxels[[11, 13]], volume.voxels[[11, 13]], atol=0.51)
    assert "gaps of 2.00 to 4.00 mm" in read.notes[0]


def test_uneven_slices_keep_positions(tmp_path):
    volume = scan((40, 20, 22))
    keep = [n for n in range(40) if n < 16 or n % 2 == 0]
    write_slices(tmp_path, Volume(volume.voxels[keep], volume.ijk_to_ras), heights=keep)
    read = read_volume(tmp_path)
    found = phantoms.centroid_ras_mm(read.voxels > 50, read.grid)
    np.testing.assert_allclose(found, phantoms.centroid_ras_mm(volume.voxels > 50, volume.grid), atol=0.5)


def test_a_large_hole_is_refused(tmp_path):
    volume = scan()
    keep = [n for n in range(24) if not 8 <= n < 16]
    write_slices(tmp_path, Volume(volume.voxels[keep], volume.ijk_to_ras), heights=keep)
    with pytest.raises(ValueError, match=r"slices are missing, a hole of 18\.0 mm"):
        read_volume(tmp_path)


def test_gantry_tilt_is_resampled_and_the_organ_stays_in_its_place(tmp_path):
    shift = 0.4  # mm per slice of 2 mm: 11.3 degrees
    straight = phantoms.grid((40, 60, 60), SPACING, LPS)
    matrix = straight.ijk_to_ras.copy()
    matrix[1, 2] = -shift  # +P in LPS is -A in RAS
    tilted = type(straight)(straight.shape_kji, matrix)
    centre = tilted.corners_ras_mm().mean(axis=0) + [5, 4, 3]
    voxels = phantoms.hu_from([(phantoms.ball(tilted, centre, 15), 200)], -100)
    write_slices(tmp_path, Volume(voxels, straight.ijk_to_ras), shift_per_slice_mm=shift)
    read = read_volume(tmp_path)
    assert read.grid.is_orthogonal
    assert "sheared by 11.3 degrees (gantry tilt?)" in read.notes[0]
    np.testing.assert_allclose(phantoms.centroid_ras_mm(read.voxels > 50, read.grid), centre, atol=0.3)


def test_missing_pixels_are_noticed(tmp_path):
    """GDCM would fill them with whatever lies in memory."""
    write_slices(tmp_path, scan())
    path = sorted(tmp_path.iterdir())[3]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData[:-100]
    dataset.save_as(path)
    with pytest.raises(ValueError, match=rf"{path.name} is damaged: 780 bytes of pixels instead of 880"):
        read_volume(tmp_path)


def test_images_of_one_instance_uid_are_told_apart_by_their_places(tmp_path):
    """Some anonymisers give all images the same."""
    write_slices(tmp_path, scan())
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.save_as(path)
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)


def test_acquisitions_that_share_images_where_they_meet_are_one_scan(tmp_path):
    volume = scan()
    for acquisition, numbers in (("1", range(9)), ("2", range(8, 17)), ("3", range(16, 24))):
        part = Volume(volume.voxels[list(numbers)], volume.ijk_to_ras)
        write_slices(tmp_path, part, list(numbers), acquisition=acquisition)
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, volume.voxels)
    assert read.notes == ()


def test_copies_of_an_image_are_dropped(tmp_path):
    write_slices(tmp_path / "a", scan())
    write_slices(tmp_path / "b", scan())
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)


def test_damaged_images_are_said_to_be_left_out(tmp_path):
    write_slices(tmp_path, scan())
    for path in sorted(tmp_path.iterdir())[:2]:
        path.write_bytes(path.read_bytes()[:300])
    read = read_volume(tmp_path)
    assert any(
        "2 DICOM files are no images, damaged or not named in UTF-8, and were left out" in note for note in read.notes
    )


@pytest.mark.parametrize("missing", ["0028|0030", "0020|0037", "0020|0032"])
def test_images_without_a_place_are_refused(missing, tmp_path, monkeypatch):
    """A writer always adds these tags, so they are hidden from the reader."""
    write_slices(tmp_path, scan())
    has = sitk.ImageFileReader.HasMetaDataKey
    monkeypatch.setattr(sitk.ImageFileReader, "HasMetaDataKey", lambda self, key: key != missing and has(self, key))
    with pytest.raises(ValueError, match="lack position, orientation or pixel spacing|same position"):
        read_volume(tmp_path)


@pytest.mark.parametrize("spacing", ["0\\0", "1.5"])
def test_images_without_a_usable_pixel_spacing_are_refused(spacing, tmp_path):
    """ITK would take 1 mm."""
    write_slices(tmp_path, scan())
    for path in tmp_path.iterdir():
        header = pydicom.dcmread(path)
        header.add(pydicom.DataElement("PixelSpacing", "DS", spacing.split("\\")))
        header.save_as(path)
    with pytest.raises(ValueError, match="lack position, orientation or pixel spacing"):
        read_volume(tmp_path)


def test_rounding_of_directions_does_not_split_a_series(tmp_path):
    straight = scan()
    tilted = straight.ijk_to_ras.copy()
    for part, cosine in (("a", 0.000499), ("b", 0.000501)):
        tilted[2, 0] = cosine * SPACING[0]
        first = 0 if part == "a" else 12
        half = Volume(straight.voxels[first : first + 12], tilted)
        write_slices(tmp_path / part, half, heights=list(range(first, first + 12)), instance=part.replace("b", "2"))
    assert read_volume(tmp_path).voxels.shape == SHAPE


def test_slow_drift_of_the_spacing_is_noticed(tmp_path):
    volume = scan((60, 20, 22))
    heights = np.cumsum([0.0] + [1.0] * 30 + [1.04] * 29).tolist()
    write_slices(tmp_path, volume, heights=heights)
    assert "unevenly spaced" in read_volume(tmp_path).notes[0]


def test_slices_beside_the_stack_are_refused(tmp_path):
    volume = scan()
    write_slices(tmp_path / "a", Volume(volume.voxels[:12], volume.ijk_to_ras))
    moved = volume.ijk_to_ras.copy()
    moved[0, 3] += 15
    write_slices(tmp_path / "b", Volume(volume.voxels[12:], moved), heights=list(range(12, 24)), instance="2")
    with pytest.raises(ValueError, match="beside a straight stack"):
        read_volume(tmp_path)


def test_one_file_of_a_series_asks_for_the_folder(tmp_path):
    write_slices(tmp_path, scan())
    path = sorted(tmp_path.iterdir())[0]
    with pytest.raises(ValueError, match="one DICOM file; give the folder"):
        read_volume(path)


def test_one_image_is_not_a_volume(tmp_path):
    write_slices(tmp_path, scan((1, 20, 22)))
    with pytest.raises(ValueError, match="only one image"):
        read_volume(tmp_path)


def test_a_file_whose_name_is_not_utf8_is_left_out_with_a_note(tmp_path):
    """SimpleITK would end the process at such a name."""
    write_slices(tmp_path, scan())
    first = sorted(tmp_path.iterdir())[0]
    odd = os.fsencode(tmp_path) + b"/M\xfcller.dcm"
    try:
        shutil.copy(first, odd)
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    read = read_volume(tmp_path)
    assert read.voxels.shape == SHAPE
    assert any("1 DICOM files are no images, damaged or not named in UTF-8" in note for note in read.notes)
