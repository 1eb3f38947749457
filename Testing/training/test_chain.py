"""The whole chain by the commands that a user gives: prepare, fit, evaluate, export, segment."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from attention_unet_training.cli import main as train
from attention_unet_training.preparation.prepared import PreparedDataset
from attention_unet_training.task.segmentation_task import SegmentationTask
from AttentionUNetSegmentationLib.command.cli import main as attention_unet
from AttentionUNetSegmentationLib.formats.files import read_volume
from AttentionUNetSegmentationLib.inference.prediction import pad_to_multiple
from AttentionUNetSegmentationLib.models.loading import load_model
from support import phantoms
from support.prepare_phantoms import LABEL_OPTIONS, abdomen, save
from support.training_checkpoints import write_description

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "Training/attention_unet_training/configs"
GRID = phantoms.grid((20, 32, 36), (2.0, 2.0, 2.0), np.eye(3), (3, -40, 700))  # the network's own: nothing is resampled
ORGANS = ("pancreas", "spleen", "kidney")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder in which everything was done, in order."""
    folder = tmp_path_factory.mktemp("chain")
    lines = ["image,label"]
    for n in range(3):
        ct, labels = abdomen(n, GRID)
        save(ct, folder / f"ct{n}.nii.gz")
        save(labels, folder / f"labels{n}.nii.gz")
        lines.append(f"ct{n}.nii.gz,labels{n}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for command in commands(folder):
        assert train(command) == 0, command
    torch.set_num_threads(threads)
    return folder


def commands(folder: Path) -> list[list[str]]:
    dataset, run, measured = str(folder / "dataset"), str(folder / "run"), str(folder / "measured.json")
    fit = ["--config", str(CONFIGS / "overfit.yaml"), "--data.dataset", dataset, "--data.split", "2-1"]
    fit += ["--data.validation_cases", "1", "--data.shape_kji", "[16, 24, 24]", "--data.samples_per_epoch", "48"]
    fit += ["--model.network.widths", "[4, 8, 8]", "--model.optimisation.learning_rate", "0.02"]
    fit += ["--trainer.default_root_dir", run, "--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
    fit += ["--trainer.max_epochs", "2"]
    evaluate = ["--dataset", dataset, "--split", "2-1", "--model", f"{run}/best.ckpt", "--data-name", "phantoms"]
    evaluate += ["--time-runs", "1", "--raw"]  # the phantoms' organs have about 1 ml, too little for an organ
    return [
        ["prepare", str(folder / "cases.csv"), "--output", dataset, *LABEL_OPTIONS, "--split", "2/1", "--workers", "1"],
        ["fit", *fit],
        ["evaluate", *evaluate, "--output", measured, "--report-dir", str(folder / "report")],
        [
            "export",
            f"{run}/best.ckpt",
            str(folder / "model"),
            "--description",
            str(write_description(folder / "description.json")),
            "--measured",
            measured,
        ],
    ]


def only_test_case(folder: Path):
    dataset = PreparedDataset.open(folder / "dataset")
    (name,) = dataset.split("2-1").folds[0].test
    return dataset.case(name)


def dice_with_reference(labels: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    values = ((1,), (2,), (3, 4, 5))
    return {
        organ: phantoms.dice(np.isin(labels, own), reference == number)
        for number, (organ, own) in enumerate(zip(ORGANS, values, strict=True), start=1)
    }


def test_the_exported_model_gives_what_the_trainer_predicts(folder, tmp_path):
    case = only_test_case(folder)
    task = SegmentationTask.load_from_checkpoint(folder / "run" / "best.ckpt", map_location="cpu").eval()
    image = np.asarray(case.image(), dtype=np.float32)
    with torch.inference_mode():
        logits, _ = task(torch.from_numpy(pad_to_multiple(image, 4))[None, None])
    predicted = logits[0].argmax(dim=0).numpy()[tuple(slice(0, size) for size in image.shape)]
    ct = case.record.image_source
    arguments = ["segment", str(ct), "--model", str(folder / "model"), "--output-dir", str(tmp_path / "out")]
    assert attention_unet([*arguments, "--no-clean-up", "--no-split", "--device", "cpu", "--quiet"]) == 0
    labels = read_volume(tmp_path / "out" / "labels.nii.gz")
    assert labels.grid.same_as(GRID)
    start = np.round(GRID.ijk_of(case.grid.ras_of(np.zeros(3)))).astype(int)[::-1]
    inside = labels.voxels[tuple(slice(s, s + size) for s, size in zip(start, image.shape, strict=True))]
    assert np.count_nonzero(predicted) > 100  # there is something to compare
    for number, value in enumerate((1, 2, 5), start=1):
        assert phantoms.dice(inside == value, predicted == number) > 0.99


def test_two_epochs_have_learnt_something_and_evaluate_says_how_much(folder):
    measured = json.loads((folder / "measured.json").read_text())
    values = {entry["organ"]: entry["value"] for entry in measured if entry["metric"] == "Dice"}
    assert set(values) == set(ORGANS)
    assert max(values.values()) > 0.3
    assert list((folder / "report").glob("*.md"))
    exported = load_model(folder / "model").spec
    made, split = exported.provenance, PreparedDataset.open(folder / "dataset").split("2-1").folds[0]
    assert (made.dataset, made.split, made.fold, made.test_cases) == ("cases", "2-1", 0, split.test)
    assert {*made.training_cases, *made.validation_cases} == set(split.train)
    assert made.optimisation["learning_rate"] == 0.02
    assert made.steps == exported.training["steps"]
    assert {(m.organ, m.metric) for m in exported.measured} >= {(organ, "Dice") for organ in ORGANS}


def test_evaluation_counts_what_the_command_segments(folder, tmp_path):
    """The figure in the exported model is the Dice of the files that ``attention-unet segment`` writes."""
    case = only_test_case(folder)
    out = tmp_path / "out"
    assert (
        attention_unet(
            [
                "segment",
                str(case.record.image_source),
                "--model",
                str(folder / "model"),
                "--output-dir",
                str(out),
                "--no-clean-up",
            ]
        )
        == 0
    )
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "labels.nii.gz")))
    dice = dice_with_reference(labels, case.reference().voxels)
    for entry in load_model(folder / "model").spec.measured:
        if entry.metric == "Dice":
            assert dice[entry.organ] == pytest.approx(entry.value, abs=0.01)
