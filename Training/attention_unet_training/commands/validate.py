"""``attention-unet-train validate``: Dice of given weights on the validation part of a configuration, without training.

Takes the options of ``fit``; ``--model.init_from`` says whose weights: a checkpoint's (averaged ones if it has them), a
model's folder or zip, or a model's name. So weights of an earlier stage of training can be measured on the validation
patches of a later one. There is a row for every person, then their mean, lowest and standard deviation. A line below
names cases that the weights were trained on. Nothing is written but the label maps' cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from lightning.pytorch.cli import LightningArgumentParser

from ..command_line import FitCLI, make_cli, status_of


class ValidateCLI(FitCLI):
    """Task, data and trainer, without what a training run keeps."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options of ``fit`` but for the checkpoint to resume from."""
        self.add_shared_arguments(parser)

    def before_instantiate_classes(self) -> None:
        """Settle what other options imply; no logs, checkpoints or other files.

        Raises:
            ValueError: If no weights are named: those of a fresh network tell nothing.
        """
        super().before_instantiate_classes()
        if not self.config.model.init_from:
            raise ValueError("say whose weights to validate: --model.init_from CHECKPOINT, or a model's folder or name")
        trainer = self.config.trainer
        trainer.logger, trainer.callbacks, trainer.enable_checkpointing = False, None, False
        self.save_config_callback = None


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    return status_of(_validate, arguments)


def _validate(arguments: list[str]) -> None:
    cli = make_cli(arguments, "validate", __doc__, ValidateCLI)
    cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    if cli.trainer.is_global_zero:
        print(f"Dice of {cli.config.model.init_from}\n\n{table(cli.model.dice_by_person)}")
        learnt = {case for base in cli.model.hparams["bases"] for case in base["training_cases"]}
        if seen := [case for case in cli.datamodule.hparams["validation_ids"] if case in learnt]:
            print(f"\nThese weights were trained on cases of these names: {', '.join(seen)}")


def table(dice_by_person: Mapping[str, Mapping[str, float]]) -> str:
    """Dice of every person by organ, and the mean, the lowest and the standard deviation over people, in Markdown.

    Args:
        dice_by_person: Of every person, organ by organ in the same order; NaN for an organ that is not shown.
    """
    organs = list(next(iter(dice_by_person.values())))
    values = np.array([list(row.values()) for row in dice_by_person.values()]).reshape(len(dice_by_person), -1)
    columns = [*values.T, np.array([_over(np.mean, row) for row in values])]
    rows = dict(zip(dice_by_person, np.transpose(columns), strict=True)) if len(dice_by_person) > 1 else {}
    rows |= {"mean": [_over(np.mean, column) for column in columns]}
    if len(dice_by_person) > 1:
        rows["lowest"] = [_over(np.min, column) for column in columns]
        rows["standard deviation"] = [_over(_sample_sd, column, fewest=2) for column in columns]
    head = ["person", *organs, "mean"]
    lines = [head, ["---"] * len(head)]
    lines += [[name, *("" if np.isnan(value) else f"{value:.3f}" for value in row)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _sample_sd(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1))


def _over(statistic: Callable[[np.ndarray], float], values: np.ndarray, fewest: int = 1) -> float:
    """Of the values that are known; NaN if there are too few."""
    known = values[~np.isnan(values)]
    return float(statistic(known)) if len(known) >= fewest else float("nan")
