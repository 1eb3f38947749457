"""Compare synthetic CT with a real one: HU, noise and sharpness of tissues, as a Markdown table.

Tissues are found by value, as a real CT without labels allows no other way: fat and soft tissue inside the body,
each without its borders. Both are measured on a 2 mm grid.

    python scripts/compare_with_real_ct.py MAPS REAL_CT... --samples 20
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from scipy import ndimage

from attention_unet_training.synthetic_ct import SyntheticCTConfig, generate, load_atlas
from AttentionUNetSegmentationLib import read_volume
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.volume import Grid

SPACING_MM = 2.0
TISSUES_HU = {"fat": (-140, -60), "soft tissue": (0, 220)}


def measure(hu: np.ndarray) -> list[tuple]:
    """Rows (tissue, mean, 5th and 95th percentile, high-pass SD in HU, correlation of neighbours in plane, edge)."""
    smooth = ndimage.gaussian_filter(hu, 1.5)
    rows = []
    # sharpness: 95th percentile of the gradient where soft tissue meets fat
    gradient = np.hypot(*np.gradient(ndimage.gaussian_filter(hu, (1, 0, 0)), SPACING_MM, axis=(1, 2)))
    border = (smooth > -60) & (smooth < 0)
    edge = float(np.percentile(gradient[border], 95)) if border.any() else math.nan
    for tissue, (low, high) in TISSUES_HU.items():
        inside = ndimage.binary_erosion((smooth > low) & (smooth < high), iterations=2)
        if inside.sum() < 500:
            continue
        values, rest = hu[inside], hu - ndimage.uniform_filter(hu, (1, 5, 5))
        both = inside[:, :, 1:] & inside[:, :, :-1]
        correlation = float(np.corrcoef(rest[:, :, 1:][both], rest[:, :, :-1][both])[0, 1])
        percentiles = np.percentile(values, (5, 95))
        rows.append((tissue, float(values.mean()), *percentiles.tolist(), float(rest[inside].std()), correlation, edge))
    return rows


def main() -> None:
    """Print one row per CT and tissue; synthetic rows are the 10th, 50th and 90th percentile over the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path)
    parser.add_argument("real", type=Path, nargs="+")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=Path("runs/atlas_cache"), help="prepared maps")
    arguments = parser.parse_args()
    print("| CT | tissue | mean HU | 5 % | 95 % | high-pass SD, HU | neighbours | edge, HU/mm |\n" + "|---" * 8 + "|")
    for path in arguments.real:
        volume = read_volume(path)
        spacing = np.linalg.norm(volume.ijk_to_ras[:3, :3], axis=0)
        factors = spacing / SPACING_MM
        matrix = volume.ijk_to_ras @ np.diag([*(1 / factors), 1.0])
        size = [max(1, int(n * f)) for n, f in zip(volume.voxels.shape, factors[::-1], strict=True)]
        hu = resample(
            volume.voxels.astype(np.float32), Grid(volume.voxels.shape, volume.ijk_to_ras), Grid(size, matrix)
        )
        for row in measure(hu):
            print(f"| {path} | {_cells(row)} |")
    anatomies = load_atlas(arguments.maps, arguments.cache)
    config = SyntheticCTConfig()
    measured: dict[str, list] = {}
    for seed in range(arguments.samples):
        sample = generate(anatomies[seed % len(anatomies)], config, seed, (80, 112, 112), SPACING_MM)
        for tissue, *numbers in measure(sample.image_hu[sample.slab.first : sample.slab.last + 1]):
            measured.setdefault(tissue, []).append(numbers)
    for tissue, numbers in measured.items():
        for share in (10, 50, 90):
            print(f"| synthetic, {share} % | {_cells((tissue, *np.nanpercentile(numbers, share, axis=0).tolist()))} |")


def _cells(row: tuple) -> str:
    tissue, mean, low, high, deviation, correlation, edge = row
    return f"{tissue} | {mean:.0f} | {low:.0f} | {high:.0f} | {deviation:.1f} | {correlation:.2f} | {edge:.0f}"


if __name__ == "__main__":
    main()
