"""Small inputs after public bug reports of similar software end as they should, and take little memory."""

import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.files import read_volume
from support.shared_data import DATA, reason

CASES = DATA.parent / "cases"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason=reason(CASES)),
    pytest.mark.skipif(sys.platform != "linux", reason="bounds memory by ulimit -v"),
]
SPARE_KIB = 500 * 1024  # by which no input may take more than the command usually does
RUN = """
import sys
from AttentionUNetSegmentationLib.command.cli import main
status = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmPeak"))
print(peak.split()[1], file=sys.stderr)
sys.exit(status)
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
    "dicom_nested_500.tar.gz": ("warning: 1 DICOM files are no images, damaged", True),
    "same_name/s0001/ct.nii.gz": ("same_name/s0001/ct.nii.gz", True),
    "same_name/s0002/ct.nii.gz": ("same_name/s0002/ct.nii.gz: ct.nii.gz: has voxels that are NaN", False),
    "model_m5.zip": ("model_m5.zip/weights.pt is not a file of plain weights", False),
    "model_m6.zip": ("model_m6.zip/weights.pt does not fit the architecture in model.json", False),
    "model_m7.zip": ("added m7 in", True),
}
TOLD_ELSEWHERE = {"README.md", "hu1024_padded_minus2000.nii.gz"}  # the latter: with the checks of HU


def run(*arguments, limit_kib=None, **environment):
    """Run the command with bounded virtual memory; returns its status, what it printed, and its peak in KiB."""
    bounded = f'ulimit -v {limit_kib or "unlimited"} && exec "$@"'
    result = subprocess.run(
        ["bash", "-c", bounded, "bash", sys.executable, "-c", RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    *errors, peak = result.stderr.splitlines() or [""]
    return result.returncode, result.stdout + "\n".join(errors), int(peak) if peak.isdigit() else 0


def unpacked(name, folder):
    """An input as the command takes it."""
    if not name.startswith("dicom_"):
        return CASES / name
    with tarfile.open(CASES / name) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def usual_kib(tmp_path_factory, tiny_model):
    """What the command takes for a good CT, for a DICOM folder and to add a model."""
    folder = tmp_path_factory.mktemp("usual")
    dicom = unpacked("dicom_d1.tar.gz", folder)
    places = {"ATTENTION_UNET_MODELS": str(folder / "models")}
    runs = [("info", CASES / "same_name/s0001/ct.nii.gz"), ("info", dicom), ("models", "add", tiny_model)]
    return [run(*arguments, **places)[2] for arguments in runs]


def test_every_input_is_tried():
    names = {str(path.relative_to(CASES)) for path in CASES.rglob("*") if path.is_file()}
    assert names - TOLD_ELSEWHERE == set(ENDS)


@pytest.mark.parametrize("name", ENDS)
def test_an_input_ends_as_it_should_in_little_memory(name, usual_kib, tmp_path):
    source, is_model = unpacked(name, tmp_path / "in"), name.startswith("model")
    usual = usual_kib[2 if is_model else 1 if name.startswith("dicom") else 0]
    arguments = ("models", "add", source) if is_model else ("info", source)
    status, text, peak = run(*arguments, limit_kib=usual + SPARE_KIB, ATTENTION_UNET_MODELS=str(tmp_path / "models"))
    said, succeeds = ENDS[name]
    assert said in text
    assert (status == 0) == succeeds
    assert "Traceback" not in text
    assert peak < usual + SPARE_KIB
    if not succeeds:
        assert text.splitlines()[-1].startswith("error: ")
        assert str(source) in text


def test_an_image_with_two_places_lies_where_simple_itk_puts_it():
    path = CASES / "qform1_sform2_differ.nii.gz"
    image, read = sitk.ReadImage(str(path)), read_volume(path)
    for index in ((0, 0, 0), (69, 69, 39)):
        expected = np.array(image.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        np.testing.assert_allclose(read.grid.ras_of(np.array(index)), expected, atol=1e-3)


def test_a_batch_names_the_one_of_two_files_that_failed(tiny_model, tmp_path):
    """Both are called ct.nii.gz."""
    files = [CASES / "same_name" / folder / "ct.nii.gz" for folder in ("s0001", "s0002")]
    arguments = ("--output-dir", tmp_path / "out", "--model", tiny_model, "--device", "cpu")
    status, text, _ = run("segment", *files, *arguments)
    assert status == 1
    assert f"error: {files[1]}: ct.nii.gz: has voxels that are NaN or infinite" in text


def test_the_texts_of_a_model_forge_no_line(tmp_path):
    places = {"ATTENTION_UNET_MODELS": str(tmp_path / "models")}
    run("models", "add", CASES / "model_m7.zip", **places)
    status, text, _ = run("models", **places)
    assert status == 0
    assert "\x1b" not in text
    shown = text[text.index("\nm7 (") :].splitlines()
    assert [line for line in shown if line.startswith("  measured:")] == ["  measured: no figures were measured"]
