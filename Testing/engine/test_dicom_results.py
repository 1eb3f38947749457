"""DICOM SEG and SR: they hold the result voxel by voxel, refer to the images, and follow the standard."""

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from AttentionUNetSegmentationLib.command.batch import run_case
from AttentionUNetSegmentationLib.command.cases import Case, check_dicom
from AttentionUNetSegmentationLib.formats.dicom.results import SEG_FILE, SR_FILE, write_dicom
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.models.loading import Model
from AttentionUNetSegmentationLib.pipeline import Options
from support import phantoms
from support.command_runs import ct, segment, tree
from support.dicom_frame_cases import frames, joined
from support.dicom_objects import (
    FOUND,
    PROVENANCE,
    by_dcmqi,
    by_highdicom,
    faults,
    labels_from,
    made_up,
    measurements_by_dcmqi,
)
from support.dicom_parts import TILT_MM, Part, series, set_to
from support.phantom_files import LPS, SHAPE, scan, write_slices
from support.shared_data import DATA, reason

hd = pytest.importorskip("highdicom", reason="needs highdicom: pip install '.[dicom]'")

OBLIQUE = phantoms.rotation(12, -8, 25) @ LPS
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
ANISOTROPIC = set_to(PixelSpacing=[1.7, 0.6])
EVERY = range(SHAPE[0])
SERIES = [
    series("plain", Part()),
    series("oblique", Part(directions=OBLIQUE)),
    series("coronal", Part(directions=CORONAL)),
    series("reversed", Part(directions=LPS * [1, 1, -1])),
    series("anisotropic", Part(), change=ANISOTROPIC),
    series("oblique, reversed and anisotropic", Part(directions=OBLIQUE * [1, 1, -1]), change=ANISOTROPIC),
    series("slices a little uneven", Part([n + 0.02 * (n % 2) for n in EVERY])),
    series("wrong spacing, no thickness", Part(), change=set_to(SpacingBetweenSlices=-0.7, SliceThickness=None)),
    series("tilted by less than rounding", Part(shift_mm=0.004)),
]
MULTI_FRAME = [
    frames("frames in order", Part(directions=OBLIQUE)),
    frames("frames reversed", Part(list(EVERY)[::-1])),
]
TWO_PHASES = [{"temporal": n} for n in (1, 2) for _ in EVERY]


def written(case, folder):
    case.write(folder / "ct")
    result = made_up(folder / "ct")
    (folder / "out").mkdir()
    write_dicom(result, folder / "ct", folder / "out")
    return result, folder / "out" / SEG_FILE, folder / "out" / SR_FILE


@pytest.fixture(scope="module", params=SERIES + MULTI_FRAME, ids=lambda case: case.name)
def each(request, tmp_path_factory):
    """A result on each of the series, with its SEG and SR."""
    return written(request.param, tmp_path_factory.mktemp("series"))


def test_segments_have_the_very_voxels_of_the_result(each):
    result, seg, _ = each
    np.testing.assert_array_equal(labels_from(by_highdicom(seg), result.grid), result.labels)


@pytest.mark.slow
def test_dcmqi_reads_the_very_voxels_of_the_result(each, tmp_path):
    result, seg, _ = each
    np.testing.assert_array_equal(labels_from(by_dcmqi(seg, tmp_path / "dcmqi"), result.grid), result.labels)


@pytest.mark.slow
def test_both_files_follow_the_standard(each):
    _, seg, report = each
    assert (faults(seg), faults(report)) == ([], [])


@pytest.mark.parametrize("case", [SERIES[0], SERIES[5]], ids=lambda case: case.name)
def test_each_frame_refers_to_the_image_it_lies_on(case, tmp_path):
    result, path, _ = written(case, tmp_path)
    seg, seen = hd.seg.segread(path), 0
    for header in map(pydicom.dcmread, (tmp_path / "ct").rglob("*.dcm")):
        k = round(result.grid.ijk_of(LPS @ np.array(header.ImagePositionPatient, float))[2])
        if result.labels[k].any():
            pixels = seg.get_pixels_by_source_instance([header.SOPInstanceUID])[0]
            for n, organ in enumerate(FOUND):
                np.testing.assert_array_equal(pixels[..., n], result.labels[k] == organ.value)
            seen += 1
    assert seen == np.count_nonzero(result.labels.any(axis=(1, 2))) > 10


@pytest.mark.parametrize("case", MULTI_FRAME, ids=lambda case: case.name)
def test_each_frame_refers_to_the_frame_it_lies_on(case, tmp_path):
    result, path, _ = written(case, tmp_path)
    seg, source = hd.seg.segread(path), pydicom.dcmread(tmp_path / "ct" / "ct.dcm")
    for number, frame in enumerate(source.PerFrameFunctionalGroupsSequence, start=1):
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        plane = result.labels[round(result.grid.ijk_of(LPS @ position)[2])]
        if plane.any():
            pixels = seg.get_pixels_by_source_frame(source.SOPInstanceUID, [number])[0]
            for n, organ in enumerate(FOUND):
                np.testing.assert_array_equal(pixels[..., n], plane == organ.value)


