"""``attention-unet-train robustness``: where a model fails, on whole synthetic CTs of a label map it has not seen.

Each condition changes one thing against an easy CT (portal venous phase, thin slices, little noise, the whole abdomen):
contrast phase, slice thickness, noise, field of view, large masses, diseased kidneys, a missing organ, or no abdomen at
all. Every condition uses the same seeds, so the anatomies are the same (but for the pancreas's random erosion, and what
masses and a wide pelvis change), only the condition differs. All CTs come from one person's label map: the figures
show where to look, they do not estimate how a model does on a population.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from AttentionUNetSegmentationLib.command.report import write_overview
from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.imaging.resampling import resample
from AttentionUNetSegmentationLib.models.loading import Model, load_model
from AttentionUNetSegmentationLib.models.store import find_model
from AttentionUNetSegmentationLib.pipeline import Options, segment
from AttentionUNetSegmentationLib.volume import Grid, Volume

from ..evaluation.metrics import dice
from ..synthetic_ct.atlas import load_atlas
from ..synthetic_ct.config import AcquisitionConfig, SyntheticCTConfig
from ..synthetic_ct.generator import generate_full
from ..synthetic_ct.preparation import PreparedAnatomy
from ..synthetic_ct.ranges import Range
from ..synthetic_ct.structures import number_of

ORGANS = ("pancreas", "spleen", "kidney")  # the generator's targets 1, 2, 3
GENERATED_SPACING_MM = 2.0
BASE = "portal venous, thin slices, whole abdomen"


@dataclass(frozen=True)
class Condition:
    """What is different about a CT.

    Attributes:
        name: For the table.
        phase: Contrast phase.
        noise_hu: Noise level.
        slice_mm: Thickness and distance of the slices.
        height_mm: Height of the field around the organs' middle; None for all of it.
        masses: Whether every CT has large masses in or beside its organs.
        diseased_kidneys: Whether both kidneys have stones, wide calyces and a pelvis that bulges out of the hilum.
        removed: Structure that is not there; fat and small soft tissue lie in its place.
        chest: Whether the field holds the chest only, from the highest of the organs upwards.
    """

    name: str
    phase: str = "portal_venous"
    noise_hu: float = 8.0
    slice_mm: float = 2.0
    height_mm: float | None = None
    masses: bool = False
    diseased_kidneys: bool = False
    removed: str = ""
    chest: bool = False

    def config(self) -> SyntheticCTConfig:
        """The generator's configuration."""
        config = SyntheticCTConfig()
        if self.phase not in config.contrast.phases:
            raise ValueError(f"phase must be one of {', '.join(config.contrast.phases)}, got {self.phase!r}")
        phases = {self.phase: config.contrast.phases[self.phase]}
        acquisition = AcquisitionConfig(
            thick_slice_probability=0.0,
            strong_blur_probability=0.0,
            noise_minimum_hu=self.noise_hu,
            noise_maximum_hu=self.noise_hu,
            streak_probability=0.0,
            metal_probability=0.0,
        )
        masses = dataclasses.replace(config.masses, probability=float(self.masses))
        if self.masses:
            masses = dataclasses.replace(masses, radius_mm=Range(20, 40), radius_share=Range(1, 1))
        contrast = dataclasses.replace(config.contrast, phases=phases)
        organs = dataclasses.replace(
            config.solid_organs,
            hydronephrosis_probability=float(self.diseased_kidneys),
            wide_pelvis_probability=float(self.diseased_kidneys),
            kidney_stone_probability=float(self.diseased_kidneys),
        )
        return dataclasses.replace(
            config, contrast=contrast, acquisition=acquisition, masses=masses, solid_organs=organs
        )


CONDITIONS = (
    Condition(BASE),
    Condition("no contrast", phase="none"),
    Condition("arterial phase", phase="arterial"),
    Condition("delayed phase", phase="delayed"),
    Condition("slices of 5 mm", slice_mm=5.0),
    Condition("slices of 8 mm", slice_mm=8.0),
    Condition("noise of 30 HU", noise_hu=30.0),
    Condition("field of 120 mm", height_mm=120.0),
    Condition("field of 60 mm", height_mm=60.0),
    Condition("large masses", masses=True),
    Condition("kidneys with stones and wide pelvis", diseased_kidneys=True),
    Condition("left kidney removed", removed="kidney_left"),
    Condition("spleen removed", removed="spleen"),
    Condition("chest only", chest=True),
)


