"""What a result is downloaded as: the files that ``attention-unet segment`` writes, and a zip archive of them."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..atomic import move_into_place, scratch_folder
from ..command.batch import write_result
from ..command.cases import REPORT_FILE, files_of_result
from ..formats.dicom.results import write_dicom
from ..models.description import ModelSpec
from ..volume import Segmentation, Volume
from .names import last_part, safe_stem

PARTS = {"all": "", "attention": "attention_*", "dicom": "*.dcm"}  # archives, and what is in them if not everything


def write_download(
    name: str,
    volume: Volume,
    segmentation: Segmentation,
    spec: ModelSpec,
    folder: Path,
    source_name: str,
    dicom_folder: Path | None = None,
) -> Path:
    """One of a result's files, or an archive of them: "all.zip", "attention.zip" (the maps), "dicom.zip" (SEG and SR).

    The other arguments and errors are those of ``write_results``.

    Raises:
        KeyError: If a result has no such file.
        ValueError: If there can be no DICOM files.
    """
    files = write_results(volume, segmentation, spec, folder, source_name, dicom_folder)
    part, ending = os.path.splitext(name)
    if ending != ".zip" or part not in PARTS:
        return {path.name: path for path in files}[name]
    chosen = [path for path in files if path.match(PARTS[part] or "*")]
    if not chosen and part == "dicom":
        raise ValueError(_why_no_dicom(segmentation, dicom_folder, folder))
    stem = safe_stem(source_name) + ("" if part == "all" else f"_{part}")
    return write_zip(chosen, folder / f"{stem}.zip", source_name)


def _why_no_dicom(segmentation: Segmentation, dicom_folder: Path | None, folder: Path) -> str:
    """In a sentence without paths of the server."""
    if dicom_folder is None:
        return "this CT is not DICOM, so no DICOM files can refer to its images"
    try:
        with scratch_folder(folder) as scratch:
            write_dicom(segmentation, dicom_folder, scratch)
    except ValueError as error:
        return f"there are no DICOM files: {error}".replace(str(dicom_folder), dicom_folder.name)
    return "try again"  # what was wrong is not any more


def write_results(
    volume: Volume,
    segmentation: Segmentation,
    spec: ModelSpec,
    folder: Path,
    source_name: str,
    dicom_folder: Path | None = None,
) -> list[Path]:
    """Write labels, segmentation, maps, overview and report, in exchange for those that are there.

    Args:
        volume: The CT.
        segmentation: Its result.
        spec: The model's description.
        folder: Where the files go; made if missing.
        source_name: What the visitor knows the CT by; the last part of it stands in the report and the overview.
        dicom_folder: Where the CT's images are, if it is DICOM; DICOM SEG and SR are written where they can be.

    Returns:
        The files, by name.

    Raises:
        OSError: If they cannot be written; what was there before is untouched.
    """
    name = last_part(source_name)
    volume = dataclasses.replace(volume, name=name)
    with scratch_folder(folder) as scratch:
        if dicom_folder is not None:
            with suppress(ValueError):  # who asks for them is told why
                write_dicom(segmentation, dicom_folder, scratch)
        report = write_result(scratch, volume, segmentation, spec, {"input": name})
        move_into_place(scratch, folder, files_of_result(folder), REPORT_FILE)
    return sorted(folder / name for name in (*report["files"], REPORT_FILE))


def write_zip(files: Sequence[Path], target: Path, source_name: str) -> Path:
    """Put files into an archive, in one folder that is called like the CT; it appears when it is complete.

    Args:
        files: Of a result; compressed already, so they are stored as they are.
        target: The archive.
        source_name: What the visitor knows the CT by.

    Returns:
        ``target``.

    Raises:
        OSError: If a file cannot be read, or the archive not be written; what was there before is untouched.
    """
    with scratch_folder(target.parent) as scratch:
        with zipfile.ZipFile(scratch / target.name, "x") as archive:
            for path in files:
                archive.write(path, f"{safe_stem(source_name)}/{path.name}")
        move_into_place(scratch, target.parent)
    return target
