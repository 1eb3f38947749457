"""``attention-unet-train attention``: where the gates of a series of checkpoints look on a case with reference labels.

Pictures after the paper's figures 3 and 4, metrics per coefficient map and organ, and a control of randomised weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from AttentionUNetSegmentationLib.inference.devices import choose_device

from ..attention_analysis.analysis import Analysis, analyse
from ..attention_analysis.case import AttentionCase, read_case
from ..attention_analysis.pictures import draw_gate, draw_series
from ..attention_analysis.plot import draw_plot
from ..attention_analysis.predictions import draw_predictions, predict
from ..attention_analysis.series import titles
from ..attention_analysis.tables import to_csv, to_json, to_markdown
from ..attention_analysis.views import PLANES
from ..organ_values import parse_organs
from ..preparation.prepared import PreparedDataset
from ..preparation.records import REFERENCE_FILE
from ..refusals import told_in_one_line
from ..staging import Output, staged

PREDICTIONS = "predictions.png"
FILES = (
    "attention.csv",
    "attention.json",
    "attention.md",
    "series.png",
    "coefficients_*.png",
    "gates/*_s*.png",
    PREDICTIONS,
)


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    device = choose_device(parsed.device, "torch")
    with staged([Output(parsed.output, FILES)], parsed.overwrite) as (draft,):
        case = _case(parsed)
        analysis = analyse(case, parsed.model, parsed.control_seeds, device, lambda step: print(step, flush=True))
        write(analysis, draft)
        if parsed.beside:
            sources = [parsed.beside, parsed.model[-1]]
            named = dict(zip(titles(sources), sources, strict=True))
            draw_predictions(predict(case, named, device), draft / PREDICTIONS)
    print(f"wrote tables and pictures to {parsed.output}")
    return 0


def write(analysis: Analysis, folder: Path) -> None:
    """Write everything.

    Args:
        analysis: What was measured.
        folder: Created; gets ``attention.csv``, ``.json``, ``.md``, ``series.png``, ``coefficients_<view>.png`` and
            ``gates/<number>_<gate>.png``, numbered in the series' order.
    """
    (folder / "gates").mkdir(parents=True)
    for ending, text in (("csv", to_csv(analysis)), ("json", to_json(analysis)), ("md", to_markdown(analysis))):
        (folder / f"attention.{ending}").write_text(text, encoding="utf-8")
    draw_plot(analysis, folder / "series.png")
    for view in PLANES:
        draw_series(analysis, view, folder / f"coefficients_{view}.png")
    for n, entry in enumerate(analysis.entries, start=1):
        for gate in entry.views.gates:
            draw_gate(analysis, entry, gate, folder / "gates" / f"{n:02d}_{gate}.png")


def _case(parsed: argparse.Namespace) -> AttentionCase:
    files = bool(parsed.ct and parsed.labels and parsed.organ)
    if files == bool(parsed.dataset and parsed.split):
        raise ValueError("give either --ct, --labels and --organ, or --dataset and --split")
    if not files:
        return _case_of_dataset(parsed.dataset, parsed.split, parsed.position)
    return read_case(parsed.ct, parsed.labels, parse_organs(parsed.organ), parsed.position)


def _case_of_dataset(folder: Path, split: str, position: str | None) -> AttentionCase:
    """The first test case that shows all organs that it is labelled for."""
    dataset = PreparedDataset.open(folder)
    for case in map(dataset.case, dataset.split(split).folds[0].test):
        if all(case.voxels.get(organ) for organ in case.labelled):
            organs = {organ: (dataset.organs.index(organ) + 1,) for organ in case.labelled}
            return read_case(case.record.image_source, case.folder / REFERENCE_FILE, organs, position)
    raise ValueError(f"{folder}: no test case of the split {split!r} shows all its organs")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="attention-unet-train attention", description=__doc__)
    parser.add_argument("--ct", help="CT file or DICOM folder")
    parser.add_argument("--labels", help="reference label map")
    parser.add_argument(
        "--organ",
        default=[],
        action="append",
        metavar="NAME=VALUE[,VALUE]",
        help="values of an organ in the labels; repeatable",
    )
    parser.add_argument("--dataset", type=Path, help="or a prepared dataset, of which the first test case is taken")
    parser.add_argument("--split", help="the dataset's split")
    parser.add_argument(
        "--model",
        required=True,
        action="append",
        metavar="MODEL",
        help="checkpoint of attention-unet-train fit, or model; several in the order of training",
    )
    parser.add_argument(
        "--beside",
        metavar="MODEL",
        help="a network without gates: predictions.png shows what it and the last --model find and miss",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for tables and pictures")
    parser.add_argument(
        "--position",
        metavar="ORGAN",
        help="organ that the pictures cut through (default: pancreas, or the first)",
    )
    parser.add_argument(
        "--control-seeds", type=int, default=5, metavar="N", help="randomised networks of each kind (default: 5)"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--overwrite", action="store_true", help="replace the output folder of an earlier run")
    return parser
