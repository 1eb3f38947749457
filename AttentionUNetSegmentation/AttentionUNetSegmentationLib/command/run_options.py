"""What ``segment`` and ``cohort`` can be told of a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..pipeline import Options

DEFAULT_MODEL = "abdomen-ct"


def add_run_options(parser: argparse.ArgumentParser, devices: str = "auto, cpu, cuda, cuda:1, mps") -> None:
    """Enter the options."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or path of a model (default: %(default)s)")
    parser.add_argument("--device", default="auto", help=f"{devices} (default: %(default)s)")
    parser.add_argument("--backend", default="auto", choices=("auto", "torch", "openvino"))
    parser.add_argument("--no-attention", action="store_true", help="do not write attention maps")
    parser.add_argument("--probabilities", action="store_true", help="write a probability map per organ")
    parser.add_argument("--dicom", action="store_true", help="write DICOM SEG and SR too (DICOM folders only)")
    parser.add_argument("--no-clean-up", action="store_true", help="keep all connected components")
    parser.add_argument("--no-split", action="store_true", help="do not split the kidneys into right and left")
    parser.add_argument(
        "--tile",
        type=_tile_edge,
        nargs="?",
        const=192,
        metavar="N",
        help="run in tiles of at most N voxels per axis, a multiple of 16 (%(const)s if N is omitted)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="segment again what is done already, and replace what is in the way, results of other inputs too",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number from low to high."""

    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}, got {text!r}")
        return int(text)

    return convert


def _tile_edge(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 16 or value % 16:
        raise argparse.ArgumentTypeError(f"must be a positive multiple of 16, got {text!r}")
    return value


def options_of(parsed: argparse.Namespace) -> Options:
    """The engine's options."""
    from ..pipeline import Options

    return Options(
        device=parsed.device,
        backend=parsed.backend,
        attention=not parsed.no_attention,
        probabilities=parsed.probabilities,
        clean_up=not parsed.no_clean_up,
        split_sides=not parsed.no_split,
        tile=parsed.tile,
    )
