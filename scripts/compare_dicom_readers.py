"""Compare readers of DICOM folders, ours and two others, on every odd folder of the tests; prints Markdown.

The others are no dependencies of the project: ``pip install dcm2niix highdicom`` first. Each gets the thinnest layer
that chooses a CT, with the settings that suit it best. From the root of the repository, with the project installed:

    PYTHONPATH=Testing python scripts/compare_dicom_readers.py --data ../shared
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom

from AttentionUNetSegmentationLib.formats.dicom.series import LPS_TO_RAS
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.volume import Volume
from support.dicom_frame_cases import frame_cases, several_file_cases
from support.dicom_parts import DicomCase
from support.dicom_series_cases import series_cases
from support.dicom_truth import Truth, fault

LONGEST_REASON = 70
NESTING = 100_000  # calls of Python, for the file whose sequences are nested 500 deep
# what readers refuse a folder with
FAILURES = (ValueError, TypeError, AttributeError, LookupError, RuntimeError, OSError, subprocess.SubprocessError)
REMARKS = "(?i)warning|error|duplicates|unable|only able"
IRRELEVANT = (
    "(?i)protocol name|patient position|determine manufacturer|output filename|order is not spatial|recompiling"
)
DISTRUSTED = "Bogus spatial matrix|Unable to (determine|equalize).*|.*spatial position repeats|Only able to correct.*"


@dataclass(frozen=True)
class Reading:
    """What a reader made of a folder.

    Attributes:
        volume: The volume.
        has_instances: Whether the reader tells the SOP instance UID of each slice.
        remark: What it warned of.
    """

    volume: Volume
    has_instances: bool
    remark: str = ""


def read_ours(folder: Path) -> Reading:
    """The project's own reader; it knows each slice's file and frame, though a ``Volume`` does not carry them yet."""
    volume = read_volume(folder)
    return Reading(volume, has_instances=True, remark="; ".join(volume.notes))


def read_dcm2niix(folder: Path) -> Reading:
    """dcm2niix, and of what it wrote the largest CT that is no scout; its corrected copies are preferred.

    Raises:
        ValueError: If it wrote none, or one that it warns of.
    """
    with tempfile.TemporaryDirectory() as out:
        command = ["dcm2niix", "-b", "y", "-ba", "n", "-z", "n", "-f", "%i+%j_%u", "-g", "i", "-o", out, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if re.search(REMARKS, line)]
        remark = "; ".join(dict.fromkeys(line for line in said if not re.search(IRRELEVANT, line)))
        scans = []
        for path in _without_originals(Path(out)):
            sidecar = min(
                Path(out).glob("*.json"), key=lambda other: not path.stem.startswith(other.stem), default=None
            )
            header = sidecar.read_text(errors="replace") if sidecar else ""  # not always valid JSON
            image = nibabel.load(path)
            if re.search(r'"Modality": "CT"', header) and not re.search(r'"ImageType".*LOCALIZER', header):
                scans.append((path.name.split("+")[0], np.asarray(image.dataobj, np.float32), image.affine, header))
        if not scans:
            raise ValueError(f"no CT in what it wrote ({remark or 'it says nothing'})")
        if distrusted := re.search(DISTRUSTED, remark):
            raise ValueError(distrusted[0])
        _, voxels, matrix, header = max(scans, key=lambda scan: scan[1].shape[2])  # the first of several as large
        voxels = voxels if voxels.ndim == 3 else voxels[..., 0]
        volume = _checked(Volume(voxels.T, matrix), {patient for patient, *_ in scans})
        return Reading(volume, "SOPInstanceUID" in header, remark)


def _without_originals(folder: Path) -> list[Path]:
    """Files that dcm2niix wrote, without those of which it wrote a copy of even or straightened slices."""
    paths = sorted(folder.glob("*.nii"))
    originals = {
        re.sub(r"(_Tilt|_Eq)(_\d+)?\.nii$", ".nii", path.name) for path in paths if re.search("_Tilt|_Eq", path.name)
    }
    return [path for path in paths if path.name not in originals]


def _checked(volume: Volume, patients: set[str]) -> Volume:
    """The volume; what any reader's layer would refuse is refused."""
    if len(patients) > 1:
        raise ValueError("several patients")
    if len(volume.voxels) < 2:
        raise ValueError("one image")
    if not np.isfinite(volume.voxels).all():
        raise ValueError("HU are not finite")
    return volume


