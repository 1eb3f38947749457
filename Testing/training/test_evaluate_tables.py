"""Statistics, published metrics, timing and checkpoints of an evaluation."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_unet_training.cli import main
from attention_unet_training.evaluation.cases import cases_of_dataset
from attention_unet_training.evaluation.checkpoints import load_checkpoint
from attention_unet_training.evaluation.comparison import compare, holm, interval, summarise
from attention_unet_training.evaluation.evaluation import Evaluation
from attention_unet_training.evaluation.files import evaluation_json, measurements
from attention_unet_training.evaluation.markdown import render
from attention_unet_training.evaluation.published import TABLES, MeanStd
from attention_unet_training.evaluation.runner import CaseMeasurement, ColumnInfo, measure_case
from attention_unet_training.evaluation.systems import NetworkSystem, model_column
from attention_unet_training.evaluation.timing import ForwardTime, forward_time
from attention_unet_training.task.segmentation_task import SegmentationTask
from attention_unet_training.task.starting_weights import read_starting_weights
from AttentionUNetSegmentationLib.models.loading import Model, save_model
from AttentionUNetSegmentationLib.pipeline import Options
from support import evaluation_cases, phantoms
from support.shared_data import PAPER, reason

pytestmark = pytest.mark.slow

CPU = Options(device="cpu")


def patients(count: int) -> dict[str, str]:
    return {f"c{n}": f"p{n}" for n in range(count)}


def scores(*values: float) -> dict[str, float]:
    return {f"c{n}": value for n, value in enumerate(values)}


def test_summary_by_hand():
    summary = summarise(scores(1.0, 2.0, math.nan, 6.0), patients(4))
    assert (summary.mean, summary.cases, summary.undefined) == (3.0, 3, 1)
    assert summary.std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert math.isnan(summarise(scores(5.0), patients(1)).std)
    assert math.isnan(summarise(scores(math.nan), patients(1)).mean)


def test_intervals_are_those_of_the_mean():
    """Near mean +- 1.96 standard errors where many cases are spread evenly, the same at every call."""
    values = scores(*np.linspace(0, 1, 101))
    low, high = interval(values, patients(101))
    error = 1.96 * np.std(list(values.values())) / math.sqrt(101)
    assert (low, high) == pytest.approx((0.5 - error, 0.5 + error), abs=0.01)
    assert interval(dict(reversed(values.items())), patients(101)) == (low, high)
    assert interval(scores(*[0.3] * 6), patients(6)) == pytest.approx((0.3, 0.3))


def test_intervals_of_few_patients_hold_the_mean_as_often_as_they_say():
    """About 95 in 100 do for normal values; percentiles of 2.5 and 97.5 would hold 87 of six patients."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        low, high = interval(scores(*rng.normal(size=6)), patients(6))
        held.append(low <= 0 <= high)
    assert 0.92 < np.mean(held) < 0.98


def test_intervals_draw_patients():
    """Twenty scans of each of six patients say no more than one of each."""
    people = {f"p{n}s{k}": f"p{n}" for n in range(6) for k in range(20)}
    low, high = interval({case: float(patient[1:]) for case, patient in people.items()}, people)
    assert (low, high) == pytest.approx(interval(scores(*range(6)), patients(6)))
    assert high - low > 2
    five = scores(*range(5))
    assert all(map(math.isnan, interval(five, patients(5))))
    assert all(map(math.isnan, summarise(five, patients(5)).interval))


def test_holm_by_hand():
    """Times 4, 3, 2, 1 in rising order, never falling, at most 1; what was no test does not count."""
    corrected = holm([0.03, math.nan, 0.005, 0.04, 0.01])
    assert math.isnan(corrected.pop(1))
    assert corrected == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_wilcoxon_by_hand():
    """Six differences, the smallest alone negative: rank sums 20 and 1, four of 64 sign patterns as extreme."""
    second = compare(scores(1, 1, 1, 1, 1, 1), scores(0.9, 1.2, 1.3, 1.4, 1.5, 1.6), patients(6))
    assert second.p == pytest.approx(4 / 64)
    assert second.p_corrected == second.p  # a single test
    assert second.difference == pytest.approx(1.9 / 6)
    assert second.interval[0] < 1.9 / 6 < second.interval[1]
    assert second.ranks == 19
    assert second.direction == 0
    higher = compare(scores(*[1.0] * 6), scores(2, 3, 4, 5, 6, 7), patients(6))
    assert higher.p == pytest.approx(2 / 64)
    assert higher.direction == 1
    assert compare(scores(2, 3, 4, 5, 6, 7), scores(*[1.0] * 6), patients(6)).direction == -1