def test_segments_carry_codes_sides_colours_and_the_model(tmp_path):
    _, path, _ = written(SERIES[0], tmp_path)
    seg = hd.seg.segread(path)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == [organ.name for organ in FOUND]
    for described, organ in zip(seg.SegmentSequence, FOUND, strict=True):
        kind = described.SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == (organ.code, "SCT", organ.meaning)
        sides = [side.CodeValue for side in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        assert sides == [organ.modifier_code] * bool(organ.modifier_code)
        color = hd.color.CIELabColor.from_dicom_value(described.RecommendedDisplayCIELabValue).to_rgb()
        assert np.abs(np.subtract(color, organ.color_rgb)).max() <= 1
        algorithm = described.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("abdomen-ct", "0.8.0")
        assert described.SegmentAlgorithmType == "AUTOMATIC" and described.TrackingUID
    assert seg.DeviceSerialNumber == PROVENANCE["model_sha256"]
    assert seg.SeriesInstanceUID != "1.2.3" and seg.StudyInstanceUID == "1.2" and seg.FrameOfReferenceUID == "1.2.1"


def test_the_report_gives_the_volume_and_mean_of_each_segment(tmp_path):
    result, seg_path, path = written(SERIES[1], tmp_path)
    seg, report = hd.seg.segread(seg_path), hd.sr.srread(path)
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    groups = report.content.get_volumetric_roi_measurement_groups()
    measures = [measure for measure in result.organ_measures if measure.voxels]
    assert len(groups) == len(measures) == 3
    for number, (group, measure) in enumerate(zip(groups, measures, strict=True), start=1):
        volume, mean = group.get_measurements()
        assert (volume.value, volume.unit.value) == (round(measure.volume_ml, 3), "ml")
        assert (mean.value, mean.unit.value) == (round(measure.mean_hu, 2), "[hnsf'U]")
        assert group.tracking_uid == seg.get_segment_description(number).TrackingUID
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert segment[0].ReferencedSOPSequence[0].ReferencedSegmentNumber == number
        assert segment[1].value == "1.2.3"  # the CT's series
        (site,) = group.finding_sites
        assert site.value.value == measure.organ.code
        assert (site.laterality.value if site.laterality else "") == measure.organ.modifier_code


def test_dcmqi_reads_the_measurements(tmp_path):
    result, seg, report = written(SERIES[1], tmp_path)
    measures = [measure for measure in result.organ_measures if measure.voxels]
    found = measurements_by_dcmqi(report, tmp_path)
    for number, (read, measure) in enumerate(zip(found, measures, strict=True), start=1):
        values = [float(item["value"]) for item in read["measurementItems"]]
        assert values == [round(measure.volume_ml, 3), round(measure.mean_hu, 2)]
        assert (read["ReferencedSegment"], read["SourceSeriesForImageSegmentation"]) == (number, "1.2.3")
        assert read["segmentationSOPInstanceUID"] == pydicom.dcmread(seg).SOPInstanceUID


def test_patient_and_study_are_the_source_images_own(tmp_path):
    tags = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "PatientBirthDate": "19500102"}
    tags |= {"PatientSex": "M", "PatientAge": "070Y", "AccessionNumber": "A1", "StudyDescription": "Früh"}
    for path in written(series("named", Part(), change=set_to(**tags)), tmp_path)[1:]:
        made = pydicom.dcmread(path)
        assert made.SpecificCharacterSet == "ISO_IR 192"
        assert (made.PatientName, made.StudyDescription) == ("Müller^Jörg", "Früh")
        assert (made.PatientID, made.PatientBirthDate) == ("P1", "19500102")
        assert (made.PatientSex, made.PatientAge) == ("M", "070Y")
        assert (made.StudyInstanceUID, made.StudyDate, made.AccessionNumber) == ("1.2", "20200101", "A1")
    unknown = pydicom.dcmread(written(SERIES[0], tmp_path / "unnamed")[1])
    assert (unknown.PatientName, unknown.PatientBirthDate, unknown.PatientSex) == ("", "", "")


def one_uid(header):
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"


def own_series(header):
    header.SeriesInstanceUID = f"1.3.{header.InstanceNumber}"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (series("gantry tilt", Part(shift_mm=TILT_MM)), "sheared"),
        (series("a slice is missing", Part([n for n in EVERY if n != 12])), "missing or unevenly spaced"),
        (series("a slice lies aside", Part([n + 0.3 * (n == 12) for n in EVERY])), "missing or unevenly spaced"),
        (frames("two phases", joined(Part(), Part(brighter_hu=90)), TWO_PHASES), "one with other images"),
        (frames("spacing in each frame", shared=False), "PixelMeasuresSequence"),
        (series("one UID for all images", Part(), change=one_uid), "share a SOPInstanceUID"),
        (series("a series for each image", Part(), change=own_series), "part of the same series"),
        (series("no reference", Part(), change=set_to(FrameOfReferenceUID=None)), "has no FrameOfReferenceUID"),
        (series("no study", Part(), change=set_to(StudyInstanceUID="")), r"dcm has no StudyInstanceUID"),
        (series("a sex that is none", Part(), change=set_to(PatientSex="MALE")), "'MALE' is not a valid"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_cannot_be_referred_to_is_told_and_nothing_is_written(case, reason, tmp_path):
    case.write(tmp_path / "ct")
    result = made_up(tmp_path / "ct")
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=reason):
        write_dicom(result, tmp_path / "ct", tmp_path / "out")
    assert tree(tmp_path / "out") == []


