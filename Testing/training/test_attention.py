"""Attention analysis: what is recorded at the gates, the metrics by hand, the control, and the command."""

import csv
import json

import numpy as np
import pytest
import torch

from attention_unet_training.attention_analysis import predictions
from attention_unet_training.attention_analysis.analysis import analyse
from attention_unet_training.attention_analysis.case import CaseOnGrid, body_mask, prepare, read_case
from attention_unet_training.attention_analysis.control import randomised
from attention_unet_training.attention_analysis.metrics import OrganAttention, measure, separation, voxels_per_cell
from attention_unet_training.attention_analysis.pictures import shared_range
from attention_unet_training.attention_analysis.plot import steps_rise
from attention_unet_training.attention_analysis.recording import Recording, record
from attention_unet_training.attention_analysis.series import read_network, titles
from attention_unet_training.attention_analysis.tables import beyond
from attention_unet_training.attention_analysis.views import plane_grid
from attention_unet_training.cli import main
from attention_unet_training.evaluation.systems import Column, NetworkSystem
from attention_unet_training.organ_values import parse_organ
from AttentionUNetSegmentationLib.formats.files import write_volume
from AttentionUNetSegmentationLib.imaging.measures import measure_attention
from AttentionUNetSegmentationLib.imaging.preprocessing import NetworkInput, preprocess
from AttentionUNetSegmentationLib.inference.prediction import pad_to_multiple
from AttentionUNetSegmentationLib.models.loading import Model, save_model
from AttentionUNetSegmentationLib.pipeline import Options
from AttentionUNetSegmentationLib.volume import OrganMask, Segmentation, Volume
from support import evaluation_cases, phantoms
from support.training_checkpoints import tiny_network, write_checkpoint

pytestmark = pytest.mark.slow

MAPS = ["s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2"]
ORGANS = {"pancreas": (1,), "kidney": (3, 4)}
OPTIONS = ["--organ", "pancreas=1", "--organ", "kidney=3,4", "--control-seeds", "2", "--device", "cpu"]


def phantom() -> tuple[Volume, Volume]:
    """A body of 0 HU in air with a pancreas of one ball and a kidney of two, and its labels."""
    where = phantoms.grid((36, 40, 44), (2.0, 2.0, 2.0))
    places = {1: (0, 10, 0), 3: (20, -10, 0), 4: (-20, -10, 5)}
    masks = {value: phantoms.ball(where, place, 8.0) for value, place in places.items()}
    body = phantoms.ball(where, (0, 0, 0), 34.0)
    hu = phantoms.hu_from([(body, 0.0), *((mask, 100.0) for mask in masks.values())], -1000.0)
    labels = np.zeros(where.shape_kji, np.uint8)
    for value, mask in masks.items():
        labels[mask > 0.5] = value
    return Volume(hu, where.ijk_to_ras, name="ct"), Volume(labels, where.ijk_to_ras, name="labels")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """CT, labels and two checkpoints of one training on disk."""
    folder = tmp_path_factory.mktemp("case")
    ct, labels = phantom()
    write_volume(ct, folder / "ct.nii.gz")
    write_volume(labels, folder / "labels.nii.gz")
    write_checkpoint(folder / "early.ckpt", tiny_network(seed=1), step=10)
    write_checkpoint(folder / "late.ckpt", tiny_network(seed=2), step=30)
    return folder


@pytest.fixture(scope="module")
def case(files):
    return read_case(files / "ct.nii.gz", files / "labels.nii.gz", ORGANS)


def volume_of(array: np.ndarray, stride: int) -> Volume:
    return Volume(array.astype(np.float32), phantoms.grid(array.shape, (stride,) * 3).ijk_to_ras)