def read_highdicom(folder: Path) -> Reading:
    """The largest CT series, or multi-frame file, as a volume of highdicom's.

    Raises:
        ValueError: If there is none.
    """
    groups: dict[str, list[pydicom.Dataset]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            dataset = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if dataset.get("Modality") == "CT" and "LOCALIZER" not in (dataset.get("ImageType") or []):
            is_single = "PerFrameFunctionalGroupsSequence" not in dataset
            groups[dataset.get("SeriesInstanceUID", "") if is_single else str(path)].append(dataset)
    if not groups:
        raise ValueError("no CT")
    series = max(groups.values(), key=lambda group: sum(int(dataset.get("NumberOfFrames") or 1) for dataset in group))
    settings = {"apply_modality_transform": True, "apply_presentation_lut": False, "apply_real_world_transform": False}
    if "ConcatenationUID" in series[0]:
        raise ValueError("a scan in several files")
    if "PerFrameFunctionalGroupsSequence" in series[0]:
        found = highdicom.Image.from_dataset(series[0]).get_volume(**settings)
    else:
        found = highdicom.get_volume_from_series(series, orientation_tol=1e-3, **settings)
    matrix = np.eye(4)
    matrix[:3] = LPS_TO_RAS @ found.affine[:3][:, [2, 1, 0, 3]]
    patients = {str(dataset.get("PatientID")) for group in groups.values() for dataset in group}
    return Reading(_checked(Volume(found.array, matrix), patients), has_instances=True)


READERS: dict[str, Callable[[Path], Reading]] = {
    "ours": read_ours,
    f"dcm2niix {version('dcm2niix')}": read_dcm2niix,
    f"highdicom {version('highdicom')}": read_highdicom,
}


def judged(read: Callable[[Path], Reading], folder: Path, truths: tuple[Truth, ...]) -> str:
    """One cell of the table: the verdict, a colon, and details."""
    try:
        reading = read(folder)
    except RecursionError:
        return "**crashed**: RecursionError"
    except FAILURES as error:
        without_folders = re.sub(rf"{re.escape(str(folder))}(\S*/)?", "", str(error))
        reason = without_folders.strip(": ") or type(error).__name__
        return f"refused{' needlessly' if truths else ''}: {_shortened(reason)}"
    if wrong := fault(reading.volume, truths):
        if reading.remark:
            return f"**wrong**, with a remark: {wrong} ({_shortened(reading.remark)})"
        return f"**wrong**, in silence: {wrong}"
    grids = [grid for grid in (reading.volume.grid, reading.volume.valid_region) if grid is not None]
    if not any(truth.is_grid(grid) for truth in truths for grid in grids):
        return "right, on another grid"
    return "right" if reading.has_instances else "right, no UIDs"


def _shortened(text: str) -> str:
    text = " ".join(text.replace("|", "/").split())
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 4].rsplit(" ", 1)[0] + " ..."


def archived_cases(data: Path) -> list[DicomCase]:
    """The folders of real files: the slab, and the archives ``cases/dicom_*.tar.gz``."""
    cases = []
    if (slab := data / "data" / "ct_dicom_slab" / "dicom").exists():
        truth = Truth.of_slices(*_stacked([pydicom.dcmread(path) for path in slab.iterdir()]))
        cases.append(DicomCase("real CT, JPEG 2000", lambda folder: folder.symlink_to(slab), (truth,)))
    for path in sorted((data / "cases").glob("dicom_*.tar.gz")):

        def unpack(folder: Path, path: Path = path) -> None:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")

        with tempfile.TemporaryDirectory() as scratch:
            unpack(Path(scratch))
            datasets = [pydicom.dcmread(file) for file in sorted(Path(scratch).rglob("*.dcm"))]
        phases: dict[str, list[pydicom.Dataset]] = defaultdict(list)
        for dataset in datasets:
            phases[str(dataset.get("AcquisitionNumber"))].append(dataset)
        truths = tuple(Truth.of_slices(*_stacked(phase)) for phase in phases.values())
        cases.append(DicomCase(path.name.removesuffix(".tar.gz"), unpack, truths))
    return cases


def _stacked(datasets: list[pydicom.Dataset]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """HU and matrix of each slice of an axial scan; a slice without rescaling is taken to be stored as the others."""
    at = {float(dataset.ImagePositionPatient[2]): dataset for dataset in datasets}
    planes, matrices = [], []
    for _, dataset in sorted(at.items()):
        matrix = np.diag([*(float(x) for x in dataset.PixelSpacing[::-1]), 1.0, 1.0])
        matrix[:3, 3] = dataset.ImagePositionPatient
        matrix[:3] = LPS_TO_RAS @ matrix[:3]
        slope, intercept = (float(dataset.get(name, usual)) for name, usual in USUAL_RESCALE.items())
        planes.append(dataset.pixel_array * slope + intercept)
        matrices.append(matrix)
    return planes, matrices


USUAL_RESCALE = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2] / "shared"
    parser.add_argument("--data", type=Path, default=beside, help="folder with data/ and cases/ (default: ../shared)")
    arguments = parser.parse_args()
    usual_nesting = sys.getrecursionlimit()
    sys.setrecursionlimit(NESTING)
    archived = archived_cases(arguments.data)
    sys.setrecursionlimit(usual_nesting)
    cases = [*series_cases(), *frame_cases(), *several_file_cases(), *archived]
    print("| folder | should be |", " | ".join(READERS), "|\n|---|---|" + "---|" * len(READERS))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "scan"
            case.write(folder)
            cells = [judged(read, folder, case.truths) for read in READERS.values()]
        for name, cell in zip(READERS, cells, strict=True):
            counts[name][cell.split(":")[0]] += 1
        print(f"| {case.name} | {'read' if case.truths else 'refused'} |", " | ".join(cells), "|", flush=True)
    kinds = sorted({kind for count in counts.values() for kind in count})
    print(f"\n| of {len(cases)} folders |", " | ".join(READERS), "|\n|---|" + "---|" * len(READERS))
    for kind in kinds:
        print(f"| {kind} |", " | ".join(str(counts[name][kind]) for name in READERS), "|")


if __name__ == "__main__":
    main()
