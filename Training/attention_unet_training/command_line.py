"""The command line of fit and validate, which is Lightning's: task, data and trainer, typed; no unknown key passes."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from jsonargparse import Namespace
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from AttentionUNetSegmentationLib.errors import one_sentence, printable

from .callbacks import CheckpointBeforeValidation, LearningCurve
from .data.cases_data import CasesData
from .data.synthetic_data import SyntheticCTData
from .task.precision import choose_precision
from .task.segmentation_task import SegmentationTask
from .trainer_messages import silence_advertisements

CONFIGS = Path(__file__).parent / "configs"
DATA = (CasesData, SyntheticCTData)  # imported, so that class_path may be the bare name


class FitCLI(LightningCLI):
    """Task, data and trainer from configuration files and options."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what Lightning's parser lacks here."""
        parser.add_argument("--ckpt_path", type=str | None, default=None, help="checkpoint to resume from, or 'last'")
        self.add_shared_arguments(parser)

    def add_shared_arguments(self, parser: LightningArgumentParser) -> None:
        """Add what other commands with these options need too, and let the data know the network's organs."""
        parser.add_argument("--traceback", type=bool, default=False, help="show where an error comes from")
        parser.link_arguments("model.organs", "data.init_args.organs")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments this command was given; ``sys.argv`` does not matter."""
        self.config = parser.parse_args(cast("list[str]", args))  # ``make_cli`` gives no other kind

    def before_instantiate_classes(self) -> None:
        """Settle what other options imply.

        Batch statistics are shared between GPUs (the parser's default), which torch cannot do between CPU processes;
        the precision follows from the processor unless it is given;
        checkpoints and logs go where everything goes, those of a resumed run to those that are there; a progress bar is
        for a terminal.
        """
        trainer = self.config.trainer
        if not sys.stdout.isatty():
            trainer.enable_progress_bar = False
        if trainer.logger is None:
            init_args = {"save_dir": trainer.default_root_dir, "name": "logs", "version": ""}
            trainer.logger = Namespace(
                class_path="lightning.pytorch.loggers.TensorBoardLogger", init_args=Namespace(**init_args)
            )
        if trainer.accelerator == "cpu":
            trainer.sync_batchnorm = False
        trainer.precision, why = choose_precision(trainer.precision, str(trainer.accelerator))
        rank_zero_info(why)
        for callback in trainer.callbacks if isinstance(trainer.callbacks, list) else []:
            if callback.class_path.endswith(".ModelCheckpoint") and callback.init_args.dirpath is None:
                callback.init_args.dirpath = trainer.default_root_dir

    def instantiate_trainer(self, **options: Any) -> pl.Trainer:
        """Make the trainer.

        Raises:
            ValueError: If torchrun starts other processes than the trainer expects: each of them could then train by
                itself, into the files of all.
        """
        trainer = super().instantiate_trainer(**options)
        started = TorchElasticEnvironment().world_size() if TorchElasticEnvironment.detect() else trainer.world_size
        if started != trainer.world_size:
            raise ValueError(
                f"torchrun starts {started} processes, the trainer expects {trainer.world_size}: set --trainer.devices "
                "to the processes of a node, and --trainer.num_nodes"
            )
        return trainer


def make_cli(arguments: list[str], name: str, description: str | None, kind: type[FitCLI] = FitCLI) -> FitCLI:
    """Parse, and make task, data and trainer.

    Args:
        arguments: Of the command.
        name: The command's.
        description: For its help.
        kind: What makes them.

    Raises:
        argparse.ArgumentError: If an option is unknown or a value does not fit.
        ValueError: If values do not fit together.
    """
    silence_advertisements()
    return kind(
        SegmentationTask,
        pl.LightningDataModule,
        subclass_mode_data=True,
        run=False,
        args=with_packaged_configs(arguments),
        auto_configure_optimizers=False,
        trainer_defaults={
            "sync_batchnorm": torch.cuda.is_available(),
            "callbacks": [LearningCurve(), CheckpointBeforeValidation()],
        },
        save_config_kwargs={"overwrite": True},
        parser_kwargs={
            "exit_on_error": False,
            "prog": f"attention-unet-train {name}",
            "description": description,
        },
    )


def status_of(run: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run a command that ``make_cli`` parses; what goes wrong is told in one line, unless --traceback asks for more.

    Returns:
        The exit status.
    """
    try:
        run(arguments)
    except (argparse.ArgumentError, ValueError, RuntimeError, OSError, MisconfigurationException) as error:
        if any(argument.startswith("--traceback") for argument in arguments):
            raise
        print(f"error: {short(error)}", file=sys.stderr)
        return 1
    return 0


def with_packaged_configs(arguments: list[str]) -> list[str]:
    """The arguments, with configs that are not files here replaced by the package's of that name."""
    result = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        prefix, value = ("", argument) if before in ("--config", "-c") else ("--config=", argument[len("--config=") :])
        if (prefix == "" or argument.startswith(prefix)) and not Path(value).exists() and (CONFIGS / value).is_file():
            argument = f"{prefix}{CONFIGS / value}"
        result.append(argument)
    return result


def short(error: BaseException) -> str:
    """An error in one sentence; of jsonargparse's long ones, what was wrong and where."""
    text = str(error)
    reasons = re.findall(r"Problem with given class_path '([^']+)':\s*\n\s*(.+)", text)
    if not reasons:
        return one_sentence(error)
    key = re.search(r'Parser key "([^"]+)"', text)
    kind, reason = reasons[-1]
    return printable(" ".join(f"{key[1] if key else 'configuration'}: {kind.rpartition('.')[2]}: {reason}".split()))
