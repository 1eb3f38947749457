"""``attention-unet-train validate``: Dice of given weights on the validation part of a configuration, without training.

Takes the options of ``fit``; ``--model.init_from`` says whose weights: a checkpoint's (averaged ones if it has them), a
model's folder or zip, or a model's name. So weights of an earlier stage of training can be measured on the validation
patches of a later one. Nothing is written but the label maps' cache.
"""

from __future__ import annotations

import sys

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
    (metrics,) = cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    if not cli.trainer.is_global_zero:
        return
    organs = [organ for organ in cli.model.organs if f"dice_{organ}" in metrics]
    dice = [metrics[f"dice_{organ}"] for organ in organs] + [metrics["dice"]]
    print("| Dice | " + " | ".join([*organs, "mean"]) + " |\n" + "|---" * (len(dice) + 1) + "|")
    print(f"| {cli.config.model.init_from} | " + " | ".join(f"{value:.3f}" for value in dice) + " |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