@dataclass
class Score:
    """Results of one condition.

    Attributes:
        condition: Its name.
        dice: Organ -> Dice per seed; NaN where the organ is outside the field.
        volume_ratio: Organ -> found volume over true volume per seed; NaN likewise.
        false_ml: Organ -> ml found where the organ is outside the field, per seed.
        warnings: Warnings of all runs, without repetition.
    """

    condition: str
    dice: dict[str, list[float]] = field(default_factory=lambda: {organ: [] for organ in ORGANS})
    volume_ratio: dict[str, list[float]] = field(default_factory=lambda: {organ: [] for organ in ORGANS})
    false_ml: dict[str, list[float]] = field(default_factory=lambda: {organ: [] for organ in ORGANS})
    warnings: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="attention-unet-train robustness", description=__doc__.splitlines()[0])
    parser.add_argument("--atlas", type=Path, required=True, help="folder of label maps")
    parser.add_argument("--subject", required=True, help="label map that was held out of training")
    parser.add_argument("--chest-subject", help="label map that shows the chest (else that condition is left out)")
    parser.add_argument("--model", required=True, help="name or folder of a model")
    parser.add_argument("--output", type=Path, required=True, help="folder for table and pictures")
    parser.add_argument("--seeds", type=int, default=3, help="CTs per condition (default: 3)")
    parser.add_argument("--cache", type=Path, default=Path("runs/atlas_cache"), help="folder for prepared maps")
    parsed = parser.parse_args(arguments)
    try:
        model = load_model(find_model(parsed.model))
        parsed.output.mkdir(parents=True, exist_ok=True)
        scores = []
        for condition in CONDITIONS:
            subject = parsed.chest_subject if condition.chest else parsed.subject
            if subject is None:
                print("chest only: left out, no --chest-subject was given")
                continue
            anatomy = load_atlas(parsed.atlas, parsed.cache, include=[subject])[0]
            scores.append(measure(model, anatomy, condition, range(parsed.seeds), parsed.output))
            print(_row(scores[-1]), flush=True)
        write_table(scores, parsed.output, parsed.seeds)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        print(f"error: {one_sentence(error)}", file=sys.stderr)
        return 1
    return 0


def measure(
    model: Model, anatomy: PreparedAnatomy, condition: Condition, seeds: Sequence[int], pictures: Path | None = None
) -> Score:
    """Segment one CT per seed and compare with what was painted.

    Args:
        model: The model.
        anatomy: The label map.
        condition: What is different.
        seeds: One CT each.
        pictures: Folder for an overview picture of the first CT.
    """
    score = Score(condition.name)
    for seed in seeds:
        ct, target = make_ct(anatomy, condition, seed)
        result = segment(ct, model, Options(device="cpu", attention=False))
        for channel, organ in enumerate(ORGANS, start=1):
            found, true = _organ_voxels(result.labels, model, organ), target == channel
            found_ml, true_ml = (float(np.count_nonzero(mask)) * ct.grid.voxel_volume_ml for mask in (found, true))
            inside = true_ml > 0
            score.dice[organ].append(dice(found, true) if inside else math.nan)
            score.volume_ratio[organ].append(found_ml / true_ml if inside else math.nan)
            if not inside:
                score.false_ml[organ].append(found_ml)
        score.warnings += [warning for warning in result.warnings if warning not in score.warnings]
        if pictures is not None and seed == seeds[0]:
            write_overview(ct, result, pictures / f"{condition.name.replace(' ', '_').replace(',', '')}.png")
    return score


def make_ct(anatomy: PreparedAnatomy, condition: Condition, seed: int) -> tuple[Volume, np.ndarray]:
    """A whole CT of the label map under a condition, and its target (K, J, I) of 0 background, 1, 2, 3."""
    if condition.removed:
        anatomy = _without(anatomy, condition.removed)
    sample = generate_full(anatomy, condition.config(), seed, GENERATED_SPACING_MM)
    hu, target = sample.image_hu, sample.target
    first, last = _slices_of_field(target, condition)
    hu, target = hu[first:last], target[first:last]
    matrix = np.diag([GENERATED_SPACING_MM] * 3 + [1.0])
    grid = Grid(hu.shape, matrix)
    if condition.slice_mm != GENERATED_SPACING_MM:
        grid, hu, target = _thick_slices(grid, hu, target, condition.slice_mm)
    name = f"{condition.name}, seed {seed} (synthetic)"
    return Volume(np.round(hu).astype(np.int16), grid.ijk_to_ras, name=name), target


