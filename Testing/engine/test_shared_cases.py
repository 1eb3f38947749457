"""Small inputs after public bug reports of similar software end as they should, and take little memory."""

import json
import os
import subprocess
import sys
import tarfile
from itertools import zip_longest

import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.command.cli import main
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.models.store import MODEL_FOLDER_VARIABLE
from support.command_runs import segment
from support.shared_data import DATA, reason

CASES = DATA.parent / "cases"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason=reason(CASES)),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc, which tells the memory taken, is Linux's"),
]
SPARE_KIB = 500 * 1024  # by which no input may take more than the command usually does
RUN = f"""
import json, resource, sys
from AttentionUNetSegmentationLib.command.cli import main
usual, *others = json.loads(sys.argv[1])
assert main(usual) == 0
peak = next(line for line in open("/proc/self/status") if line.startswith("VmPeak"))
resource.setrlimit(resource.RLIMIT_AS, [1024 * (int(peak.split()[1]) + {SPARE_KIB})] * 2)
for arguments in others:
    print(end="\\0")
    print(end=f"\\0{{main(arguments)}}")
"""

# what the command says of each input, and whether it takes it
ENDS = {
    "qform1_sform2_differ.nii.gz": ("warning: qform (code 1), sform (code 2) and voxel spacing in the header", True),
    "w2_slightly_negative.nii.gz": ("voxels (i, j, k): 70 x 70 x 40", True),
    "gzip_bomb_small.nii.gz": ("warning: the file goes on after the voxels that its header describes", True),
    "dicom_d1.tar.gz": ("HU (lowest, median, highest): -1024, -102, 1117", True),
    "dicom_d6.tar.gz": ("warning: series UIDs do not tell", True),
    "dicom_d7.tar.gz": ("warning: copies of images, equal in place and pixels, were left out (1)", True),
    "dicom_n7.tar.gz": ("/IM0003.dcm lacks the rescale slope or intercept, one number each", False),
    "dicom_x1.tar.gz": ("warning: 2 CT stacks in the folder; took the largest, 20 images", True),
    "dicom_nested_500.tar.gz": ("warning: 1 DICOM files that are no images, empty, damaged", True),
    "same_name/s0001/ct.nii.gz": ("same_name/s0001/ct.nii.gz", True),
    "same_name/s0002/ct.nii.gz": ("same_name/s0002/ct.nii.gz: ct.nii.gz: has voxels that are NaN", False),
    "model_m5.zip": ("model_m5.zip/weights.pt is not a file of plain weights", False),
    "model_m6.zip": ("model_m6.zip/weights.pt does not fit the architecture in model.json", False),
    "model_m7.zip": ("added m7 in", True),
}
TOLD_ELSEWHERE = {"README.md", "hu1024_padded_minus2000.nii.gz"}  # the latter: with the checks of HU


def unpacked(name, folder):
    """An input as the command takes it."""
    if not name.startswith("dicom_"):
        return CASES / name
    with tarfile.open(CASES / name) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


def kind_of(name):
    return next((kind for kind in ("dicom", "model") if name.startswith(kind)), "file")


@pytest.fixture(scope="module")
def ends(tmp_path_factory, tiny_model):
    """Where each input lies, what the command printed, and its status: one process a kind, a good input first."""
    folder = tmp_path_factory.mktemp("inputs")
    sources = {name: unpacked(name, folder / name.split(".")[0]) for name in ENDS}
    good = {"file": sources["same_name/s0001/ct.nii.gz"], "dicom": sources["dicom_d1.tar.gz"], "model": tiny_model}
    found = {}
    for kind, usual in good.items():
        names = [name for name in ENDS if kind_of(name) == kind]
        command = ["models", "add"] if kind == "model" else ["info"]
        runs = [[*command, str(source)] for source in (usual, *(sources[name] for name in names))]
        printed = subprocess.run(
            [sys.executable, "-u", "-c", RUN, json.dumps(runs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", MODEL_FOLDER_VARIABLE: str(folder / "models")},
        ).stdout
        _, *parts = printed.split("\0")
        each = zip(names, zip_longest(parts[::2], parts[1::2], fillvalue="the process died"), strict=False)
        found |= {name: (sources[name], *end) for name, end in each}
    return found


def test_every_input_is_tried():
    names = {str(path.relative_to(CASES)) for path in CASES.rglob("*") if path.is_file()}
    assert names - TOLD_ELSEWHERE == set(ENDS)


@pytest.mark.parametrize("name", ENDS)
def test_an_input_ends_as_it_should_in_little_memory(name, ends):
    source, text, status = ends[name]
    said, succeeds = ENDS[name]
    assert said in text
    assert status == ("0" if succeeds else "1")
    assert "Traceback" not in text
    if not succeeds:
        assert text.splitlines()[-1].startswith("error: ")
        assert str(source) in text


def test_an_image_with_two_places_lies_where_simple_itk_puts_it():
    path = CASES / "qform1_sform2_differ.nii.gz"
    image, read = sitk.ReadImage(str(path)), read_volume(path)
    for index in ((0, 0, 0), (69, 69, 39)):
        expected = np.array(image.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        np.testing.assert_allclose(read.grid.ras_of(np.array(index)), expected, atol=1e-3)


def test_a_batch_names_the_one_of_two_files_that_failed(tiny_model, tmp_path, capsys):
    """Both are called ct.nii.gz."""
    files = [CASES / "same_name" / folder / "ct.nii.gz" for folder in ("s0001", "s0002")]
    assert segment(tiny_model, *files, "--output-dir", tmp_path / "out") == 1
    assert f"error: {files[1]}: ct.nii.gz: has voxels that are NaN or infinite" in capsys.readouterr().err


@pytest.mark.usefixtures("own_model_folder")
def test_the_texts_of_a_model_forge_no_line(capsys):
    assert main(["models", "add", str(CASES / "model_m7.zip")]) == 0
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    shown = text[text.index("\nm7 (") :].splitlines()
    assert [line for line in shown if line.startswith("  measured:")] == ["  measured: no figures were measured"]