def test_one_failed_case_makes_no_system_the_better_one():
    """The second is a little lower in 19 cases, the first misses one organ: ranks and mean disagree."""
    first = [0.8 + 0.001 * n for n in range(20)]
    second = [value - 0.01 for value in first]
    first[7] = 0.0
    compared = compare(scores(*first), scores(*second), patients(20))
    assert compared.p_corrected < 0.01
    assert compared.difference > 0 > compared.ranks
    assert compared.direction == 0


def test_equal_systems_have_a_p_value_of_one():
    assert compare(scores(*range(8)), scores(*range(8)), patients(8)).p == 1.0


def test_equal_pairs_make_nothing_significant():
    """Five pairs that differ cannot reach p < 0.05 (2 / 2^5 = 0.0625), however many equal ones stand beside them."""
    names = [f"case{n}" for n in range(25)]
    first = dict.fromkeys(names, 1.0)
    second = {name: 1.0 + 0.01 * (n + 1) * (n < 5) for n, name in enumerate(names)}
    compared = compare(first, second, {name: name for name in names})
    assert math.isnan(compared.p)
    assert compared.refusal == "fewer than 6 pairs differ (5)"
    assert compared.direction == 0
    second["case5"] = 1.1
    assert compare(first, second, {name: name for name in names}).p == pytest.approx(2 / 2**6)


def test_pairs_need_both_metrics():
    first, second = scores(1, 2, math.nan, 4, 5, 6, 7, 8), scores(0, 1, 2, math.nan, 4, 5, 6, 7)
    second.pop("c7")
    compared = compare(first, second, patients(8))
    assert (compared.pairs, compared.refusal) == (5, "fewer than 6 pairs (5)")
    assert compared.difference == -1
    assert math.isnan(compared.p)
    assert compared.direction == 0


def test_cases_of_one_patient_are_refused():
    people = patients(7) | {"c6": "p0"}
    compared = compare(scores(*range(7)), scores(*range(1, 8)), people)
    assert compared.refusal == "cases are not independent (7 cases of 6 patients)"
    assert math.isnan(compared.p)


def evaluation(tmp_path, columns=("A",), **changes) -> Evaluation:
    """The same perfect network in every column, on one case."""
    cases, name = cases_of_dataset(evaluation_cases.write_dataset(tmp_path / "data", 1))
    system = NetworkSystem(threshold_model(), CPU)
    outcomes = [CaseMeasurement(title, case, measure_case(system, case)) for title in columns for case in cases]
    timed = ForwardTime(1.5, 3, "CPU, 2 threads, torch")
    infos = [ColumnInfo(title, "a test", 6_407_018, timed, "abc") for title in columns]
    return Evaluation(name, infos, outcomes, **changes)


def threshold_model() -> Model:
    return Model(phantoms.spec(phantoms.LABELS[:2]), phantoms.ThresholdNetwork((-100.0, 60.0, 180.0)))