def _without(anatomy: PreparedAnatomy, structure: str) -> PreparedAnatomy:
    """The anatomy without a structure; all else keeps its place, so that the random deformation stays the same."""
    number = number_of(structure)
    if not (anatomy.labels == number).any():
        raise ValueError(f"{anatomy.name} has no {structure} that could be removed")
    return dataclasses.replace(anatomy, labels=np.where(anatomy.labels == number, np.uint8(0), anatomy.labels))


def _slices_of_field(target: np.ndarray, condition: Condition) -> tuple[int, int]:
    rows = np.flatnonzero((target > 0).any(axis=(1, 2)))
    if condition.chest:
        first = int(rows[-1]) + 5
        if len(target) - first < 30:
            raise ValueError("the label map shows too little of the chest")
        return first, len(target)
    if condition.height_mm is None:
        return 0, len(target)
    half = condition.height_mm / 2 / GENERATED_SPACING_MM
    middle = (rows[0] + rows[-1]) / 2
    return max(0, round(middle - half)), min(len(target), round(middle + half))


def _thick_slices(
    grid: Grid, hu: np.ndarray, target: np.ndarray, slice_mm: float
) -> tuple[Grid, np.ndarray, np.ndarray]:
    matrix = grid.ijk_to_ras.copy()
    matrix[2, 2] = slice_mm
    matrix[2, 3] += (slice_mm - GENERATED_SPACING_MM) / 2
    size = int(len(hu) * GENERATED_SPACING_MM / slice_mm)
    thick = Grid((size, *grid.shape_kji[1:]), matrix)
    shares = [resample(target == value, grid, thick) for value in range(len(ORGANS) + 1)]
    return thick, resample(hu, grid, thick), np.argmax(shares, axis=0).astype(np.uint8)


def _organ_voxels(labels: np.ndarray, model: Model, organ: str) -> np.ndarray:
    (spec,) = [label for label in model.spec.labels if label.name == organ]
    return np.isin(labels, [mask.value for mask in (*spec.organs(split=False), *spec.organs(split=True))])


def write_table(scores: Sequence[Score], folder: Path, seeds: int) -> None:
    """Write robustness.md, robustness.csv (a line per condition, organ and CT) and robustness.json."""
    head = "| condition | " + " | ".join(ORGANS) + " |\n|---|" + "---|" * len(ORGANS) + "\n"
    note = f"Dice, mean of {seeds} CTs (lowest); volume found over true volume; ml where the organ is outside.\n\n"
    (folder / "robustness.md").write_text(note + head + "\n".join(map(_row, scores)) + "\n", encoding="utf-8")
    content = json.dumps([dataclasses.asdict(score) for score in scores], indent=2).replace("NaN", "null")
    (folder / "robustness.json").write_text(content + "\n", encoding="utf-8")
    with (folder / "robustness.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["condition", "organ", "seed", "dice", "volume_ratio"])
        for score in scores:
            for organ in ORGANS:
                pairs = zip(score.dice[organ], score.volume_ratio[organ], strict=True)
                for seed, (overlap, ratio) in enumerate(pairs):
                    writer.writerow([score.condition, organ, seed, f"{overlap:.4f}", f"{ratio:.4f}"])


def _row(score: Score) -> str:
    return f"| {score.condition} | " + " | ".join(_cell(score, organ) for organ in ORGANS) + " |"


def _cell(score: Score, organ: str) -> str:
    values = [value for value in score.dice[organ] if not math.isnan(value)]
    ratios = [value for value in score.volume_ratio[organ] if not math.isnan(value)]
    parts = []
    if values:
        parts.append(f"{fmean(values):.2f} ({min(values):.2f}); x {fmean(ratios):.2f}")
    if score.false_ml[organ]:
        parts.append(f"{fmean(score.false_ml[organ]):.0f} ml")
    return "; ".join(parts)
