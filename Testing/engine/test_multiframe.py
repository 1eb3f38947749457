"""Enhanced (multi-frame) DICOM files: their frames are placed one by one, like the images of a series."""

import numpy as np
import pydicom
import pytest

from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.volume import Volume
from support import phantoms
from support.phantom_files import SHAPE, compress, scan, write_enhanced, write_slices

ALL = range(SHAPE[0])


@pytest.mark.parametrize("shared", [True, False])
def test_a_multi_frame_file_is_read_with_its_place_and_values(shared, tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan(), shared=shared)
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    np.testing.assert_allclose(read.ijk_to_ras, scan().ijk_to_ras, atol=1e-4)
    assert read.modality == "CT"
    assert read.notes == ()


def test_the_same_scan_is_read_alike_from_one_file_and_from_many(tmp_path):
    write_enhanced(tmp_path / "one" / "ct.dcm", scan())
    write_slices(tmp_path / "many", scan())
    one, many = read_volume(tmp_path / "one"), read_volume(tmp_path / "many")
    np.testing.assert_array_equal(one.voxels, many.voxels)
    assert one.grid.same_as(many.grid)


def test_frames_in_any_order_are_put_in_order(tmp_path):
    order = np.random.default_rng(0).permutation(SHAPE[0])
    write_enhanced(tmp_path / "ct.dcm", scan(), [{"height": int(n), "plane": int(n)} for n in order])
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    np.testing.assert_allclose(read.ijk_to_ras, scan().ijk_to_ras, atol=1e-4)


def test_a_missing_frame_is_interpolated_and_said(tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan(), [{"height": n, "plane": n} for n in ALL if n != 12])
    read = read_volume(tmp_path)
    assert read.voxels.shape == SHAPE
    np.testing.assert_allclose(read.voxels[[11, 13]], scan().voxels[[11, 13]], atol=0.51)
    assert "gaps of 2.00 to 4.00 mm" in read.notes[0]


def test_a_large_hole_between_frames_is_refused(tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan(), [{"height": n, "plane": n} for n in ALL if not 8 <= n < 16])
    with pytest.raises(ValueError, match=r"slices are missing, a hole of 18\.0 mm"):
        read_volume(tmp_path)


def test_uneven_frames_keep_their_places(tmp_path):
    """ITK would take 1 mm for all, as the distances differ."""
    heights = np.cumsum([0.0] + [1.0, 1.3] * 12)[:24]
    write_enhanced(tmp_path / "ct.dcm", scan(), [{"height": float(h), "plane": n} for n, h in enumerate(heights)])
    read = read_volume(tmp_path)
    height_mm = read.spacing_mm[2] * (len(read.voxels) - 1)
    assert height_mm == pytest.approx(2 * heights[-1], abs=1e-3)
    assert "unevenly spaced" in read.notes[0]


def test_tilted_frames_are_straightened(tmp_path):
    frames = [{"height": n, "plane": n, "shift_mm": (0, 0.4 * n, 0)} for n in ALL]
    write_enhanced(tmp_path / "ct.dcm", scan(), frames)
    read = read_volume(tmp_path)
    assert read.grid.is_orthogonal
    assert "sheared by 11.3 degrees" in read.notes[0]
    straight = scan()
    expected = phantoms.centroid_ras_mm(straight.voxels > 50, straight.grid)
    k = straight.grid.ijk_of(expected)[2]
    found = phantoms.centroid_ras_mm(read.voxels > 50, read.grid)
    np.testing.assert_allclose(found, expected - [0, 0.4 * k, 0], atol=0.3)  # posterior in LPS is -A


