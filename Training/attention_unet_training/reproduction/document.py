"""The document of a table: what it was made of, and the tables that ``evaluate`` wrote."""

from __future__ import annotations

from pathlib import Path

from AttentionUNetSegmentationLib import __version__
from AttentionUNetSegmentationLib.atomic import write_text

from ..preparation.prepared import PreparedDataset
from ..preparation.splits import Split
from ..task.checkpoints import read_training_options
from .plan import SETTINGS_FILE, Plan, Step
from .public_data import PublicData
from .state import marker_of


def document_of(plan: Plan, step: Step, output: Path) -> Path:
    """Write the document; returns its path.

    Args:
        plan: The whole plan.
        step: Its last step, which names the parts.
        output: The output folder.
    """
    parts = [f"# {plan.title}", "\n".join(f"- {line}" for line in _facts(plan, output))]
    if any(SETTINGS_FILE in step.inputs for step in plan.steps):
        settings = (output / SETTINGS_FILE).read_text(encoding="utf-8").strip()
        parts.append(f"Settings that every training was changed by:\n\n```yaml\n{settings}\n```")
    for part in step.arguments[1:]:
        heading, _, path = part.partition("=")
        table = (output / path).read_text(encoding="utf-8").strip()
        parts.append(f"## {heading}\n\n##{table}")  # its own heading goes two levels down
    document = output / step.outputs[0]
    write_text(document, "\n\n".join(parts) + "\n")
    return document


def _facts(plan: Plan, output: Path) -> list[str]:
    lines = [
        f"Made by `attention-unet-train reproduce {plan.table}`, version {_versions(plan, output)}: recipe "
        f"{plan.recipe}, one training of each network with seed {plan.seed}. Intervals and p-values concern the "
        "choice of test cases: what another seed would change is not in them."
    ]
    for data in plan.data:
        lines.append(f"{data.title} ({data.address}): {data.role}.")
        lines += _splits(data, output)
    return lines + _trained_on(plan, output)


def _versions(plan: Plan, output: Path) -> str:
    """Of the software that made the steps, which may have gone on after an update."""
    made = (marker.version for step in plan.steps if (marker := marker_of(step, output)))
    return " and ".join(dict.fromkeys(made)) or __version__


def _trained_on(plan: Plan, output: Path) -> list[str]:
    """How many cases each network learnt from: some of a split's training cases choose the checkpoint."""
    lines = []
    for step in plan.steps:
        if step.kind == "fit":
            data = read_training_options(output / step.outputs[0]).data
            learnt, chose = (len(data.get(key, ())) for key in ("training_ids", "validation_ids"))
            lines.append(
                f"{step.name.removeprefix('fit_')}: learnt from {learnt} cases; {chose} others chose its epoch."
            )
    return lines


def _splits(data: PublicData, output: Path) -> list[str]:
    """What each split has, and what it should have."""
    dataset = PreparedDataset.open(output / data.prepared)
    lines = []
    for name in data.split_names():
        here, whole = (_sizes(split) for split in (dataset.split(name), data.split(name)))
        lines.append(
            f"Split {name} of {data.title}: ours, drawn with seed {data.split(name).seed}, as the paper's ids are not "
            f"published; {here} training/test cases"
            + ("" if here == whole else f", **incomplete: {whole} are listed**")
        )
    return [f"{line}." for line in lines]


def _sizes(split: Split) -> str:
    return ", ".join(f"{len(fold.train)}/{len(fold.test)}" for fold in split.folds)
