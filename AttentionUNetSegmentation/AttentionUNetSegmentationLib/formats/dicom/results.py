"""A result as DICOM objects: segmentation (DICOM SEG) and measurements (DICOM SR, template TID 1500), by highdicom.

Both belong to the study of the CT. What they say of patient and study is copied from its images.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...volume import OrganMask, OrganMeasure, Segmentation
from .source import lay_on_grid, source_images

if TYPE_CHECKING:
    import highdicom as hd
    from pydicom import Dataset
    from pydicom.sr.coding import Code

SEG_FILE, SR_FILE = "segmentation.dcm", "measurements.dcm"
SEG_SERIES, SR_SERIES = 300, 301  # numbers, which need not be unique in a study
SOFTWARE = "SlicerAttentionUNet"


def write_dicom(segmentation: Segmentation, source_folder: Path, folder: Path) -> None:
    """Write a segmentation and its measures as DICOM SEG and SR; needs highdicom.

    Args:
        segmentation: With the organs' measures, and the model's name and version in its provenance.
        source_folder: Folder of the DICOM files that the CT was read from.
        folder: Where to write ``SEG_FILE`` and ``SR_FILE``.

    Raises:
        ValueError: If the voxels are not those of the images (they were resampled), nothing was found, or the images
            lack what the standard asks for; nothing is written.
        OSError: If a file cannot be written.
    """
    headers, slices = source_images(source_folder, segmentation.grid)
    found = [measure for measure in segmentation.organ_measures if measure.voxels]
    if not found:
        raise ValueError("no organ was found")
    if bare := [measure.organ.name for measure in found if not measure.organ.code]:
        raise ValueError(f"the model gives no SNOMED code for {', '.join(bare)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of values that break a rule in the images' headers
            lay_on_grid(headers, slices, segmentation.grid)
            seg = _segmentation_object(segmentation, found, headers, slices)
            report = _measurement_report(segmentation, found, headers, seg)
            files = {SEG_FILE: _encoded(seg), SR_FILE: _encoded(report)}
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # what highdicom raises at such headers
        raise ValueError(f"the headers of the images do not allow it ({error})") from error
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _encoded(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _segmentation_object(
    segmentation: Segmentation, found: list[OrganMeasure], headers: list[Dataset], slices: list[int]
) -> hd.seg.Segmentation:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    provenance = segmentation.provenance
    algorithm = hd.AlgorithmIdentificationSequence(
        provenance["model"], codes.DCM.ArtificialIntelligence, provenance["model_version"], source=SOFTWARE
    )
    numbers = np.zeros(256, np.uint8)  # label -> segment
    numbers[[measure.organ.value for measure in found]] = np.arange(1, len(found) + 1)
    return hd.seg.Segmentation(
        headers,
        numbers[segmentation.labels[slices]],
        hd.seg.SegmentationTypeValues.BINARY,
        [_segment(number, measure.organ, algorithm) for number, measure in enumerate(found, start=1)],
        series_number=SEG_SERIES,
        content_label="ORGANS",
        series_description="Attention U-Net: organs",
        **_made_by(segmentation),
    )


def _segment(number: int, organ: OrganMask, algorithm: hd.AlgorithmIdentificationSequence) -> hd.seg.SegmentDescription:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    segment = hd.seg.SegmentDescription(
        number,
        organ.name,
        codes.SCT.AnatomicalStructure,
        _code(organ),
        hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm,
        tracking_uid=hd.UID(),
        tracking_id=organ.name,
        display_color=hd.color.CIELabColor.from_rgb(*organ.color_rgb),
    )
    if side := _side(organ):
        coded = hd.sr.CodedConcept.from_code(side)
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [coded]
    return segment


def _measurement_report(
    segmentation: Segmentation, found: list[OrganMeasure], headers: list[Dataset], seg: hd.seg.Segmentation
) -> hd.sr.EnhancedSR:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    made_by = _made_by(segmentation)
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        hd.UID(),
        name=segmentation.provenance["model"],
        manufacturer_name=made_by["manufacturer"],
        model_name=made_by["manufacturer_model_name"],
        serial_number=made_by["device_serial_number"],
    )
    report = hd.sr.MeasurementReport(
        hd.sr.ObservationContext(hd.sr.ObserverContext(codes.DCM.Device, device)),
        codes.LN.CTUnspecifiedBodyRegion,
        [_measurement_group(segmentation, *numbered, headers, seg) for numbered in enumerate(found, start=1)],
    )
    return hd.sr.EnhancedSR(
        [seg, *headers],
        report[0],
        series_number=SR_SERIES,
        is_complete=True,
        series_description="Attention U-Net: measurements",
        **made_by,
    )


def _measurement_group(
    segmentation: Segmentation, number: int, measure: OrganMeasure, headers: list[Dataset], seg: hd.seg.Segmentation
) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    assert measure.mean_hu is not None  # of an organ that was found
    organ, segment = measure.organ, seg.SegmentSequence[number - 1]
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        hd.sr.TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
        referenced_segment=hd.sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            number,
            source_series=hd.sr.SourceSeriesForSegmentation(headers[0].SeriesInstanceUID),
        ),
        finding_category=codes.SCT.AnatomicalStructure,
        finding_type=_code(organ),
        finding_sites=[hd.sr.FindingSite(_code(organ), _side(organ))],
        algorithm_id=hd.sr.AlgorithmIdentification(
            segmentation.provenance["model"], segmentation.provenance["model_version"]
        ),
        measurements=[
            hd.sr.Measurement(codes.SCT.Volume, round(measure.volume_ml, 3), Code("ml", "UCUM", "milliliter")),
            hd.sr.Measurement(
                codes.DCM.AttenuationCoefficient,
                round(measure.mean_hu, 2),
                codes.UCUM.HounsfieldUnit,
                derivation=codes.SCT.Mean,
            ),
        ],
    )


def _made_by(segmentation: Segmentation) -> dict[str, Any]:
    """What identifies a new object and the software that makes it; the weights stand for the device."""
    import highdicom as hd

    provenance = segmentation.provenance
    return {
        "series_instance_uid": hd.UID(),
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "manufacturer": SOFTWARE,
        "manufacturer_model_name": provenance["model"],
        "software_versions": [provenance["engine_version"], provenance["model_version"]],
        "device_serial_number": provenance["model_sha256"],
        "specific_character_set": "ISO_IR 192",
    }


def _code(organ: OrganMask) -> Code:
    from pydicom.sr.coding import Code

    return Code(organ.code, "SCT", organ.meaning)


def _side(organ: OrganMask) -> Code | None:
    from pydicom.sr.coding import Code

    return Code(organ.modifier_code, "SCT", organ.modifier_meaning) if organ.modifier_code else None
