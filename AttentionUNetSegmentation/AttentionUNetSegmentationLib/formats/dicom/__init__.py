"""DICOM folders: which series, which images of it, in what order and place, in HU."""
