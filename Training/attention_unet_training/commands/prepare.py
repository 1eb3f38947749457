"""``attention-unet-train prepare``: CTs with reference labels -> a prepared dataset, and its splits."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from AttentionUNetSegmentationLib.models.description import IntensitySpec

from ..preparation import console, layouts
from ..preparation.dataset import DEFAULT_INTENSITY, DEFAULT_ORGANS, PrepareOptions, prepare_dataset
from ..preparation.layouts.csv_table import parse_values
from ..preparation.organ_names import TUMOUR_RULES
from ..preparation.prepared import PreparedDataset
from ..preparation.records import CASES_FOLDER, DATASET_FILE
from ..preparation.source import stem
from ..preparation.splitting import check_form, write_splits
from ..refusals import told_in_one_line

MAX_DEFAULT_WORKERS = 4
EPILOG = f"""Sources: {layouts.DESCRIPTIONS}.
With a prepared dataset as SOURCE and no --output, only the splits are drawn."""


class _Parser(argparse.ArgumentParser):
    """Reports wrong options as every other error: one line, exit status 1."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status: 0, 1 on any error or if no case can be used, 130 if interrupted."""
    try:
        parsed = _parser().parse_args(arguments)
        if parsed.output is None:
            _draw_splits(parsed)
        else:
            _prepare(parsed)
    except KeyboardInterrupt:
        print("interrupted; run the same command again, without --overwrite, to resume", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="attention-unet-train prepare", description=__doc__.split(": ", 1)[1], epilog=EPILOG)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of a dataset, or a CSV table")
    parser.add_argument("--output", type=Path, metavar="DATASET", help="folder of the prepared dataset")
    parser.add_argument("--source", dest="layout", default="auto", choices=layouts.NAMES, help="layout of SOURCE")
    parser.add_argument("--name", help="what the dataset is called (default: SOURCE's name)")
    parser.add_argument(
        "--organs",
        type=_names,
        metavar="A,B,...",
        help=f"classes, in order; all have to be labelled (default: those of {','.join(DEFAULT_ORGANS)} that are)",
    )
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE[,VALUE]", help="CSV: a label's values"
    )
    parser.add_argument(
        "--tumour", default="organ", choices=TUMOUR_RULES, help="what tumours count as (default: organ)"
    )
    _add_preprocessing(parser)
    parser.add_argument("--allow-missing", action="store_true", help="keep cases in which a labelled organ is not seen")
    parser.add_argument("--ignore-unknown", action="store_true", help="label values without a name are background")
    parser.add_argument(
        "--trust-geometry",
        action="store_true",
        help="labels that lie on the CT's voxels stay there, though lesions or small crops may seem to fit elsewhere",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="worker processes; 0: run in this one (default: up to 4)"
    )
    parser.add_argument("--overwrite", action="store_true", help="do everything again, splits too")
    parser.add_argument("--split", action="append", default=[], metavar="TRAIN/TEST", help="draw a split, as 120/30")
    parser.add_argument("--folds", action="append", default=[], type=int, metavar="K", help="draw K folds")
    parser.add_argument("--seed", type=int, default=0, help="of the splits (default: 0)")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser


def _add_preprocessing(parser: argparse.ArgumentParser) -> None:
    low, high = DEFAULT_INTENSITY.clip_hu
    parser.add_argument(
        "--spacing", type=float, nargs="+", default=[2.0], metavar="MM", help="one, or three for i, j, k"
    )
    parser.add_argument(
        "--clip",
        type=float,
        nargs=2,
        default=(low, high),
        metavar="HU",
        help=f"clipping range (default: {low:g} {high:g})",
    )
    for option, meaning, default in (
        ("--mean", "HU that become 0", DEFAULT_INTENSITY.mean_hu),
        ("--std", "HU above --mean that become 1", DEFAULT_INTENSITY.std_hu),
    ):
        parser.add_argument(option, type=float, default=default, metavar="HU", help=f"{meaning} (default: {default:g})")


def _prepare(parsed: argparse.Namespace) -> None:
    if len(parsed.spacing) not in (1, 3):
        raise ValueError(f"--spacing takes one number or three, got {len(parsed.spacing)}")
    check_form(parsed.split, parsed.folds)
    source = layouts.find_source(parsed.source, parsed.layout, parse_values(parsed.label))
    workers = min(MAX_DEFAULT_WORKERS, os.cpu_count() or 1) if len(source.cases) > 1 else 0
    options = PrepareOptions(
        name=parsed.name or stem(parsed.source.resolve()).removesuffix(".csv"),
        organs=parsed.organs,
        spacing_mm=tuple(parsed.spacing * 3)[:3],
        intensity=IntensitySpec(tuple(parsed.clip), parsed.mean, parsed.std),
        tumour=parsed.tumour,
        allow_missing=parsed.allow_missing,
        ignore_unknown=parsed.ignore_unknown,
        trust_geometry=parsed.trust_geometry,
        workers=workers if parsed.workers is None else parsed.workers,
        overwrite=parsed.overwrite,
    )
    if not parsed.quiet:
        print(f"{parsed.source}: {source.layout}, cases with CT and labels: {len(source.cases)}")
    with console.progress_bar(len(source.cases), not parsed.quiet) as progress:
        prepared = prepare_dataset(source, parsed.output, options, progress)
    if not parsed.quiet:
        console.print_summary(prepared)
    _split(prepared.dataset, parsed)


def _draw_splits(parsed: argparse.Namespace) -> None:
    if not ((parsed.source / DATASET_FILE).is_file() and (parsed.source / CASES_FOLDER).is_dir()):
        raise ValueError(f"--output is needed: {parsed.source} is not a prepared dataset")
    if not parsed.split and not parsed.folds:
        raise ValueError(f"{parsed.source} is a prepared dataset; --split or --folds is needed")
    _split(PreparedDataset.open(parsed.source), parsed)


def _split(dataset: PreparedDataset, parsed: argparse.Namespace) -> None:
    drawn = write_splits(dataset, parsed.split, parsed.folds, parsed.seed, parsed.overwrite)
    if not parsed.quiet:
        console.print_splits(drawn)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
