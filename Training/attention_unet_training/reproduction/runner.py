"""Does the steps of a plan that are not done: each command in a process of its own, its output kept as a log."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .document import document_of
from .plan import DATA, Plan, Step
from .public_data import AMOS, CT82, check_source, write_splits
from .state import BEGUN, DONE, begin, finish, locked, state_of

DATASETS = {data.key: data for data in (AMOS, CT82)}


@dataclass(frozen=True)
class Place:
    """Where a plan is carried out.

    Attributes:
        output: Folder of everything that is made, absolute.
        data: Folder of the raw data, absolute; None if all is prepared.
        incomplete: Whether cases of our splits may be missing.
    """

    output: Path
    data: Path | None
    incomplete: bool = False


def run(plan: Plan, place: Place, tell: Callable[[str], None]) -> None:
    """Do what is not done.

    Args:
        plan: The steps.
        place: Where.
        tell: Gets a line for each step.

    Raises:
        ValueError: If data are missing, the folder holds steps of another plan, or another run is at work in it.
        RuntimeError: If a command fails.
    """
    place.output.mkdir(parents=True, exist_ok=True)
    with locked(place.output) as lock:
        check(plan, place)
        for number, step in enumerate(plan.steps, start=1):
            head = f"[{number}/{len(plan.steps)}] {step.name}"
            state, _ = state_of(step, place.output)
            if state == DONE:
                tell(f"{head}: done before")
                continue
            marker, began = begin(step, place.output), time.monotonic()
            tell(f"{head}: {'goes on' if state == BEGUN else 'begins'}")
            if step.kind == "splits":
                for remark in write_splits(DATASETS[step.arguments[1]], place.output, place.incomplete):
                    tell(f"note: {remark}")
            elif step.kind == "table":
                path = document_of(plan, step, place.output)
                tell(f"wrote {path}")
            else:
                _run_command(step, place, lock, tell)
            finish(step, marker, time.monotonic() - began, place.output)


def check(plan: Plan, place: Place) -> dict[str, tuple[str, float | None]]:
    """See that a plan can be carried out, before hours are spent.

    Returns:
        Step's name -> how far it is, and its seconds if it is done.

    Raises:
        ValueError: If data are missing, or the folder holds steps of another plan.
    """
    states = {step.name: state_of(step, place.output) for step in plan.steps}
    for data in plan.data:
        if states[f"prepare_{data.key}"][0] != DONE:
            if place.data is None:
                raise ValueError(
                    f"--data DIR is needed: {data.title} belongs in DIR/{data.folder}, from {data.address}"
                )
            check_source(data, place.data, place.incomplete)
    return states


def command_of(step: Step, place: Place) -> list[str]:
    """The arguments of ``attention-unet-train`` as they are run now, in the output folder.

    Raises:
        ValueError: If a pattern matches no file.
    """
    arguments: list[str] = []
    for argument in step.arguments:
        if "*" in argument:
            found = sorted(path.relative_to(place.output).as_posix() for path in place.output.glob(argument))
            if not found:
                raise ValueError(f"{step.name} needs {place.output / argument}, of which there is none")
            option = arguments.pop()
            arguments += [part for name in found for part in (option, name)]
        else:
            arguments.append(argument.replace(DATA, str(place.data)))
    last = next((name for name in step.outputs if name.endswith("/last.ckpt")), None)
    if last and (place.output / last).exists():
        arguments += ["--ckpt_path", last]
    return arguments


def _run_command(step: Step, place: Place, lock: int | None, tell: Callable[[str], None]) -> None:
    arguments = command_of(step, place)
    log = place.output / "logs" / f"{step.name}.log"
    log.parent.mkdir(exist_ok=True)
    tell(f"  attention-unet-train {shlex.join(arguments)}\n  log: {log}")
    command = [sys.executable, "-P", "-m", "attention_unet_training.cli", *arguments]
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"$ attention-unet-train {shlex.join(arguments)}\n")
        stream.flush()
        inherited = [] if lock is None else [lock]
        child = subprocess.Popen(
            command,
            cwd=place.output,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
        )
        try:
            status = child.wait()
        except KeyboardInterrupt:  # a terminal has told the command, too; kill -INT has not
            child.terminate()
            child.wait()
            raise
    if status < 0:
        raise RuntimeError(f"{step.name} was killed ({signal.Signals(-status).name}); see {log}")
    if status:
        raise RuntimeError(f"{step.name} failed: {_last_word(log)}; see {log}")


def _last_word(log: Path) -> str:
    """The last error in a log, or else its last line."""
    lines = [line.strip() for line in re.split(r"[\r\n]", log.read_text(encoding="utf-8", errors="replace"))]
    lines = [line for line in lines if line]
    errors: Sequence[str] = [line for line in lines if line.startswith("error: ")]
    return (errors or lines)[-1].removeprefix("error: ")
