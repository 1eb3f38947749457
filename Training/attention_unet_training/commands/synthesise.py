"""``attention-unet-train synthesise``: synthetic CTs as files, or a contact sheet to look at before training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from AttentionUNetSegmentationLib.formats.files import to_sitk
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.volume import Grid, Volume

from ..refusals import told_in_one_line
from ..synthetic_ct.atlas import load_atlas
from ..synthetic_ct.config import SyntheticCTConfig
from ..synthetic_ct.generator import SyntheticSample, generate, generate_full
from ..synthetic_ct.preview import contact_sheet

PREVIEW_SAMPLES = 8
PREVIEW_SHAPE_KJI = (80, 96, 96)
MARK = "Synthetic: made by a program from a label map of real anatomy. Not a scan of a patient."


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if not (parsed.preview or parsed.output):
        parser.error("nothing to write: give --output FILE or --preview FILE")
    if parsed.labels and not parsed.output:
        parser.error("--labels needs --output: they are those of the CT")
    if parsed.preview:
        _write_preview(parsed)
    if parsed.output:
        _write_ct(parsed)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="attention-unet-train synthesise", description=__doc__)
    parser.add_argument("--atlas", type=Path, required=True, help="folder of label maps or TotalSegmentator subjects")
    parser.add_argument("--cache", type=Path, default=Path("runs/atlas_cache"), help="folder for prepared maps")
    parser.add_argument("--subject", help="label map to use (default: the first)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write one whole CT to this NRRD or NIfTI file")
    parser.add_argument("--labels", type=Path, help="write its target (1 pancreas, 2 spleen, 3 kidneys) to this file")
    parser.add_argument("--spacing", type=float, nargs=3, default=(2.0, 2.0, 2.0), metavar="MM", help="of the file")
    parser.add_argument(
        "--z-range", type=float, nargs=2, metavar="MM", help="part of the label map from its lowest slice"
    )
    parser.add_argument("--attribution", default="", help="whose label map this is, written into the file")
    parser.add_argument("--preview", type=Path, help="write a contact sheet of eight training patches to this PNG file")
    return parser


def _write_preview(parsed: argparse.Namespace) -> None:
    subjects = [parsed.subject] if parsed.subject else None
    _say(f"reading the label maps of {parsed.atlas}; the first time they are prepared, some seconds each")
    anatomies = load_atlas(parsed.atlas, parsed.cache, include=subjects)
    samples = []
    for n in range(PREVIEW_SAMPLES):
        _say(f"patch {n + 1} of {PREVIEW_SAMPLES}")
        anatomy = anatomies[n % len(anatomies)]
        samples.append(generate(anatomy, SyntheticCTConfig(), parsed.seed + n, PREVIEW_SHAPE_KJI))
    contact_sheet(samples, parsed.preview)
    print(f"wrote {parsed.preview}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write_ct(parsed: argparse.Namespace) -> None:
    subjects = [parsed.subject] if parsed.subject else None
    anatomy = load_atlas(parsed.atlas, parsed.cache, include=subjects)[0]
    sample = generate_full(anatomy, SyntheticCTConfig(), parsed.seed, 2.0, parsed.z_range)
    source = _grid_of(sample)
    target = _scanner_grid(source, tuple(parsed.spacing))
    hu = np.round(resample(sample.image_hu, source, target)).astype(np.int16)
    _write(Volume(hu, target.ijk_to_ras), parsed.output, sample, parsed.attribution)
    if parsed.labels:
        shares = [resample(sample.target == value, source, target) for value in range(4)]
        labels = np.argmax(shares, axis=0).astype(np.uint8)
        _write(Volume(labels, target.ijk_to_ras), parsed.labels, sample, parsed.attribution)
    print(f"wrote {parsed.output} ({sample.subject}, {sample.phase}, seed {sample.seed})")


def _grid_of(sample: SyntheticSample) -> Grid:
    matrix = np.diag([sample.spacing_mm] * 3 + [1.0])
    matrix[:3, 3] = -(np.array(sample.image_hu.shape[::-1]) - 1) / 2 * sample.spacing_mm
    return Grid(sample.image_hu.shape, matrix)


def _scanner_grid(source: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The same field as a scanner stores it: axes to the left, back and up."""
    extent = np.array(source.shape_kji[::-1]) * source.spacing_mm
    sizes = np.floor(extent / spacing_mm).astype(int)
    directions = np.array([-1.0, -1.0, 1.0])
    matrix = np.diag([*(directions * spacing_mm), 1.0])
    matrix[:3, 3] = source.corners_ras_mm().mean(axis=0) - directions * (sizes - 1) / 2 * spacing_mm
    i, j, k = sizes.tolist()
    return Grid((k, j, i), matrix)


def _write(volume: Volume, path: Path, sample: SyntheticSample, attribution: str) -> None:
    image: sitk.Image = to_sitk(volume)
    image.SetMetaData("description", MARK)
    image.SetMetaData("made_from", f"label map {sample.subject}, seed {sample.seed}, phase {sample.phase}")
    if attribution:
        image.SetMetaData("attribution", attribution)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
