"""Measure models on cases with reference labels: what the engine finds against them, as tables in the paper's form."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from AttentionUNetSegmentationLib.atomic import write_text
from AttentionUNetSegmentationLib.command.batch import check_writable
from AttentionUNetSegmentationLib.inference.devices import choose_backend, choose_device
from AttentionUNetSegmentationLib.pipeline import Options

from ..evaluation.cases import PARTS, EvaluationCase, cases_of_dataset, cases_of_files
from ..evaluation.evaluation import Evaluation
from ..evaluation.files import cases_csv, evaluation_json, measurements, merge_measurements, read_measurements
from ..evaluation.markdown import render
from ..evaluation.network_grid import CT_GRID, GRIDS, TITLES, on_network_grid
from ..evaluation.published import TABLES
from ..evaluation.results import ResultStore
from ..evaluation.runner import run
from ..evaluation.systems import Column, label_map_column, model_column
from ..organ_values import parse_organs
from ..preparation.organ_names import IGNORE
from ..preparation.prepared import PreparedDataset
from ..refusals import told_in_one_line

CASES_FOLDER, CSV_FILE, JSON_FILE, TABLE_FILE = "cases", "cases.csv", "evaluation.json", "table.md"
ORGAN = "NAME=VALUE[,VALUE]"


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train evaluate``; returns the exit status, 0 only if every case was measured."""
    parsed = _parser().parse_args(arguments)
    try:
        evaluation = _evaluate(parsed)
        _write(parsed, evaluation)
    except KeyboardInterrupt:
        print("cancelled; finished cases are kept if --report-dir was given", file=sys.stderr)
        return 130
    return 1 if evaluation.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="attention-unet-train evaluate", description=__doc__)
    systems = parser.add_argument_group("what to measure (the first is what the others are compared with)")
    systems.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[TITLE=]MODEL",
        help="name, folder or zip of a model, or a checkpoint; {fold} in it stands for the fold's number, "
        "A+B for the mean of A's and B's probabilities; repeatable",
    )
    systems.add_argument(
        "--predictions",
        action="append",
        default=[],
        metavar="[TITLE=]FOLDER",
        help="label maps made elsewhere: FOLDER/<case>.nii.gz or FOLDER/<case>/labels.nii.gz; repeatable",
    )
    systems.add_argument(
        "--prediction-organ",
        action="append",
        default=[],
        metavar="NAME=VALUE[,VALUE]",
        help="values in those label maps",
    )
    _add_cases(parser)
    running = parser.add_argument_group("how")
    running.add_argument("--raw", action="store_true", help="measure without the clean-up that users get")
    running.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    running.add_argument("--backend", default="auto", choices=("auto", "torch", "openvino"))
    running.add_argument(
        "--time-runs",
        type=int,
        default=3,
        metavar="N",
        help="forward passes to time, 0 for none (default: %(default)s)",
    )
    _add_results(parser)
    return parser