def test_published_systems_stand_beside(tmp_path):
    text = render(evaluation(tmp_path), TABLES["table1"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n") if line.startswith("| ")]
    lines = {name: cells for name, *cells in rows}
    assert lines["Pancreas DSC"][1:] == ["0.814 ± 0.116", "**0.840 ± 0.087**", "0.741 ± 0.137", "**0.767 ± 0.132**"]
    assert lines["Kidney DSC"] == ["-", "0.963 ± 0.013", "0.964 ± 0.016", "0.951 ± 0.019", "0.954 ± 0.021"]
    assert lines["Number of parameters"][:3] == ["6,407,018", "5.88 M", "6.40 M"]
    assert lines["Forward pass, 160 x 160 x 96"][:3] == ["1.500 s", "0.167 s", "0.179 s"]
    assert lines["Data"][:2] == ["balls (1 case)", "CT-150"]
    assert lines["Source"][:2] == ["measured here", "Oktay et al. 2018, arXiv:1804.03999, table 1"]
    assert "A: forward pass: median of 3 runs after one to warm up, CPU, 2 threads, torch." in text
    assert "no comparison of networks" in text
    assert "- A: a test." in text


@pytest.mark.parametrize(("cleaned", "said"), [(True, "cleaned up as for users"), (False, "raw, without the clean-up")])
def test_the_caption_tells_how_networks_were_measured(tmp_path, cleaned, said):
    measured = evaluation(tmp_path, cleaned=cleaned)
    assert f"- Networks' segmentations are {said}.\n" in render(measured)
    ending = "" if cleaned else ", without clean-up"  # or such figures would take the place of users' own
    assert {entry["data"] for entry in measurements(measured)} == {f"balls{ending}"}


def with_outcome(measured: Evaluation, organ: str = "spleen", **changes: object) -> Evaluation:
    """The evaluation with a second case, whose metrics of an organ are changed."""
    (outcome,) = measured.outcomes
    organs = outcome.result.organs | {organ: replace(outcome.result.organs[organ], **changes)}
    other = replace(
        outcome, case=replace(outcome.case, id="c1", patient="p1"), result=replace(outcome.result, organs=organs)
    )
    return replace(measured, outcomes=[outcome, other])


def test_figures_for_export_leave_out_what_is_undefined(tmp_path):
    missed = with_outcome(evaluation(tmp_path), dice=0.0, surface_distance_mm=math.nan)
    entry = {"data": "balls", "organ": "spleen", "weights": "abc"}
    found = measurements(missed)
    assert entry | {"metric": "Dice", "value": 0.5, "cases": 2} in found
    assert entry | {"metric": "surface distance (mm)", "value": 0.0, "cases": 1} in found


def test_an_organ_that_no_reference_shows_has_no_figures_for_export(tmp_path):
    measured = with_outcome(evaluation(tmp_path), reference_ml=0.0)
    assert {entry["organ"] for entry in measurements(measured)} == {"pancreas", "spleen"}
    without = replace(measured, outcomes=measured.outcomes[1:])
    assert {entry["organ"] for entry in measurements(without)} == {"pancreas"}


def test_there_are_no_figures_for_export_of_some_cases_or_of_no_network(tmp_path):
    measured = evaluation(tmp_path)
    failed = replace(measured.outcomes[0], result=None, error="c0: damaged")
    with pytest.raises(ValueError, match="1 of the cases failed: no figures are kept for export"):
        measurements(replace(measured, outcomes=[*measured.outcomes, failed]))
    folds = replace(measured, columns=[replace(measured.columns[0], weights="")])
    with pytest.raises(ValueError, match="one network, not of label maps or one network for each fold"):
        measurements(folds)


def test_an_organ_that_is_found_in_no_case_is_asked_about(tmp_path):
    measured = evaluation(tmp_path)
    asked = "A has no voxel of the spleen in any case."
    assert asked not in render(measured)
    lost = with_outcome(measured, predicted_ml=0.0)
    assert asked not in render(lost)
    lost = replace(lost, outcomes=lost.outcomes[1:])
    assert asked in render(lost)
    label_maps = replace(lost, columns=[replace(lost.columns[0], parameters=None)])
    assert "A has no voxel of the spleen in any case: is its value right?" in render(label_maps)
    (outcome,) = lost.outcomes
    others = {organ: metrics for organ, metrics in outcome.result.organs.items() if organ != "spleen"}
    blind = replace(outcome, column="B", result=replace(outcome.result, organs=others))  # it does not look for it
    both = replace(lost, columns=[*lost.columns, replace(lost.columns[0], title="B")], outcomes=[outcome, blind])
    assert "B has no voxel of the spleen" not in render(both)


def test_table_4_is_a_list(tmp_path):
    text = render(evaluation(tmp_path), TABLES["table4"])
    assert "| Method | Data | Pancreas DSC | Train/test | Source |" in text
    assert re.search(r"^\| A \| balls \(1 case\) \| 1\.000 \| - \| measured here \|$", text, re.MULTILINE)
    assert "| 2D FCN | CT-82 | 0.803 ± 0.090 | 62/20, 4-CV | Cai et al. 2017, MICCAI, as cited in table 4 of" in text
    assert "| Att U-Net | CT-82 | 0.815 ± 0.062 | 5-CV |" in text


def test_titles_cannot_break_the_table(tmp_path):
    text = render(evaluation(tmp_path, ["a|b", "c*d"]))
    assert "| a\\|b | c\\*d |" in text


@pytest.mark.skipif(not PAPER.is_file(), reason=reason(PAPER))
@pytest.mark.parametrize("name", sorted(TABLES))
def test_published_metrics_are_the_papers(name):
    """Every figure and no other, in the paper's order, bold where it is bold there."""
    text = PAPER.read_text(encoding="utf-8")
    body = text[text.index(f"Table {name[-1]}: ") :].split("\n\n")[1]
    body = re.sub(r"[$ ]|</?math>", "", body)
    printed = [
        (float(mean), float(std), bool(bold)) for bold, mean, std in re.findall(r"(<b>)?([\d.]+)\\pm([\d.]+)", body)
    ]
    systems = [system for system in TABLES[name] if "text of" not in system.source]
    listed = [metric for system in systems for metric in system.metrics.values()]
    if name == "table1":  # there a column is a system
        listed = [system.metrics[key] for key in systems[0].metrics for system in systems]
    scale = 100 if name == "table4" else 1
    assert [(round(f.mean * scale, 4), round(f.std * scale, 4), f.bold) for f in listed] == printed
    if name == "table4":
        assert r"$81.48 \pm 6.23$" in text
        assert TABLES[name][-1].metrics == {("pancreas", "dice"): MeanStd(0.8148, 0.0623)}


def test_forward_time_names_its_device(tmp_path):
    system = NetworkSystem(phantoms.model(), CPU)
    timed = forward_time(system, 2, (16, 32, 16))
    assert timed.runs == 2
    assert timed.seconds > 0
    assert re.fullmatch(r"CPU, \d+ threads?, openvino", timed.where)
    assert system.parameters == sum(p.numel() for p in phantoms.model().network.parameters())
    with pytest.raises(ValueError, match="timing needs at least one run, got 0"):
        forward_time(system, 0)


def write_checkpoint(path: Path, **options) -> SegmentationTask:
    """What ``fit`` leaves of a task that was not trained."""
    torch.manual_seed(0)
    task = SegmentationTask(**({"network": {"widths": [2, 4, 4, 4, 4]}} | options))
    intensity = {"clip_hu": [-200.0, 300.0], "mean_hu": 50.0, "std_hu": 250.0}
    data = {"spacing_mm": 2.0, "intensity": intensity}
    content = {"hyper_parameters": dict(task.hparams), "datamodule_hyper_parameters": data, "global_step": 1}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content | {"state_dict": task.state_dict()}, path)
    return task.eval()


def test_a_checkpoint_is_measured_like_the_model_it_would_become(tmp_path):
    task = write_checkpoint(tmp_path / "run" / "best.ckpt")
    model, organs = load_checkpoint(tmp_path / "run" / "best.ckpt")
    assert organs == ("pancreas", "spleen", "kidney")
    assert model.spec.spacing_mm == (2.0, 2.0, 2.0)
    assert model.spec.intensity.mean_hu == 50.0
    assert [label.components for label in model.spec.labels] == [2, 1, 2]
    assert [label.caution for label in model.spec.labels] == ["", "", ""]  # the bundled model's are not this one's
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(model.network(x)[0], task.network.eval()(x)[0])
    save_model(tmp_path / "exported", task.network, model.spec, half_precision=False)
    column = model_column(str(tmp_path / "run" / "best.ckpt"), CPU, {0})
    assert column.title == "run/best"
    case = evaluation(tmp_path).outcomes[0].case
    results = [
        measure_case(model_column(str(path), CPU, {0}).open(0), case)
        for path in (tmp_path / "run" / "best.ckpt", tmp_path / "exported")
    ]
    assert repr(results[0].organs) == repr(results[1].organs)


def test_organs_left_out_of_training_are_not_measured(tmp_path):
    write_checkpoint(tmp_path / "aft.ckpt", active_organs=["pancreas"])
    system = model_column(str(tmp_path / "aft.ckpt"), CPU, {0}).open(0)
    assert system.organs == ("pancreas",)
    assert list(measure_case(system, evaluation(tmp_path).outcomes[0].case).organs) == ["pancreas"]


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_networks_of_monai_are_measured_too(tmp_path):
    options = {"init_filters": 4, "blocks_down": [1, 1], "blocks_up": [1], "norm": ["GROUP", {"num_groups": 2}]}
    network = {"architecture": "monai.SegResNet", "monai_options": options}
    task = write_checkpoint(tmp_path / "m.ckpt", network=network)
    system = model_column(f"SegResNet={tmp_path / 'm.ckpt'}", CPU, {0}).open(0)
    assert len(system.model.spec.architecture.widths) == 2  # padded to multiples of 2, as SegResNet needs
    assert system.parameters == sum(p.numel() for p in task.network.parameters())
    case = evaluation(tmp_path).outcomes[0].case
    metrics = measure_case(system, case).organs
    assert list(metrics) == ["pancreas", "spleen"]
    assert all(0 <= entry.dice < 0.9 for entry in metrics.values())


@pytest.mark.parametrize("content", [b"nothing", None])
def test_other_files_are_no_checkpoints(tmp_path, content, capsys):
    path = tmp_path / "x.ckpt"
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 1)
    assert main(["evaluate", "--dataset", str(dataset), "--model", str(path)]) == 1
    assert f"{path} is not a checkpoint of attention-unet-train fit: " in capsys.readouterr().err


