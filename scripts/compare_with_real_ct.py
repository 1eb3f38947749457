"""Compare a real CT with synthetic ones of its contrast phase, tissue by tissue, as a Markdown table.

Everything is measured on the grid that the network sees. Fat is found by its HU. Other tissues of a real CT are labels,
or a sphere that somebody placed inside them, with centre (RAS) and radius in mm; in synthetic CTs such a sphere lies
where the label is deepest. The correlation of voxels 2 and 6 mm apart tells how coarse noise and texture are.

    python scripts/compare_with_real_ct.py MAPS CT --phase portal_venous --sphere liver=85,0,-250,25
    python scripts/compare_with_real_ct.py MAPS CT --phase none --labels LABELS --organ pancreas=1
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from attention_unet_training.synthetic_ct import SyntheticCTConfig, SyntheticSample, generate, load_atlas
from attention_unet_training.synthetic_ct.structures import number_of
from AttentionUNetSegmentationLib import read_volume
from AttentionUNetSegmentationLib.imaging.preprocessing import network_grid
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.volume import Grid

SPACING_MM = 2.0
FAT_HU, BORDER_OF_FAT_HU = (-140, -60), (-60, 0)
LAGS_VOX = (1, 3)
STRUCTURES = {"muscle": ("autochthon_left", "autochthon_right"), "liver": ("liver",), "pancreas": ("pancreas",)}
FEWEST_VOXELS = 100
COLUMNS = ("5 %", "median HU", "95 %", "SD, HU", "r at 2 mm", "r at 6 mm", "edge, HU/mm")


def measure(hu: np.ndarray, regions: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """The numbers of `COLUMNS` for fat and each region of enough voxels; only fat has an edge.

    The edge is the 95th percentile of the gradient in plane where fat meets soft tissue.

    Args:
        hu: (K, J, I) HU, voxels of 2 mm.
        regions: (K, J, I) bool by tissue.
    """
    smooth = ndimage.gaussian_filter(hu, 1.5)
    fat = ndimage.binary_erosion((smooth > FAT_HU[0]) & (smooth < FAT_HU[1]), iterations=2)
    border = (smooth > BORDER_OF_FAT_HU[0]) & (smooth < BORDER_OF_FAT_HU[1])
    gradient = np.hypot(*np.gradient(ndimage.gaussian_filter(hu, (1, 0, 0)), SPACING_MM, axis=(1, 2)))
    edges = {"fat": float(np.percentile(gradient[border], 95)) if border.any() else math.nan}
    rows = {}
    for tissue, inside in ({"fat": fat} | dict(regions)).items():
        if inside.sum() >= FEWEST_VOXELS:
            percentiles = np.percentile(hu[inside], (5, 50, 95)).tolist()
            correlations = [correlation(hu, inside, lag) for lag in LAGS_VOX]
            rows[tissue] = [*percentiles, float(hu[inside].std()), *correlations, edges.get(tissue, math.nan)]
    return rows


def correlation(hu: np.ndarray, inside: np.ndarray, lag_vox: int) -> float:
    """Correlation of voxels of a region that lie so far apart along J or I: the transform of the noise's power."""
    residual = np.where(inside, hu - hu[inside].mean(), 0.0)
    products, pairs = 0.0, 0
    for axis in (1, 2):
        values, mask = np.moveaxis(residual, axis, 0), np.moveaxis(inside, axis, 0)
        products += float((values[lag_vox:] * values[:-lag_vox]).sum())
        pairs += int((mask[lag_vox:] & mask[:-lag_vox]).sum())
    return products / pairs / float(hu[inside].var()) if pairs else math.nan


def sphere(grid: Grid, x_mm: float, y_mm: float, z_mm: float, radius_mm: float) -> np.ndarray:
    """Mask (K, J, I) of a sphere whose centre is given in RAS."""
    ijk = np.indices(grid.shape_kji).reshape(3, -1)[::-1].T
    distance_mm = np.linalg.norm(grid.ras_of(ijk) - (x_mm, y_mm, z_mm), axis=1)
    return (distance_mm <= radius_mm).reshape(grid.shape_kji)