def _add_results(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group("results")
    results.add_argument("--report-dir", type=Path, help="folder for tables and for finished cases, to resume from")
    results.add_argument("--published", choices=sorted(TABLES), help="print this table of the paper alongside")
    results.add_argument("--output", type=Path, help="add one model's figures to this JSON file, for export --measured")


def _add_cases(parser: argparse.ArgumentParser) -> None:
    dataset = parser.add_argument_group("on which cases: a prepared dataset")
    dataset.add_argument("--dataset", type=Path, help="folder of attention-unet-train prepare")
    dataset.add_argument("--split", help="name of a split (default: all cases)")
    dataset.add_argument("--fold", type=int, metavar="N", help="one fold of the split, from 0 (default: all)")
    dataset.add_argument(
        "--grid",
        choices=GRIDS,
        default=CT_GRID,
        help="where to measure: on the CT's grid, the network's (the paper's 2 mm), or its centre of 160 x 160 x 96 "
        "voxels as the paper's public code (default: %(default)s)",
    )
    dataset.add_argument("--part", choices=PARTS, default="test", help="part of the split (default: %(default)s)")
    files = parser.add_argument_group("or files")
    files.add_argument("--ct", type=Path, action="append", default=[], help="CT file or DICOM folder; repeatable")
    files.add_argument(
        "--labels", type=Path, action="append", default=[], help="reference label map of each --ct, in the same order"
    )
    files.add_argument(
        "--organ",
        action="append",
        default=[],
        metavar=ORGAN,
        help="values of an organ in the labels; ignore=VALUE marks what to leave out",
    )
    files.add_argument(
        "--patient", action="append", default=[], help="patient (or anatomy) of each --ct; cases of one are not tested"
    )
    parser.add_argument("--data-name", help="name of the data in the results; needed with --ct")


def _evaluate(parsed: argparse.Namespace) -> Evaluation:
    cases, data = _cases(parsed)
    if parsed.time_runs < 0:
        raise ValueError(f"--time-runs must not be negative, got {parsed.time_runs}")
    choose_backend(parsed.backend, choose_device(parsed.device, parsed.backend))
    columns = _columns(parsed, cases)
    if parsed.output:
        if len(columns) != 1:
            raise ValueError(f"--output takes the figures of one model, got {len(columns)}")
        if parsed.predictions or columns[0].per_fold:
            raise ValueError(
                "--output takes the figures of one network, not of label maps or one network for each fold"
            )
        if parsed.dataset and (made_by := PreparedDataset.open(parsed.dataset).record.labelled_by):
            raise ValueError(
                f"{parsed.dataset} was labelled by {made_by}, not by a person: --output takes no such figures"
            )
        read_measurements(parsed.output)
    for path in (parsed.report_dir, parsed.output and parsed.output.parent):
        if path:
            check_writable(path)
    store = ResultStore(parsed.report_dir / CASES_FOLDER if parsed.report_dir else None)
    required = [organ for organ in parse_organs(parsed.organ) if organ != IGNORE]
    outcomes, infos = run(columns, cases, store, required, parsed.time_runs)
    cleaned = not parsed.raw if parsed.model else None
    return Evaluation(data, infos, outcomes, cleaned, all(case.patient_named for case in cases))


def _cases(parsed: argparse.Namespace) -> tuple[list[EvaluationCase], str]:
    if bool(parsed.dataset) == bool(parsed.ct):
        raise ValueError("give either --dataset, or --ct with --labels, --organ and --data-name")
    if parsed.dataset:
        if parsed.labels or parsed.organ or parsed.patient:
            raise ValueError("--labels, --organ and --patient belong to --ct, not to --dataset")
        cases, name = cases_of_dataset(parsed.dataset, parsed.split, parsed.fold, parsed.part)
        if parsed.grid == CT_GRID:
            return cases, parsed.data_name or name
        return on_network_grid(cases, parsed.dataset, parsed.grid), f"{parsed.data_name or name}, {TITLES[parsed.grid]}"
    if parsed.grid != CT_GRID:
        raise ValueError(f"--grid {parsed.grid} needs --dataset")
    if parsed.split or parsed.fold is not None or parsed.part != PARTS[0]:
        raise ValueError("--split, --fold and --part belong to --dataset, not to --ct")
    if not parsed.data_name:
        raise ValueError("--ct needs --data-name: a name for the data in the results")
    organs = parse_organs(parsed.organ)
    return cases_of_files(parsed.ct, parsed.labels, organs, parsed.patient), parsed.data_name


def _columns(parsed: argparse.Namespace, cases: Sequence[EvaluationCase]) -> list[Column]:
    options = Options(device=parsed.device, backend=parsed.backend, attention=False, clean_up=not parsed.raw)
    folds = {case.fold for case in cases}
    columns = [model_column(text, options, folds) for text in parsed.model]
    values = parse_organs(parsed.prediction_organ)
    columns += [label_map_column(text, values) for text in parsed.predictions]
    known = dict.fromkeys(organ for case in cases for organ in case.organs)
    if strangers := [organ for organ in values if organ not in known]:
        raise ValueError(f"--prediction-organ: no reference has {strangers[0]!r}; they have {', '.join(known)}")
    if not columns:
        raise ValueError("give at least one --model or --predictions")
    titles = [column.title for column in columns]
    twice = [title for title in titles if titles.count(title) > 1]
    if twice:
        raise ValueError(f"every column needs a title of its own (TITLE=MODEL), got {twice[0]!r} twice")
    return columns


def _write(parsed: argparse.Namespace, evaluation: Evaluation) -> None:
    if not any(outcome.result for outcome in evaluation.outcomes):
        return  # each case's error has been told
    table = render(evaluation, TABLES[parsed.published] if parsed.published else ())
    print(table, end="")
    if parsed.report_dir:
        write_text(parsed.report_dir / CSV_FILE, cases_csv(evaluation))
        write_text(parsed.report_dir / JSON_FILE, evaluation_json(evaluation))
        write_text(parsed.report_dir / TABLE_FILE, table)
        print(f"\nwrote {CSV_FILE}, {JSON_FILE} and {TABLE_FILE} to {parsed.report_dir}")
    if parsed.output:
        merge_measurements(parsed.output, measurements(evaluation))
