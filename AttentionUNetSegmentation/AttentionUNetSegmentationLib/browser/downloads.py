"""What a result is downloaded as: the files that ``attention-unet segment`` writes, and a zip archive of them."""

from __future__ import annotations

import dataclasses
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
        ValueError: If there can be no DICOM files; the reason names no path of the server.
    """
    stem = safe_stem(source_name)
    if name == "dicom.zip":
        return _write_dicom_zip(segmentation, dicom_folder, folder / f"{stem}_dicom.zip", source_name)
    files = write_results(volume, segmentation, spec, folder, source_name, dicom_folder)
    if name == "all.zip":
        return write_zip(files, folder / f"{stem}.zip", source_name)
    if name == "attention.zip":
        maps = [path for path in files if path.name.startswith("attention_")]
        return write_zip(maps, folder / f"{stem}_attention.zip", source_name)
    return {path.name: path for path in files}[name]


def _write_dicom_zip(segmentation: Segmentation, dicom_folder: Path | None, target: Path, source_name: str) -> Path:
    if dicom_folder is None:
        raise ValueError("this CT is not DICOM, so no DICOM files can refer to its images")
    with scratch_folder(target.parent) as scratch:
        try:
            write_dicom(segmentation, dicom_folder, scratch)
        except ValueError as error:
            told = str(error).replace(str(dicom_folder), dicom_folder.name)
            raise ValueError(f"no DICOM files can be written: {told}") from error
        return write_zip(sorted(scratch.iterdir()), target, source_name)


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