def real_rows(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Measure the real CT; every tissue that was asked for has to be there."""
    volume = read_volume(arguments.ct)
    grid = network_grid(volume.grid, (SPACING_MM,) * 3)
    regions = {tissue: sphere(grid, *numbers) for tissue, numbers in arguments.sphere}
    if arguments.organ:
        labels = read_volume(arguments.labels)
        for tissue, (value,) in arguments.organ:
            mask = resample((labels.voxels == value).astype(np.float32), labels.grid, grid) > 0.5
            regions[tissue] = ndimage.binary_erosion(mask)
    rows = measure(resample(volume.voxels, volume.grid, grid), regions)
    for tissue in regions.keys() - rows.keys():
        raise ValueError(f"{arguments.ct}: {tissue} has fewer than {FEWEST_VOXELS} voxels of {SPACING_MM:g} mm")
    return rows


def synthetic_rows(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Measure synthetic CTs of one phase: (samples that show it, columns) by tissue."""
    config = SyntheticCTConfig()
    phases = {arguments.phase: config.contrast.phases[arguments.phase]}
    config = dataclasses.replace(config, contrast=dataclasses.replace(config.contrast, phases=phases))
    anatomies = load_atlas(arguments.maps, arguments.cache, memory_gb=0)
    radii_mm = {tissue: math.inf for tissue, _ in arguments.organ} | {t: radius for t, (*_, radius) in arguments.sphere}
    rows: dict[str, list] = {}
    for seed in range(arguments.samples):
        anatomy = anatomies[seed * len(anatomies) // arguments.samples]
        sample = generate(anatomy, config, seed, (80, 112, 112), SPACING_MM)
        for tissue, numbers in measure(*_scanned(sample, radii_mm)).items():
            rows.setdefault(tissue, []).append(numbers)
    return {tissue: np.array(numbers) for tissue, numbers in rows.items()}


def _scanned(sample: SyntheticSample, radii_mm: Mapping[str, float]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The slices that were scanned, and of each tissue a sphere or, if the radius is infinite, the label's inside."""
    scanned = slice(sample.slab.first, sample.slab.last + 1)
    masks = {}
    for tissue, radius_mm in radii_mm.items():
        label = np.isin(sample.labels[scanned], [number_of(name) for name in STRUCTURES[tissue]])
        masks[tissue] = _largest_sphere(label, radius_mm) if radius_mm < math.inf else ndimage.binary_erosion(label)
    return sample.image_hu[scanned], masks


def _largest_sphere(label: np.ndarray, largest_mm: float) -> np.ndarray:
    """The largest sphere inside a label, up to a radius."""
    depth_mm = ndimage.distance_transform_edt(label, sampling=SPACING_MM)
    centre = np.zeros(label.shape, dtype=bool)
    centre[np.unravel_index(depth_mm.argmax(), label.shape)] = True
    radius_mm = min(largest_mm, float(depth_mm.max()) - SPACING_MM / 2)
    return ndimage.distance_transform_edt(~centre, sampling=SPACING_MM) <= radius_mm


def _region(count: int) -> Callable[[str], tuple[str, list[float]]]:
    """A reader of a tissue and so many numbers, e.g. `liver=85,0,-250,25`."""

    def tissue_and_numbers(text: str) -> tuple[str, list[float]]:
        tissue, _, rest = text.partition("=")
        numbers = [float(number) for number in rest.split(",")]
        if tissue not in STRUCTURES or len(numbers) != count:
            raise ValueError
        return tissue, numbers

    return tissue_and_numbers


def main() -> None:
    """Print the real CT and the 10th, 50th and 90th percentile over the synthetic ones, one row per tissue each."""
    phases = SyntheticCTConfig().contrast.phases
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path)
    parser.add_argument("ct", type=Path)
    parser.add_argument("--phase", required=True, choices=phases)
    parser.add_argument("--sphere", type=_region(4), action="append", default=[], metavar="TISSUE=X,Y,Z,RADIUS")
    parser.add_argument("--labels", type=Path, help="label map of the CT")
    parser.add_argument("--organ", type=_region(1), action="append", default=[], metavar="TISSUE=VALUE")
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--cache", type=Path, default=Path("runs/atlas_cache"), help="prepared maps")
    arguments = parser.parse_args()
    if arguments.organ and not arguments.labels:
        parser.error("--organ needs --labels")
    try:
        real, synthetic = real_rows(arguments), synthetic_rows(arguments)
    except ValueError as error:
        parser.error(str(error))
    print(f"| tissue | CT | {' | '.join(COLUMNS)} |\n" + "|---" * (2 + len(COLUMNS)) + "|")
    for tissue, numbers in real.items():
        print(f"| {tissue} | real | {_cells(np.array([numbers]))} |")
        if tissue in synthetic:
            print(f"| | {len(synthetic[tissue])} synthetic | {_cells(synthetic[tissue])} |")


def _cells(rows: np.ndarray) -> str:
    """One cell per column: the number, or the 10th, 50th and 90th percentile of several; empty if there is none."""
    cells = []
    for name, column in zip(COLUMNS, rows.T, strict=True):
        numbers = np.percentile(column, (10, 50, 90)) if len(column) > 1 else column
        digits = 2 if name.startswith("r ") else 0
        cells.append("" if np.isnan(numbers).any() else ", ".join(f"{number:z.{digits}f}" for number in numbers))
    return " | ".join(cells)


if __name__ == "__main__":
    main()
