"""The command ``attention-unet``: what it takes, writes and says."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from AttentionUNetSegmentationLib import __version__
from AttentionUNetSegmentationLib.command.cli import main
from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.volume import Volume
from support.command_runs import FILES, GATES, GRID, ct, segment, tree
from support.permissions import needs_permissions
from support.phantom_files import bad_files, scan, write_slices

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_model_folder")]


def test_one_input_writes_into_the_folder_itself(tiny_model, tmp_path, capsys):
    assert segment(tiny_model, ct(tmp_path / "ct.nii.gz"), "--output-dir", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == sorted(FILES)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "labels.nii.gz")))
    assert labels.shape == GRID.shape_kji
    for organ in report["organs"]:
        assert organ["voxels"] == np.count_nonzero(labels == organ["value"])
        assert organ["volume_ml"] == pytest.approx(organ["voxels"] * 0.036, abs=0.001)
    assert list(report["attention"]) == GATES
    attention = sitk.ReadImage(str(tmp_path / "out" / "attention_s3-1.nrrd"))
    np.testing.assert_allclose(attention.GetSpacing(), (8, 8, 8))
    output = capsys.readouterr().out
    assert "overview.png" in output
    assert "pancreas" in output
    assert "s (CPU, OpenVINO; the network " in output and report["provenance"]["device"] == "cpu"


def test_a_cpu_needs_no_torch(tiny_model, tmp_path):
    arguments = ["segment", str(ct(tmp_path / "ct.nii.gz")), "--model", str(tiny_model), "--probabilities"]
    code = (
        "import sys; sys.modules['torch'] = None  # cannot be imported\n"
        "from AttentionUNetSegmentationLib.command.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *arguments, "--output-dir", str(tmp_path / "out")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    versions = json.loads((tmp_path / "out" / "report.json").read_text())["provenance"]["versions"]
    assert "openvino" in versions and "torch" not in versions


def test_labels_keep_the_inputs_geometry(tiny_model, tmp_path):
    source = ct(tmp_path / "ct.nii.gz")
    segment(tiny_model, source, "--output-dir", tmp_path / "out", "--quiet")
    np.testing.assert_allclose(
        nibabel.load(tmp_path / "out" / "labels.nii.gz").affine, nibabel.load(source).affine, atol=1e-4
    )


def test_options_decide_what_is_written(tiny_model, tmp_path):
    arguments = ("--output-dir", tmp_path / "out", "--no-attention", "--probabilities", "--quiet")
    assert segment(tiny_model, ct(tmp_path / "ct.nrrd"), *arguments) == 0
    written = tree(tmp_path / "out")
    assert [name for name in written if "attention" in name] == []
    assert [name for name in written if "prob" in name] == [
        f"probability_{organ}.nii.gz" for organ in ("kidney", "pancreas", "spleen")
    ]


def test_dicom_folders_work_from_the_command_line(tiny_model, tmp_path):
    write_slices(tmp_path / "dicom", scan())
    assert segment(tiny_model, tmp_path / "dicom", "--output-dir", tmp_path / "out", "--quiet") == 0
    assert tree(tmp_path / "out") == sorted(FILES)


def bad_inputs(folder: Path) -> list[str]:
    names = list(bad_files(folder))
    for name, voxels in {
        "one slice": np.zeros((1, 20, 20), np.int16),
        "nan": np.where(np.arange(8000).reshape(20, 20, 20) == 77, np.nan, 0).astype(np.float32),
        "zero": np.zeros((20, 20, 20), np.int16),
    }.items():
        write_volume(Volume(voxels, np.eye(4)), folder / f"{name}.nii.gz")
        names.append(f"{name}.nii.gz")
    return names


def test_bad_input_gives_one_line_status_1_and_writes_nothing(tiny_model, tmp_path, capfd):
    for name in bad_inputs(tmp_path):
        assert segment(tiny_model, tmp_path / name, "--output-dir", tmp_path / "out") == 1, name
        errors = capfd.readouterr().err.splitlines()  # what C++ libraries print counts too
        assert len(errors) == 1, (name, errors)
        assert errors[0].startswith("error: "), errors
        assert name in errors[0], errors
        assert not (tmp_path / "out").exists(), name


def test_models_that_cannot_be_used(tiny_model, tmp_path, capsys):
    source = ct(tmp_path / "ct.nii.gz")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "weights.safetensors").unlink()
    for wanted, message in (
        (broken, "weights.safetensors is missing: the model has no weights"),
        (tmp_path / "nowhere", "there is no model"),
        (source, "is not a readable zip"),
    ):
        status = main(["segment", str(source), "--output-dir", str(tmp_path / "out"), "--model", str(wanted)])
        errors = capsys.readouterr().err.splitlines()
        assert (status, len(errors)) == (1, 1)
        assert message in errors[0]
        assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made(tiny_model, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    source = ct(tmp_path / "ct.nii.gz")
    assert segment(tiny_model, source, "--output-dir", tmp_path / "file" / "out") == 1
    assert "cannot be made" in capsys.readouterr().err


@needs_permissions
def test_an_output_folder_without_permission(tiny_model, tmp_path, capsys):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert segment(tiny_model, ct(tmp_path / "ct.nii.gz"), "--output-dir", folder) == 1
    assert "is not writable" in capsys.readouterr().err


def test_wrong_options_are_refused(tiny_model, tmp_path, capsys):
    source = ct(tmp_path / "ct.nii.gz")
    status = main(["segment", str(source), "--output-dir", str(tmp_path / "out"), "--device", "tpu"])
    assert status == 1
    assert "device must be one of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        segment(tiny_model, source, "--output-dir", tmp_path / "out", "--tile", "50")


def test_json_is_the_only_thing_on_standard_output(tiny_model, tmp_path, capsys):
    sources = [ct(tmp_path / "a.nii.gz"), tmp_path / "missing.nii.gz"]
    assert segment(tiny_model, *sources, "--output-dir", tmp_path / "out", "--json") == 1
    done, failed = json.loads(capsys.readouterr().out)
    assert (done["status"], failed["status"]) == ("done", "failed")
    assert [organ["name"] for organ in done["report"]["organs"]][:2] == ["pancreas", "spleen"]
    assert "does not exist" in failed["error"]


@pytest.mark.filterwarnings("error::UserWarning")  # outside of pytest it would be printed
@pytest.mark.parametrize("command", ["segment", "segment --json", "info", "info --json"])
def test_names_that_the_terminal_cannot_show_do_not_end_a_run(command, tiny_model, tmp_path, monkeypatch):
    name, *options = command.split()
    arguments = [name, str(ct(tmp_path / "Müller 腹部.nii.gz")), *options]
    if name == "segment":
        arguments += ["--output-dir", str(tmp_path / "out"), "--model", str(tiny_model), "--device", "cpu"]
    written = {stream: io.BytesIO() for stream in ("stdout", "stderr")}
    for stream, content in written.items():
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(content, encoding="ascii", write_through=True))
    assert main(arguments) == 0
    assert written["stdout"].getvalue() and not written["stderr"].getvalue()


def test_a_tiny_scan_has_a_picture(tiny_model, tmp_path):
    """Less than a pixel of the picture along two axes."""
    voxels = np.random.default_rng(0).integers(-1000, 1000, (8, 8, 40)).astype(np.int16)
    write_volume(Volume(voxels, np.diag([5.0, 0.1, 0.1, 1.0])), tmp_path / "ct.nii.gz")
    assert segment(tiny_model, tmp_path / "ct.nii.gz", "--output-dir", tmp_path / "out", "--quiet") == 0
    assert (tmp_path / "out" / "overview.png").is_file()


def test_odd_names_are_shown_as_they_are(tiny_model, tmp_path, capsys):
    source = ct(tmp_path / "a[b] $x_{ study" / "case[red].nrrd")
    assert segment(tiny_model, source, "--output-dir", source.parent / "out") == 0
    captured = capsys.readouterr()
    assert "a[b] $x_{ study/out" in captured.out.replace("\n", "")
    assert "case[red]" in captured.out
    assert captured.err == ""


def test_models_are_added_listed_and_removed(tiny_model, tmp_path, capsys):
    assert main(["models", "--path"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "models")
    assert main(["models", "add", str(tiny_model)]) == 0
    assert main(["models"]) == 0
    listing = capsys.readouterr().out
    assert "test-model" in listing
    assert "measured: no figures were measured" in listing
    assert "licence: Apache-2.0" in listing
    assert main(["models", "remove", "test-model"]) == 0
    assert main(["models", "remove", "test-model"]) == 1
    assert "there is no model 'test-model'" in capsys.readouterr().err


def test_info_prints_geometry_range_and_warnings(tmp_path, capsys):
    assert main(["info", str(ct(tmp_path / "ct.nii.gz"))]) == 0
    text = capsys.readouterr().out
    assert "spacing (mm): 3 x 3 x 4" in text
    assert "axes point to: LPS" in text
    assert "HU (lowest, median, highest): -1000, -1000, 40" in text
    assert "warning: the body is at most" in text
    (tmp_path / "two  spaces").mkdir()
    (tmp_path / "two  spaces" / "no.nii").write_bytes(b"no CT")
    assert main(["info", str(tmp_path / "two  spaces" / "no.nii")]) == 1
    assert capsys.readouterr().err.count("no.nii") == 1  # named once, by the path as it is
    assert main(["info", str(tmp_path / "missing.nii.gz"), str(tmp_path / "ct.nii.gz")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_info_takes_a_folder_of_volumes(tmp_path, capsys):
    for name in "ab":
        ct(tmp_path / "in" / f"{name}.nii.gz")
    assert main(["info", str(tmp_path / "in"), "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ["a.nii.gz", "b.nii.gz"]


def test_a_linked_model_is_removed_without_what_it_links_to(tiny_model, tmp_path, capsys):
    (tmp_path / "models").mkdir()
    try:
        (tmp_path / "models" / "linked").symlink_to(tiny_model, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not allow links")
    assert main(["models", "remove", "linked"]) == 0
    assert not (tmp_path / "models" / "linked").exists()
    assert (tiny_model / "weights.safetensors").is_file()


def test_the_installed_command_answers():
    command = Path(sys.executable).with_name("attention-unet")
    if not command.exists():
        pytest.skip("the package is not installed in this environment")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == f"attention-unet {__version__}"


ESCAPE = "\x1b[31m"


def test_names_of_files_cannot_steer_the_terminal_or_forge_a_line(tiny_model, tmp_path, capsys):
    name = f"a{ESCAPE}\n  measured: Dice 0.99 \x9b\u202e"
    good, bad = ct(tmp_path / name / "ct.nii.gz"), tmp_path / name / "bad.nii.gz"
    bad.write_bytes(b"hello")
    assert segment(tiny_model, good, bad, "--output-dir", tmp_path / "out" / name) == 1
    assert main(["info", str(good), str(bad)]) == 1
    assert main(["models", "add", str(bad)]) == 1
    with pytest.raises(SystemExit):
        main(["segment", str(good), "--output-dir", "out", f"--{name}"])
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not set(ESCAPE[0] + "\x9b\u202e") & set(text)
        assert "\n  measured" not in text
    assert rf"{tmp_path}/a\x1b[31m\n  measured: Dice 0.99 \x9b\u202e/bad.nii.gz" in captured.err


def test_tracebacks_hold_nothing_that_steers_the_terminal(tmp_path):
    command = [sys.executable, "-m", "AttentionUNetSegmentationLib.command.cli", "--verbose", "info"]
    result = subprocess.run([*command, str(tmp_path / f"{ESCAPE}.nii")], capture_output=True, text=True)
    assert result.returncode == 1
    assert "\x1b" not in result.stderr