def test_checkpoints_of_an_earlier_version_are_called_so(tmp_path, capsys):
    """Their options had no groups."""
    task = write_checkpoint(tmp_path / "old.ckpt")
    content = torch.load(tmp_path / "old.ckpt", weights_only=True)
    content["hyper_parameters"] = {"organs": ["pancreas"], "architecture": "AttentionUNet", "widths": [2, 4, 4, 4, 4]}
    content["datamodule_hyper_parameters"] = {"spacing_mm": 2.0, "mean_hu": 50.0}
    torch.save(content, tmp_path / "old.ckpt")
    dataset = evaluation_cases.write_dataset(tmp_path / "data", 1)
    for command in (
        ["evaluate", "--dataset", str(dataset), "--model", str(tmp_path / "old.ckpt")],
        ["export", str(tmp_path / "old.ckpt"), str(tmp_path / "model")],
        ["average", *[str(tmp_path / "old.ckpt")] * 2, "--output", str(tmp_path / "mean.ckpt")],
    ):
        assert main(command) == 1
        assert f"error: {tmp_path / 'old.ckpt'} was written by an earlier version" in capsys.readouterr().err
    weights = read_starting_weights(tmp_path / "old.ckpt").state  # what it weighs is as it was
    assert torch.equal(weights["mix.bias"], task.network.mix.bias)


def test_json_holds_no_nan(tmp_path):
    text = evaluation_json(evaluation(tmp_path, ["A", "B"]))
    content = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert content["systems"][0]["summary"]["pancreas"]["dice"]["std"] is None
    assert content["systems"][1]["forward_time"] == {"seconds": 1.5, "runs": 3, "where": "CPU, 2 threads, torch"}
    assert np.isfinite(content["systems"][0]["cases"][0]["seconds"])
    assert content["comparisons"][0]["refusal"] == "fewer than 6 pairs (1)"
