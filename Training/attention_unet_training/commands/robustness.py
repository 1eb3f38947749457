"""``attention-unet-train robustness``: where a model fails, on whole synthetic CTs of a label map it has not seen.

Each condition changes one thing against an easy CT (portal venous phase, thin slices, little noise, the whole abdomen):
contrast phase, slice thickness, noise, field of view, large masses, diseased kidneys, a missing organ, or no abdomen at
all. Every condition uses the same seeds, so the anatomies are the same (but for the pancreas's random erosion, and what
masses and a wide pelvis change), only the condition differs. All CTs come from one person's label map: the numbers
show where to look, they do not estimate how a model does on a population.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from AttentionUNetSegmentationLib.command.overview import write_overview
from AttentionUNetSegmentationLib.models.loading import Model, load_model
from AttentionUNetSegmentationLib.models.store import find_model
from AttentionUNetSegmentationLib.pipeline import Options, segment

from ..evaluation.metrics import dice
from ..evaluation.results import without_nan
from ..refusals import told_in_one_line
from ..staging import Output, staged
from ..synthetic_ct.atlas import load_atlas
from ..synthetic_ct.conditions import CONDITIONS, ORGANS, Condition, make_ct
from ..synthetic_ct.preparation import PreparedAnatomy
from ..task.provenance import learnt_from

FILES = ("robustness.*", "*.png")


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


@told_in_one_line
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
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    parsed = parser.parse_args(arguments)
    if parsed.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {parsed.seeds}")
    model = load_model(find_model(parsed.model))
    _check_organs(model)
    if model.spec.provenance is not None and parsed.subject in learnt_from(model.spec.provenance):
        raise ValueError(f"the model {model.spec.name}, or what it started from, was trained on {parsed.subject}")
    with staged([Output(parsed.output, FILES)], parsed.overwrite) as (draft,):
        draft.mkdir()
        scores = []
        for condition in CONDITIONS:
            subject = parsed.chest_subject if condition.chest else parsed.subject
            if subject is None:
                print("chest only: left out, no --chest-subject was given")
                continue
            anatomy = load_atlas(parsed.atlas, parsed.cache, include=[subject])[0]
            scores.append(measure(model, anatomy, condition, range(parsed.seeds), draft))
            print(_row(scores[-1]), flush=True)
        spec = model.spec
        which = f"{spec.name} {spec.version}, weights {spec.weights.sha256[:12]}, on the label map {parsed.subject}"
        which += f" (chest: {parsed.chest_subject})" if parsed.chest_subject else ""
        write_table(scores, draft, parsed.seeds, which)
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


def _check_organs(model: Model) -> None:
    names = [label.name for label in model.spec.labels]
    if missing := [organ for organ in ORGANS if organ not in names]:
        raise ValueError(f"the model {model.spec.name} has no {missing[0]}; synthetic CT asks for {', '.join(ORGANS)}")


def _organ_voxels(labels: np.ndarray, model: Model, organ: str) -> np.ndarray:
    (spec,) = [label for label in model.spec.labels if label.name == organ]
    return np.isin(labels, [mask.value for mask in (*spec.organs(split=False), *spec.organs(split=True))])


def write_table(scores: Sequence[Score], folder: Path, seeds: int, which: str) -> None:
    """Write robustness.md, robustness.csv (a line per condition, organ and CT) and robustness.json.

    Args:
        scores: A row for each condition.
        folder: Where.
        seeds: CTs of each condition.
        which: Model and label map.
    """
    head = "| condition | " + " | ".join(ORGANS) + " |\n|---|" + "---|" * len(ORGANS) + "\n"
    note = (
        f"{which}. Dice, mean of {seeds} CTs (lowest; n of them, if it is in fewer); volume found over true volume; ml "
        "where the organ is outside.\n\n"
    )
    (folder / "robustness.md").write_text(note + head + "\n".join(map(_row, scores)) + "\n", encoding="utf-8")
    content = {"measured": which, "conditions": [dataclasses.asdict(score) for score in scores]}
    (folder / "robustness.json").write_text(json.dumps(without_nan(content), indent=2) + "\n", encoding="utf-8")
    with (folder / "robustness.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["condition", "organ", "seed", "dice", "volume_ratio"])
        for score in scores:
            for organ in ORGANS:
                pairs = zip(score.dice[organ], score.volume_ratio[organ], strict=True)
                for seed, (overlap, ratio) in enumerate(pairs):
                    numbers = ["" if math.isnan(value) else f"{value:.4f}" for value in (overlap, ratio)]
                    writer.writerow([score.condition, organ, seed, *numbers])


def _row(score: Score) -> str:
    return f"| {score.condition} | " + " | ".join(_cell(score, organ) for organ in ORGANS) + " |"


def _cell(score: Score, organ: str) -> str:
    values = [value for value in score.dice[organ] if not math.isnan(value)]
    ratios = [value for value in score.volume_ratio[organ] if not math.isnan(value)]
    parts = []
    if values:
        fewer = f", n = {len(values)}" if len(values) < len(score.dice[organ]) else ""
        parts.append(f"{fmean(values):.2f} ({min(values):.2f}{fewer}); x {fmean(ratios):.2f}")
    if score.false_ml[organ]:
        parts.append(f"{fmean(score.false_ml[organ]):.0f} ml")
    return "; ".join(parts)