def test_exact_tensors_are_taken_at_the_gates(case):
    network, network_input = tiny_network(), preprocess(case.ct, (2.0, 2.0, 2.0), phantoms.INTENSITY)
    recording = record(network, network_input)
    x = torch.from_numpy(pad_to_multiple(network_input.image, 16))[None, None]
    with torch.inference_mode():
        _, attention = network(x)
        pool = torch.nn.functional.max_pool3d
        skip = network.encoder[1](pool(network.encoder[0](x), 2))
        deeper = network.encoder[2](pool(skip, 2))
    d, h, w = (-(-size // 2) for size in network_input.image.shape)
    assert list(recording.coefficients) == MAPS
    for name, alpha in attention.items():
        k, j, i = recording.coefficients[name].voxels.shape
        np.testing.assert_allclose(recording.coefficients[name].voxels, alpha[0, 0, :k, :j, :i], rtol=0, atol=1e-6)
    np.testing.assert_allclose(recording.before["s2"].voxels, skip[0].abs().mean(0)[:d, :h, :w], rtol=0, atol=1e-6)
    seen = []
    handle = network.gates["s3"].register_forward_hook(lambda gate, inputs, outputs: seen.append((inputs, outputs)))
    with torch.inference_mode():
        network(x)
    handle.remove()
    (inputs, (gated, _)) = seen[0]
    torch.testing.assert_close(inputs[0], deeper)
    k, j, i = recording.after["s3"].voxels.shape
    np.testing.assert_allclose(recording.after["s3"].voxels, gated[0].abs().mean(0)[:k, :j, :i], rtol=0, atol=1e-6)
    assert not network.gates["s2"]._forward_hooks
    assert recording.strides == {name: (f, f, f) for s, f in ((2, 2), (3, 4), (4, 8)) for name in names_of(s)}
    # a voxel of scale 3 covers 4 voxels: its centre lies 1.5 of them further
    shift = recording.after["s3"].grid.ras_of(np.zeros(3)) - network_input.grid.ras_of(np.zeros(3))
    np.testing.assert_allclose(shift, 1.5 * 2.0)


def names_of(scale: int) -> list[str]:
    return [f"s{scale}", f"s{scale}-1", f"s{scale}-2"]


def tiny_recording(alpha: np.ndarray, stride: int) -> Recording:
    return Recording({"s2-1": volume_of(alpha, stride)}, {}, {}, {"s2-1": (stride,) * 3})


def tiny_case(shape: tuple[int, int, int], body: np.ndarray, organs: dict[str, np.ndarray]) -> CaseOnGrid:
    grid = phantoms.grid(shape)
    image = np.zeros(shape, np.float32)
    return CaseOnGrid(NetworkInput(image, grid, phantoms.INTENSITY), body, organs)


def test_metrics_by_hand():
    alpha = np.array([[[0.2, 0.4, 0.9]]])  # three cells of 2 x 2 x 2 voxels; the last lies half outside of the field
    body = np.ones((2, 2, 5), bool)
    body[0, 0, 0] = False  # 7, 8 and 4 voxels
    organ = np.zeros((2, 2, 5), bool)
    organ[:, :, 3:] = True  # 0, 4 and 4 voxels
    metrics = measure(tiny_recording(alpha, 2), tiny_case((2, 2, 5), body, {"organ": organ}))["s2-1"]
    mass = 7 * 0.2 + 8 * 0.4 + 4 * 0.9
    assert metrics.mean == pytest.approx(mass / 19)
    assert metrics.std == pytest.approx(np.std([0.2] * 7 + [0.4] * 8 + [0.9] * 4))
    inside = metrics.organs["organ"]
    assert inside.share == pytest.approx((4 * 0.4 + 4 * 0.9) / mass)
    assert inside.volume_share == pytest.approx(8 / 19)
    assert inside.enrichment == pytest.approx(inside.share / (8 / 19))
    # inside: 4 of 0.4, 4 of 0.9; outside: 7 of 0.2, 4 of 0.4
    assert inside.auc == pytest.approx((4 * (7 + 4 / 2) + 4 * 11) / (8 * 11))


def test_a_flat_map_has_no_preference():
    organ = np.zeros((4, 4, 4), bool)
    organ[1, 1, 1] = True
    case = tiny_case((4, 4, 4), np.ones((4, 4, 4), bool), {"organ": organ})
    metrics = measure(tiny_recording(np.full((2, 2, 2), 0.7), 2), case)["s2-1"]
    assert metrics.organs["organ"].enrichment == pytest.approx(1)
    assert metrics.organs["organ"].auc == 0.5
    assert metrics.std == pytest.approx(0, abs=1e-9)


def test_shares_are_those_of_the_engine_when_everything_is_body(case):
    network_input = preprocess(case.ct, (2.0, 2.0, 2.0), phantoms.INTENSITY)
    recording = record(tiny_network(), network_input)
    shape = network_input.grid.shape_kji
    organ = prepare(case, (2.0, 2.0, 2.0), phantoms.INTENSITY).organs["pancreas"]
    metrics = measure(recording, CaseOnGrid(network_input, np.ones(shape, bool), {"pancreas": organ}))
    mask = OrganMask("pancreas", 1, "", "", (0, 0, 0))
    segmentation = Segmentation(organ.astype(np.uint8), network_input.grid.ijk_to_ras, [mask], recording.coefficients)
    for name, gate in measure_attention(segmentation).items():
        if all(size % stride == 0 for size, stride in zip(shape, recording.strides[name], strict=True)):
            assert metrics[name].organs["pancreas"].share == pytest.approx(gate.share["pancreas"], rel=1e-5)
            assert metrics[name].organs["pancreas"].volume_share == pytest.approx(gate.volume_share["pancreas"])
    assert all(size % 2 == 0 for size in shape)  # at least scale 2 was compared


def test_counts_per_cell_cover_every_voxel_once():
    mask = np.zeros((3, 4, 5), bool)
    mask[2, 3, 4] = mask[0, 0, 0] = mask[0, 1, 1] = True
    counts = voxels_per_cell(mask, (2, 2, 2))
    assert counts.shape == (2, 2, 3)
    assert (counts[0, 0, 0], counts[1, 1, 2], counts.sum()) == (2, 1, 3)


@pytest.mark.parametrize(("inside", "auc"), [([0, 0, 3], 1.0), ([3, 0, 0], 0.0), ([1, 1, 1], 0.5), ([0, 0, 0], 0.5)])
def test_separation(inside, auc):
    assert separation(np.array([0.1, 0.2, 0.3]), np.array(inside), np.array([1, 1, 1]) - np.array(inside) // 3) == auc


def test_the_body_is_the_largest_part_with_what_it_encloses():
    hu = np.full((3, 12, 12), -1000.0)
    hu[:, 2:9, 2:9] = 0
    hu[:, 4:6, 4:6] = -900  # a lung
    hu[:, 11, :] = -100  # a table
    mask = body_mask(hu)
    assert mask.sum() == 3 * 7 * 7
    assert mask[:, 4:6, 4:6].all()
    assert body_mask(np.full((2, 2, 2), -1000.0)).all()


def test_the_case_is_cut_through_the_largest_part_of_an_organ(files):
    case = read_case(files / "ct.nii.gz", files / "labels.nii.gz", ORGANS)
    assert case.position_organ == "pancreas"
    np.testing.assert_allclose(case.position_ras_mm, (0, 10, 0), atol=0.6)
    other = read_case(files / "ct.nii.gz", files / "labels.nii.gz", ORGANS, "kidney")
    assert abs(other.position_ras_mm[0]) == pytest.approx(20, abs=0.6)


@pytest.mark.parametrize(
    ("organs", "position", "message"),
    [
        ({"liver": (9,)}, None, "has no voxel of liver=9; its values are 0, 1, 3, 4"),
        (ORGANS, "liver", "position must be one of pancreas, kidney, got 'liver'"),
        ({}, None, "at least one organ"),
    ],
)
def test_unusable_organs_are_named(files, organs, position, message):
    with pytest.raises(ValueError, match=message):
        read_case(files / "ct.nii.gz", files / "labels.nii.gz", organs, position)


def test_labels_that_do_not_fit_the_ct_are_refused(files, tmp_path):
    """Those of another patient, fractions, and organs of which the CT shows a part."""
    ct, labels = phantom()
    far = labels.ijk_to_ras + np.outer([500, 500, 500, 0], [0, 0, 0, 1])
    for wrong, message in (
        (Volume(labels.voxels, far), r"100% of the pancreas of .*labels.nii.gz lie outside .*ct.nii.gz: do the two"),
        (Volume(labels.voxels * 0.5, labels.ijk_to_ras), "labels.nii.gz .*no whole numbers"),
    ):
        write_volume(wrong, tmp_path / "labels.nii.gz")
        with pytest.raises(ValueError, match=message):
            read_case(files / "ct.nii.gz", tmp_path / "labels.nii.gz", ORGANS)
    write_volume(Volume(ct.voxels[:, :26], ct.ijk_to_ras), tmp_path / "ct.nii.gz")  # the ball is in rows 21 to 29
    with pytest.raises(ValueError, match="% of the pancreas of .* lie outside"):
        read_case(tmp_path / "ct.nii.gz", files / "labels.nii.gz", ORGANS)
    write_volume(Volume(ct.voxels[:, :29], ct.ijk_to_ras), tmp_path / "ct.nii.gz")
    assert read_case(tmp_path / "ct.nii.gz", files / "labels.nii.gz", ORGANS).position_organ == "pancreas"


def test_the_control_begins_as_the_training_began(tmp_path):
    """The public code's start has random gates; the usual one has gates that pass everything."""
    network = {"architecture": "AttentionUNet", "widths": list(phantoms.TINY_WIDTHS)}
    for start, low in (("kaiming", True), ("open", False)):
        write_checkpoint(tmp_path / "x.ckpt", tiny_network(), task={"network": network | {"initialisation": start}})
        control = randomised(read_network(str(tmp_path / "x.ckpt"), "x"), "initial", 0)
        x = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            coefficients = control(x)[1]["s2-1"]
        assert (float(coefficients.mean()) < 0.9) == low, start


def test_slices_lie_as_radiologists_look():
    source = phantoms.grid((10, 20, 30), (2.0, 2.0, 2.0))
    axial, sagittal = (plane_grid(source, view, (4.0, 5.0, 6.0)) for view in ("axial", "sagittal"))
    assert (axial.ijk_to_ras[:3, :3] == np.array([[-1, 0, 0], [0, 1, 0], [0, 0, 1]])).all()
    np.testing.assert_allclose(axial.ras_of(np.zeros(3)), (29, -19, 6))
    assert (sagittal.ijk_to_ras[:3, :2] == np.array([[0, 0], [-1, 0], [0, 1]])).all()
    np.testing.assert_allclose(sagittal.ras_of(np.zeros(3)), (4, 19, -9))


def test_randomised_networks(files):
    trained = read_network(str(files / "late.ckpt"), "late")
    before = {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}
    shuffled = randomised(trained, "shuffled", 3)
    weight, original = shuffled.encoder[1].conv1.weight, trained.network.encoder[1].conv1.weight
    assert not torch.equal(weight, original)
    torch.testing.assert_close(weight.flatten().sort().values, original.flatten().sort().values)
    assert torch.equal(randomised(trained, "shuffled", 3).mix.weight, shuffled.mix.weight)
    assert not torch.equal(randomised(trained, "shuffled", 4).mix.weight, shuffled.mix.weight)
    initial = randomised(trained, "initial", 3)
    assert (initial.gates["s2"].subgates[0].psi.bias == 3).all()
    assert initial.training and shuffled.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.network.state_dict().items())
    with pytest.raises(ValueError, match="kind must be one of initial, shuffled, got 'zero'"):
        randomised(trained, "zero", 0)


def test_beyond_the_control():
    assert beyond(1.2, [0.9, 1.1]) and beyond(0.8, [0.9, 1.1]) and not beyond(1.1, [0.9, 1.1])
    assert OrganAttention(0.3, 0.1, 0.9).enrichment == pytest.approx(3)


def test_titles_are_short_and_differ():
    assert titles(["runs/a/best.ckpt", "runs/b/best.ckpt", "abdomen-ct"]) == ["a/best", "b/best", "abdomen-ct"]
    assert titles(["x/a/best.ckpt", "y/a/best.ckpt"]) == ["x/a/best", "y/a/best"]
    with pytest.raises(ValueError, match="a.ckpt twice"):
        titles(["a.ckpt", "a.ckpt"])


def test_networks_without_gates_are_refused(files, tmp_path):
    path = write_checkpoint(tmp_path / "unet.ckpt", tiny_network("UNet"))
    with pytest.raises(ValueError, match="is a UNet: it has no attention gates"):
        read_network(str(path), "unet")


def test_a_model_folder_can_stand_in_the_series(case, files, tmp_path):
    save_model(tmp_path / "model", tiny_network(seed=2), phantoms.spec(training={"steps": 44}))
    result = analyse(case, [str(files / "early.ckpt"), str(tmp_path / "model")], 1)
    assert [(entry.title, entry.step) for entry in result.entries][1] == ("model", 44)
    assert steps_rise(result.entries)
    assert not steps_rise(result.entries[::-1])


def test_colour_ranges_are_shared_and_metrics_belong_to_their_network(case, files):
    result = analyse(case, [str(files / "early.ckpt"), str(files / "late.ckpt")], 1)
    early, late = (entry.views.before["s3"] for entry in result.entries)
    assert early.high != late.high
    assert shared_range(result.entries, "before", "s3") == (min(early.low, late.low), max(early.high, late.high))
    alone = analyse(case, [str(files / "late.ckpt")], 1)
    assert alone.entries[0].metrics == result.entries[1].metrics
    assert [(run.kind, run.seed) for run in result.controls] == [("initial", 0), ("shuffled", 0)]


def test_an_analysis_needs_networks_and_a_control(case, files):
    with pytest.raises(ValueError, match="at least one --model"):
        analyse(case, [], 1)
    with pytest.raises(ValueError, match="at least one seed, got 0"):
        analyse(case, [str(files / "late.ckpt")], 0)


def test_the_command_writes_tables_and_pictures(files, tmp_path, capsys):
    models = ["--model", str(files / "early.ckpt"), "--model", str(files / "late.ckpt")]
    arguments = ["attention", "--ct", str(files / "ct.nii.gz"), "--labels", str(files / "labels.nii.gz"), *OPTIONS]
    output = tmp_path / "out"
    assert main([*arguments, *models, "--output", str(output)]) == 0
    with (output / "attention.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == (2 + 2 * 2) * len(MAPS) * len(ORGANS)
    for row in rows:
        assert float(row["enrichment"]) == pytest.approx(float(row["share"]) / float(row["volume_share"]), rel=1e-2)
    late = [row for row in rows if row["network"].endswith("/late")]
    assert {row["step"] for row in late} == {"30"}
    content = json.loads((output / "attention.json").read_text())
    assert content["organs"] == {"pancreas": [1], "kidney": [3, 4]}
    assert len(content["rows"]) == len(rows)
    assert content["rows"][0]["enrichment"] == float(rows[0]["enrichment"])
    text = (output / "attention.md").read_text()
    assert "late, step 30" in text and "## Control: shuffled weights" in text
    pictures = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.png"))
    assert pictures == [
        "coefficients_axial.png",
        "coefficients_sagittal.png",
        *(f"gates/{n:02d}_{gate}.png" for n in (1, 2) for gate in ("s2", "s3", "s4")),
        "series.png",
    ]
    capsys.readouterr()
    assert main([*arguments, *models, "--output", str(output)]) == 1
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert main([*arguments, "--model", "no.ckpt", "--output", str(output), "--overwrite"]) == 1
    assert capsys.readouterr().err == "error: no.ckpt does not exist\n"  # what was written may be replaced


def test_failures_leave_nothing(files, tmp_path, capsys):
    arguments = ["attention", "--ct", str(files / "ct.nii.gz"), "--labels", str(files / "labels.nii.gz"), *OPTIONS]
    assert main([*arguments, "--model", str(tmp_path / "no.ckpt"), "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith("no.ckpt does not exist\n")
    assert list(tmp_path.iterdir()) == []


def test_organ_arguments():
    assert parse_organ("kidney=3,4") == ("kidney", (3, 4))
    for text in ("kidney", "=3", "kidney=x"):
        with pytest.raises(ValueError, match="must look like kidney=3,4"):
            parse_organ(text)


def test_predictions_are_judged_voxel_by_voxel(case, tmp_path, monkeypatch):
    """One network finds nothing, another what is bright: of these slices all that is organ, pancreas or not."""
    networks = {"blind": phantoms.ThresholdNetwork((0.0, 3000.0)), "bright": phantoms.ThresholdNetwork((0.0, 100.0))}

    def column(text: str, options: Options, folds: set[int]) -> Column:
        model = Model(phantoms.spec(phantoms.LABELS[:1]), networks[text.removeprefix("model=")])
        return Column(text, lambda fold: NetworkSystem(model, options))

    monkeypatch.setattr(predictions, "model_column", column)
    result = predictions.predict(case, {"without": "blind", "with": "bright"}, "cpu")
    assert result.organ == "pancreas"
    reference, blind, bright = (result.columns[name]["axial"] for name in ("reference", "without", "with"))
    assert set(np.unique(reference)) == {0, predictions.RIGHT}
    assert ((blind == predictions.MISSED) == (reference == predictions.RIGHT)).all()
    assert (bright == predictions.RIGHT).sum() > 0.9 * (reference == predictions.RIGHT).sum() > 100
    assert (bright == predictions.FALSE).sum() > 100  # the kidneys, of which this plane shows some
    predictions.draw_predictions(result, tmp_path / "predictions.png")
    assert (tmp_path / "predictions.png").stat().st_size > 10_000


def test_a_case_of_a_dataset_and_a_network_beside(files, tmp_path):
    """The first test case that shows all its organs is taken."""
    dataset = evaluation_cases.write_dataset(
        tmp_path / "data", 4, voxels=[{}, {}, {"pancreas": 9}, {"pancreas": 9, "spleen": 9}]
    )
    unet = write_checkpoint(tmp_path / "unet.ckpt", tiny_network("UNet"))
    arguments = ["attention", "--dataset", str(dataset), "--split", "half", "--control-seeds", "1", "--device", "cpu"]
    arguments += ["--model", str(files / "late.ckpt"), "--beside", str(unet), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "out" / "attention.json").read_text())["organs"] == {"pancreas": [1], "spleen": [2]}
    assert (tmp_path / "out" / "predictions.png").is_file()
    assert main([*arguments, "--ct", "x.nii.gz", "--labels", "y.nii.gz", "--organ", "a=1", "--overwrite"]) == 1


def test_cases_come_from_files_or_from_a_dataset(tmp_path, capsys):
    for given in ([], ["--ct", "ct.nii.gz"], ["--dataset", "data"]):
        assert (
            main(["attention", *given, "--model", "a.ckpt", "--output", str(tmp_path / "out"), "--device", "cpu"]) == 1
        )
        assert "give either --ct, --labels and --organ, or --dataset and --split" in capsys.readouterr().err
