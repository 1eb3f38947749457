"""``attention-unet-train reproduce``: a table or the figures of the paper, from public CTs to the finished table.

Prepares the CTs, trains every network, measures and compares them. What is done is not done again, an interrupted run
goes on where it stopped, and trainings that several tables need are shared by tables with the same --output.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from pathlib import Path

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from AttentionUNetSegmentationLib.atomic import write_text
from AttentionUNetSegmentationLib.errors import one_sentence

from ..command_line import FitCLI, make_cli, short
from ..reproduction.estimate import SECONDS_PER_CASE, TrainingSize, seconds_per_step, training_size
from ..reproduction.plan import DATA, RECIPES, SETTINGS_FILE, TABLES, Plan, Step, make_plan
from ..reproduction.runner import Place, check, run
from ..reproduction.state import DONE, state_of

HOUR = 3600.0


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status: 0, 1 on an error, 130 if interrupted."""
    parsed = _parser().parse_args(arguments)
    try:
        place = Place(parsed.output.absolute(), parsed.data and parsed.data.absolute(), parsed.incomplete)
        plan = make_plan(parsed.table, parsed.recipe, parsed.seed, parsed.config is not None)
        if parsed.dry_run:
            _tell_plan(plan, place, parsed.config, parsed.seconds_per_step)
        else:
            check(plan, place)
            if parsed.config:
                _keep_settings(parsed.config, place.output)
            run(plan, place, lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError, MisconfigurationException, argparse.ArgumentError) as error:
        print(f"error: {short(error)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="attention-unet-train reproduce", description=__doc__.split(": ", 1)[1])
    parser.add_argument("table", choices=TABLES, help="what to make")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the raw data; --dry-run says what belongs there"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="folder for all output (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the steps with estimated hours, and do nothing")
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default="paper",
        help="as the paper says, or as its public code does (default: paper)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of every training (default: 0)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="changes every training (less memory, GPUs ...); the table says so"
    )
    parser.add_argument("--incomplete", action="store_true", help="go on without cases that are missing")
    parser.add_argument(
        "--seconds-per-step", type=float, metavar="S", help="for --dry-run: of every training (default: measured here)"
    )
    return parser


def _keep_settings(config: Path, output: Path) -> None:
    """Keep the file beside what was made with it.

    Raises:
        ValueError: If another one is there.
    """
    text, kept = config.read_text(encoding="utf-8"), output / SETTINGS_FILE
    if kept.exists() and kept.read_text(encoding="utf-8") != text:
        raise ValueError(f"{kept} differs from {config}: choose another --output, or go on with that file")
    write_text(kept, text)


def _tell_plan(plan: Plan, place: Place, config: Path | None, given: float | None) -> None:
    print(f"{plan.title}; recipe {plan.recipe}, seed {plan.seed}, in {place.output}")
    for data in plan.data:
        print(f"data: {data.title}, in {place.data or 'DIR'}/{data.folder} (--data), from {data.address}: {data.role}")
    try:
        check(plan, place)
    except ValueError as error:
        print(f"not ready: {one_sentence(error)}")
    hours = _Hours(given, config)
    for number, step in enumerate(plan.steps, start=1):
        state, seconds = state_of(step, place.output)
        needed = 0.0 if state == DONE else hours.of(step)
        took = f"took {seconds / HOUR:.1f} h" if seconds is not None else f"{needed:.1f} h"
        print(f"{number:3}  {state:<6} {took:>12}  {step.name}{hours.why(step) if state != DONE else ''}")
        if step.kind not in ("splits", "table"):
            arguments = [argument.replace(DATA, str(place.data or "DIR")) for argument in step.arguments]
            print(f"     attention-unet-train {shlex.join(arguments)}")
    print(f"together at most {hours.total:.1f} h{hours.sources()}")


class _Hours:
    """Estimated hours of steps; the trainings' options are parsed as ``fit`` parses them.

    Args:
        given: Seconds per step; None to measure each network once.
        config: Settings that change every training.
    """

    def __init__(self, given: float | None, config: Path | None) -> None:
        if given is not None and not given > 0:
            raise ValueError(f"--seconds-per-step must be positive, got {given:g}")
        self.given, self.config, self.total = given, config, 0.0
        self._sizes: dict[str, TrainingSize] = {}
        self._seconds: dict[tuple, float] = {}
        self._where = ""

    def of(self, step: Step) -> float:
        """Hours of a step that is to be done."""
        seconds = SECONDS_PER_CASE.get(step.kind, 0.0) * step.cases
        if step.kind == "fit":
            cli = self._parsed(step)
            size = training_size(cli.datamodule.hparams, cli.trainer, step.cases)
            self._sizes[step.name] = size
            seconds = size.all_steps * self._seconds_per_step(cli)
        self.total += seconds / HOUR
        return seconds / HOUR

    def why(self, step: Step) -> str:
        """What a training's hours come from."""
        size = self._sizes.get(step.name)
        if size is None:
            return ""
        return (
            f": at most {size.epochs:,} epochs of {size.steps} steps and {size.validation_cases} validation cases, "
            f"{self._last:.3g} s each"
        )

    def sources(self) -> str:
        """Where the seconds come from."""
        if not self._sizes:
            return ""
        how = "given by --seconds-per-step" if self.given else f"measured now on noise, {self._where}, without reading"
        return f"; seconds per step: {how}; a validation case is counted as a step"

    def _parsed(self, step: Step) -> FitCLI:
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)  # what a trainer says of itself
        own = str(self.config) if self.config else SETTINGS_FILE
        arguments = [own if argument == SETTINGS_FILE else argument for argument in step.arguments[1:]]
        return make_cli([*arguments, "--model.init_from", "null"], "fit", None)

    def _seconds_per_step(self, cli: FitCLI) -> float:
        task, data = cli.model, cli.datamodule.hparams
        key = (repr(task.hparams["network"]), repr(data["shape_kji"]), data["batch_size"], len(task.organs))
        if self.given is None and key not in self._seconds:
            device = cli.trainer.strategy.root_device
            name = (
                torch.cuda.get_device_name(device)
                if device.type == "cuda"
                else f"{torch.get_num_threads()} CPU threads"
            )
            print(f"timing {task.hparams['network']['architecture']} on {name} ...", file=sys.stderr, flush=True)
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
            busy = f", beside other work (load {load:.0f}), so too long" if load > (os.cpu_count() or 1) else ""
            self._where = f"{name}, precision {cli.trainer.precision}{busy}"
            self._seconds[key] = seconds_per_step(task, data, cli.trainer)
        self._last = self.given or self._seconds[key]
        return self._last
