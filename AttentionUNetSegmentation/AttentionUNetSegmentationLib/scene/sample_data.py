"""The bundled synthetic CT, as Slicer's Sample Data module offers it; its file is part of the module."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

RESOURCES = Path(__file__).resolve().parents[2] / "Resources"
SAMPLE = "SyntheticAbdomenCT"
SAMPLE_FILE = RESOURCES / "SampleData" / f"{SAMPLE}.nrrd"
SAMPLE_SHA256 = "b144531dd19f9cbc571d05b1b18aa7147654242434e7d26ed8de6c2cc86b62e5"


def register() -> None:
    """Offer the CT in the Sample Data module."""
    import SampleData

    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):  # newer than Slicer 5.10
        SampleData.SampleDataLogic.registerCustomSampleDataCategory("AttentionUNet", title=_("Attention U-Net"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="AttentionUNet",
        sampleName=SAMPLE,
        thumbnailFileName=str(RESOURCES / "Icons" / f"{SAMPLE}.png"),
        uris=SAMPLE_FILE.as_uri(),
        fileNames=SAMPLE_FILE.name,
        nodeNames=SAMPLE,
        checksums=f"SHA256:{SAMPLE_SHA256}",
    )