@pytest.mark.parametrize("what", ["temporal", "acquisition", "stack"])
def test_phases_in_one_file_are_told_apart(what, tmp_path):
    both = Volume(np.concatenate([scan().voxels, scan().voxels + 50]), scan().ijk_to_ras)
    frames = [{"height": n % 24, "plane": n, what: 1 + n // 24} for n in range(48)]
    write_enhanced(tmp_path / "ct.dcm", both, frames)
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    assert "2 CT stacks" in read.notes[0]


@pytest.mark.parametrize("acquisitions", [(1, 1), (1, 2)])
def test_phases_in_two_files_of_one_series_are_told_apart(acquisitions, tmp_path):
    for name, number in zip("ab", acquisitions, strict=True):
        write_enhanced(tmp_path / f"{name}.dcm", scan(), AcquisitionNumber=number)
    read = read_volume(tmp_path)
    assert read.voxels.shape == SHAPE
    assert "2 CT stacks" in read.notes[0]


def test_phases_in_files_of_one_concatenation_are_told_apart_by_acquisition(tmp_path):
    for name, number in (("a", 1), ("b", 2)):
        write_enhanced(tmp_path / f"{name}.dcm", scan(), AcquisitionNumber=number, ConcatenationUID="1.2.9")
    assert read_volume(tmp_path).voxels.shape == SHAPE


def test_a_scan_that_is_stored_in_two_files_is_put_together(tmp_path):
    for name, part in (("a", range(10)), ("b", range(10, 24))):
        frames = [{"height": n, "plane": n} for n in part]
        write_enhanced(tmp_path / f"{name}.dcm", scan(), frames, ConcatenationUID="1.2.9")
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)


def test_frames_that_nothing_tells_apart_are_refused(tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan(), [{"height": n // 2, "plane": n} for n in ALL])
    with pytest.raises(ValueError, match="same position"):
        read_volume(tmp_path)


def test_frames_of_a_scout_are_left_out(tmp_path):
    frames = [{"height": n, "plane": n, "kind": "LOCALIZER" if n < 2 else "VOLUME"} for n in ALL]
    write_enhanced(tmp_path / "ct.dcm", scan(), frames)
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels[2:])


def test_a_scout_in_a_file_of_its_own_is_left_out(tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan())
    write_enhanced(tmp_path / "scout.dcm", scan((30, 20, 22)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)


@pytest.mark.parametrize("shared", [True, False])
def test_every_frame_is_rescaled_by_its_own_slope_and_intercept(shared, tmp_path):
    """ITK applies the first frame's to all; here that is a scout's."""
    frames = [{"height": n, "plane": n, "rescale": (1 + n % 2, -1024 + n)} for n in ALL]
    frames[0] |= {"kind": "LOCALIZER", "rescale": (3, 7)}
    write_enhanced(tmp_path / "ct.dcm", scan(), frames, shared=shared)
    read = read_volume(tmp_path).voxels
    stored = scan().voxels + 1024
    for n in range(1, 24):
        np.testing.assert_allclose(read[n - 1], stored[n] * (1 + n % 2) - 1024 + n)


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.7.3"])
def test_fractional_rescaling_is_kept_whatever_the_kind_of_file(sop_class, tmp_path):
    frames = [{"height": n, "plane": n, "rescale": (0.25, -10.5)} for n in ALL]
    write_enhanced(tmp_path / "ct.dcm", scan(), frames, SOPClassUID=sop_class)
    np.testing.assert_allclose(read_volume(tmp_path).voxels, (scan().voxels + 1024) * 0.25 - 10.5)


@pytest.mark.parametrize("how", ["RLE", "JPEG", "JPEG2000"])
def test_compressed_frames_are_read(how, tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan())
    compress(tmp_path / "ct.dcm", how)
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)


@pytest.mark.parametrize(
    ("frames", "sop_class"),
    [
        ([{"height": n, "plane": n, "rescale": (1, n)} for n in ALL], "1.2.840.10008.5.1.4.1.1.2.1"),
        (None, "1.2.840.10008.5.1.4.1.1.7.3"),  # of which ITK does not heed the functional groups
    ],
)
def test_compressed_frames_that_only_itk_decodes_must_be_rescaled_alike(frames, sop_class, tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan(), frames, SOPClassUID=sop_class)
    compress(tmp_path / "ct.dcm", "JPEG2000")
    with pytest.raises(ValueError, match=r"ct\.dcm are compressed and not all rescaled to HU in one known way"):
        read_volume(tmp_path)


def test_missing_pixels_are_noticed(tmp_path):
    """GDCM would fill them with whatever lies in memory."""
    write_enhanced(tmp_path / "ct.dcm", scan())
    dataset = pydicom.dcmread(tmp_path / "ct.dcm")
    dataset.PixelData = dataset.PixelData[:-400]
    dataset.save_as(tmp_path / "ct.dcm")
    with pytest.raises(ValueError, match=r"ct\.dcm is damaged: 20720 bytes of pixels instead of 21120"):
        read_volume(tmp_path)


def test_a_missing_file_of_a_scan_in_several_is_noticed(tmp_path):
    for number in (1, 2):
        frames = [{"height": n, "plane": n} for n in range(8 * number - 8, 8 * number)]
        top = {"ConcatenationUID": "1.2.9", "InConcatenationNumber": number, "InConcatenationTotalNumber": 3}
        write_enhanced(tmp_path / f"{number}.dcm", scan(), frames, **top)
    with pytest.raises(ValueError, match="only 2 of the 3 files of the scan are there"):
        read_volume(tmp_path)


def test_cardiac_phases_half_a_slice_apart_are_told_apart(tmp_path):
    both = Volume(np.concatenate([scan().voxels, scan().voxels + 50]), scan().ijk_to_ras)
    frames = [{"height": n % 24 + n // 24 * 0.5, "plane": n, "cardiac": 40 + n // 24 * 35} for n in range(48)]
    write_enhanced(tmp_path / "ct.dcm", both, frames)
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)


def test_phases_that_only_two_marks_together_tell_apart(tmp_path):
    four = Volume(np.concatenate([scan().voxels + 50 * n for n in range(4)]), scan().ijk_to_ras)
    frames = [{"height": n % 24, "plane": n, "temporal": 1 + n // 24 % 2, "stack": 1 + n // 48} for n in range(96)]
    write_enhanced(tmp_path / "ct.dcm", four, frames)
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    assert "4 CT stacks" in read.notes[0]


def test_a_multi_frame_file_that_does_not_place_its_frames_is_refused(tmp_path, monkeypatch):
    write_enhanced(tmp_path / "ct.dcm", scan())
    monkeypatch.setattr("AttentionUNetSegmentationLib.formats.dicom.multiframe.PER_FRAME", "SomethingElse")
    with pytest.raises(ValueError, match="lack position, orientation or pixel spacing"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"\x00\x52\x30\x92SQ", b"\x00\x52\x30\x92OB", "lack position"),  # the functional groups are no sequence
        (b"\x20\x00\x13\x91SQ", b"\x20\x00\x13\x91S{", "holds no DICOM images"),  # a type that does not exist
        (b"\x28\x00\x08\x00IS\x02\x0024", b"\x28\x00\x08\x00IS\x02\x0099", "holds no DICOM images"),
    ],
)
def test_a_multi_frame_file_with_a_damaged_header_is_refused_in_words(old, new, message, tmp_path):
    path = tmp_path / "ct.dcm"
    write_enhanced(path, scan())
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_volume(tmp_path)


def test_a_rescaling_that_is_not_finite_is_refused(tmp_path):
    write_enhanced(tmp_path / "ct.dcm", scan(), [{"height": n, "plane": n, "rescale": ("1E400", "0")} for n in ALL])
    with pytest.raises(ValueError, match=r"holds no DICOM images that can be read \(ct\.dcm\)"):
        read_volume(tmp_path)


def test_a_multi_frame_file_with_a_damaged_header_is_left_out_beside_a_good_scan(tmp_path):
    write_slices(tmp_path, scan())
    write_enhanced(tmp_path / "damaged.dcm", scan(), SeriesInstanceUID="1.9")
    content = (tmp_path / "damaged.dcm").read_bytes()
    (tmp_path / "damaged.dcm").write_bytes(content.replace(b"\x20\x00\x13\x91SQ", b"\x20\x00\x13\x91S{"))
    read = read_volume(tmp_path)
    np.testing.assert_allclose(read.voxels, scan().voxels)
    assert "1 DICOM files are no images, damaged or not named in UTF-8, and were left out (damaged.dcm)" in read.notes


def test_single_images_with_functional_groups_form_a_volume(tmp_path):
    for n in ALL:
        write_enhanced(tmp_path / f"{n}.dcm", scan(), [{"height": n, "plane": n}])
    np.testing.assert_allclose(read_volume(tmp_path).voxels, scan().voxels)
