"""``attention-unet-train pseudo-label``: CTs without labels -> a dataset that a model labelled where it is confident.

For self-training: voxels of which the model is not sure are ignored in training and measuring. The result is a folder
in nnU-Net's layout, which ``prepare`` reads, with a picture of every case. Look at each picture, and delete the label
map of a case that is wrong: what a model is confident of may be wrong all the same. Such labels are no reference:
measure nothing on them. The same command with more CTs adds them. Cases of one DICOM patient are one patient in splits;
delete patients.json if the headers name all patients alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from AttentionUNetSegmentationLib.atomic import write_text
from AttentionUNetSegmentationLib.command.cases import find_cases
from AttentionUNetSegmentationLib.command.overview import write_overview
from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.volume import Segmentation, Volume

from ..evaluation.ensemble import load_ensemble, takes_scaled_volumes
from ..preparation.layouts.nnunet import LABELLED_BY, PATIENTS_FILE
from ..preparation.patients import dicom_patient
from ..preparation.records import read_json
from ..preparation.source import safe_id
from ..refusals import REFUSALS, told_in_one_line
from ..staging import Output, staged

PATIENT_DIGITS = 16  # of the hash
DESCRIPTION, IMAGES, LABELS, PICTURES = "dataset.json", "imagesTr", "labelsTr", "pictures"
ENDING = ".nii.gz"


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status, 0 only if every CT was labelled."""
    parsed = _parser().parse_args(arguments)
    failed = pseudo_label(parsed.model, parsed.ct, parsed.output, parsed.confidence, parsed.device)
    print(
        f"look at every picture in {parsed.output / PICTURES} and delete every label map that is wrong, then: "
        f"attention-unet-train prepare {parsed.output} --output DATASET"
    )
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train pseudo-label",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ct", nargs="+", type=Path, metavar="CT", help="files, DICOM folders, or folders of files")
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="MODEL",
        help="name, folder or zip, or a checkpoint; repeated: the mean of all, such as the folds of a cross-validation",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.9,
        metavar="P",
        help="least probability of a label, background included (default: %(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: %(default)s)")
    return parser


def pseudo_label(
    models: Sequence[str], cts: Sequence[Path], output: Path, confidence: float = 0.9, device: str = "auto"
) -> list[str]:
    """Label CTs; one that fails does not stop the others.

    Args:
        models: Models or checkpoints; of several, the mean probability counts.
        cts: Files or folders.
        output: Folder to write; cases that are there from an earlier run are passed over.
        confidence: Least probability of a label.
        device: Where the network runs.

    Returns:
        Names of the cases that failed.

    Raises:
        ValueError: If an option is out of range, a model cannot be loaded, or the folder holds something else.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"--confidence must lie between 0.5 and 1, got {confidence:g}")
    options = Options(device=device, probabilities=True, split_sides=False, attention=False)
    if scaled := [source for source in models if takes_scaled_volumes(source)]:
        raise ValueError(f"{scaled[0]} was trained with data.per_volume, so it takes no CT in HU")
    cases, (model, organs) = find_cases([*cts], output / "cases"), load_ensemble(models)
    _begin(output / DESCRIPTION, _description(organs, models, confidence))
    failed = []
    for case in cases:
        is_done = (output / PICTURES / f"{case.name}.png").is_file()  # a label map that is gone was found to be wrong
        try:
            ct = read_volume(case.source)
            _note_patient(case.name, dicom_patient(case.source).mark, output / PATIENTS_FILE)
            if is_done:
                _check_same(ct, output / _image_file(case.name))
                print(f"{case.name}: done before")
                continue
            result = segment(ct, model, options)
            result.organs = [organ for organ in result.organs if organ.name in organs]
            print(_write(case.name, ct, result, confidence, output), flush=True)
        except REFUSALS as error:
            failed.append(case.name)
            print(f"error: {case.source}: {one_sentence(error)}", file=sys.stderr)
    return failed


def _note_patient(name: str, mark: str, path: Path) -> None:
    """Keep whose DICOM images a case was made of, as a hash: its NIfTI file does not say it."""
    if mark:
        known = read_json(path) if path.is_file() else {}
        write_text(path, json.dumps(known | {safe_id(name): mark[:PATIENT_DIGITS]}, indent=1) + "\n")


def _image_file(name: str) -> str:
    return f"{IMAGES}/{name}_0000{ENDING}"


def _check_same(ct: Volume, copy: Path) -> None:
    """Refuse a CT that has the name of another one labelled before.

    Raises:
        ValueError: If the copy made then shows another CT.
    """
    if not copy.is_file():
        return
    before = read_volume(copy)
    if not (ct.grid.same_as(before.grid) and np.array_equal(ct.voxels, before.voxels)):
        raise ValueError(f"{copy} is another CT of that name: rename one, or label both with one command")


def confident_labels(result: Segmentation, confidence: float) -> np.ndarray:
    """Class numbers where the network is sure, one more than there are organs (to be ignored) elsewhere.

    Args:
        result: With probabilities, sides not split.
        confidence: Least probability of an organ, or of background, which is what organs leave.

    Returns:
        (K, J, I) uint8 on the CT's grid: 1, 2, ... in the order of the result's organs.
    """
    labels = np.full(result.labels.shape, len(result.organs) + 1, np.uint8)
    background = np.ones(labels.shape, np.float32)
    for number, organ in enumerate(result.organs, start=1):
        probability = result.probabilities[organ.name].voxels
        background -= probability
        labels[(result.labels == organ.value) & (probability >= confidence)] = number
    labels[(result.labels == 0) & (background >= confidence)] = 0
    return labels


def _write(name: str, ct: Volume, result: Segmentation, confidence: float, folder: Path) -> str:
    """Write a case's files; returns what to say of it."""
    labels = confident_labels(result, confidence)
    shown = np.zeros_like(result.labels)
    parts = []
    for number, organ in enumerate(result.organs, start=1):
        shown[labels == number] = organ.value
        found = int((result.labels == organ.value).sum())
        kept = int((labels == number).sum())
        parts.append(f"{organ.name} {kept / found:.0%}" if found else f"{organ.name} not found")
    files = (_image_file(name), f"{LABELS}/{name}{ENDING}", f"{PICTURES}/{name}.png")
    with staged([Output(folder / file) for file in files], overwrite=True) as (image, label_map, picture):
        write_volume(ct, image)
        write_volume(dataclasses.replace(ct, voxels=labels), label_map)
        write_overview(ct, dataclasses.replace(result, labels=shown), picture)
    return f"{name}: of what was found, kept {', '.join(parts)}"


def _begin(path: Path, description: dict) -> None:
    """Write the dataset's description, or go on with the same.

    Raises:
        ValueError: If the folder holds something else.
    """
    before = read_json(path) if path.is_file() else None
    if before == description:
        return
    is_same = isinstance(before, dict) and before | {LABELLED_BY: description[LABELLED_BY]} == description
    if not is_same and path.parent.exists() and any(path.parent.iterdir()):
        raise ValueError(f"{path.parent} holds other files, or labels of another model or confidence: write elsewhere")
    write_text(path, json.dumps(description, indent=2) + "\n")


def _description(organs: Sequence[str], sources: Sequence[str], confidence: float) -> dict:
    names = ["background", *organs, "ignore"]
    return {
        "name": "pseudo-labels",
        "description": f"labelled by {', '.join(sources)}, not by a person, where the probability is {confidence:g}",
        LABELLED_BY: ", ".join(sources),
        "channel_names": {"0": "CT"},
        "labels": {name: number for number, name in enumerate(names)},
        "file_ending": ENDING,
    }