def test_a_result_without_organs_or_codes_is_told(tmp_path):
    write_slices(tmp_path / "ct", scan())
    result = made_up(tmp_path / "ct")
    nothing = [replace(measure, voxels=0) for measure in result.organ_measures]
    with pytest.raises(ValueError, match="no organ was found"):
        write_dicom(replace(result, organ_measures=nothing), tmp_path / "ct", tmp_path)
    bare = [replace(measure, organ=replace(measure.organ, code="")) for measure in result.organ_measures]
    with pytest.raises(ValueError, match="no SNOMED code for pancreas, right kidney, left kidney"):
        write_dicom(replace(result, organ_measures=bare), tmp_path / "ct", tmp_path)


def test_a_folder_that_has_changed_since_it_was_read_is_told(tmp_path):
    write_slices(tmp_path / "ct", scan())
    result = made_up(tmp_path / "ct")
    sorted((tmp_path / "ct").iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)[0].unlink()
    with pytest.raises(ValueError, match="changed"):
        write_dicom(result, tmp_path / "ct", tmp_path)


def model():
    """Finds what is as bright as the ball of ``scan``."""
    return Model(phantoms.spec(phantoms.LABELS[1:2]), phantoms.ThresholdNetwork((-100.0, 200.0)))


@pytest.mark.slow
def test_a_case_gets_its_files_or_a_warning(tmp_path):
    write_slices(tmp_path / "ct", scan())
    case = Case("ct", tmp_path / "ct", tmp_path / "out", dicom=True)
    report = run_case(case, model(), Options(device="cpu"))
    assert {SEG_FILE, SR_FILE} < set(report["files"]) and not any("DICOM" in text for text in report["warnings"])
    labels = read_volume(tmp_path / "out" / "labels.nii.gz")
    found = by_highdicom(tmp_path / "out" / SEG_FILE)
    np.testing.assert_array_equal(labels_from(found, labels.grid), labels.voxels)
    again = run_case(replace(case, dicom=False), model(), Options(device="cpu"))
    assert SEG_FILE not in tree(tmp_path / "out") and again["run"] != report["run"]
    write_slices(tmp_path / "tilted", scan(), shift_per_slice_mm=TILT_MM)
    report = run_case(replace(case, source=tmp_path / "tilted", folder=tmp_path / "2"), model(), Options(device="cpu"))
    assert "no DICOM SEG and SR were written: the scan is sheared (gantry tilt)" in report["warnings"][-1]
    assert json.loads((tmp_path / "2" / "report.json").read_text())["warnings"] == report["warnings"]
    assert SEG_FILE not in tree(tmp_path / "2") and "labels.nii.gz" in tree(tmp_path / "2")


def test_inputs_that_are_no_dicom_are_refused_before_anything_is_computed(tiny_model, tmp_path, capsys):
    write_slices(tmp_path / "ct", scan())
    other = ct(tmp_path / "other.nii.gz")
    assert segment(tiny_model, tmp_path / "ct", other, "--output-dir", tmp_path / "out", "--dicom") == 1
    told = f"error: {other} is no DICOM folder: --dicom writes files that refer to DICOM images\n"
    assert capsys.readouterr().err == told
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_asks_for_them(tiny_model, tmp_path):
    write_slices(tmp_path / "ct", scan())
    assert segment(tiny_model, tmp_path / "ct", "--output-dir", tmp_path / "out", "--dicom", "--no-attention") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["run"]["dicom"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("AttentionUNetSegmentationLib.command.cases.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'slicer-attention-unet\[dicom\]'"):
        check_dicom([])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason=reason(DATA))
def test_a_real_ct(tmp_path):
    (tmp_path / "ct").mkdir()
    for path in (DATA / "ct_dicom_slab" / "dicom").iterdir():
        header = pydicom.dcmread(path)
        assert not (header.SOPInstanceUID or header.SeriesInstanceUID or header.StudyInstanceUID)  # anonymised away
        header.SOPClassUID, header.SOPInstanceUID = header.file_meta[0x20002].value, header.file_meta[0x20003].value
        header.SeriesInstanceUID, header.StudyInstanceUID = "1.2.3", "1.2"
        header.save_as(tmp_path / "ct" / path.name)
    result, seg = made_up(tmp_path / "ct"), tmp_path / SEG_FILE
    write_dicom(result, tmp_path / "ct", tmp_path)
    np.testing.assert_array_equal(labels_from(by_highdicom(seg), result.grid), result.labels)
    assert (faults(seg), faults(tmp_path / SR_FILE)) == ([], [])
    np.testing.assert_array_equal(labels_from(by_dcmqi(seg, tmp_path / "dcmqi"), result.grid), result.labels)
