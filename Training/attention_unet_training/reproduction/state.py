"""What was done of a plan: the markers of its steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from AttentionUNetSegmentationLib import __version__
from AttentionUNetSegmentationLib.atomic import sha256_of

from ..preparation.records import read_record, write_record
from .plan import Step

TO_DO, BEGUN, DONE = "to do", "begun", "done"


@dataclass(frozen=True)
class Marker:
    """What a step was begun with.

    Attributes:
        arguments: The step's.
        inputs: File that it reads -> SHA-256.
        version: Of this software.
        seconds: How long it took since it last went on; None while it is not done.
    """

    arguments: tuple[str, ...]
    inputs: dict[str, str]
    version: str
    seconds: float | None = None


def marker_of(step: Step, output: Path) -> Marker | None:
    """What a step was begun with; None if it was not."""
    path = _path(step, output)
    return read_record(Marker, path) if path.exists() else None


def state_of(step: Step, output: Path) -> tuple[str, float | None]:
    """How far a step is, and if it is done, how many seconds it took.

    Raises:
        ValueError: If it was begun with other arguments, or with inputs that are not those that are there now.
    """
    path = _path(step, output)
    marker = marker_of(step, output)
    if marker is None:
        return TO_DO, None
    if marker.arguments != step.arguments:
        there, here = _difference(marker.arguments, step.arguments)
        raise ValueError(
            f"{path} is from another plan: it has {there}, this one {here}; choose another --output, or keep the "
            "options that it was begun with"
        )
    if marker.seconds is None or not all((output / name).exists() for name in step.outputs):
        return BEGUN, None
    check_inputs(step, marker, output)
    return DONE, marker.seconds


def begin(step: Step, output: Path) -> Marker:
    """The marker of a step that is about to run, written now or when it was begun.

    Raises:
        ValueError: If an input is missing or not what the step was begun with, or its output is there already.
    """
    path = _path(step, output)
    for name in step.inputs:
        if not (output / name).is_file():
            raise ValueError(f"{step.name} needs {output / name}, which is missing")
    if marker := marker_of(step, output):
        check_inputs(step, marker, output)
        return marker
    for name in step.outputs:
        if (output / name).exists():
            raise ValueError(f"{output / name} is there already, but not made by {step.name}: move it away")
    marker = Marker(step.arguments, {name: sha256_of(output / name) for name in step.inputs}, __version__)
    write_record(marker, path)
    return marker


def finish(step: Step, marker: Marker, seconds: float, output: Path) -> None:
    """Note that a step is done.

    Raises:
        RuntimeError: If a file that it should have left is missing.
    """
    for name in step.outputs:
        if not (output / name).exists():
            raise RuntimeError(f"{step.name} left no {output / name}")
    write_record(Marker(marker.arguments, marker.inputs, marker.version, round(seconds, 1)), _path(step, output))


def check_inputs(step: Step, marker: Marker, output: Path) -> None:
    """See that a step's inputs are those that it was begun with; what is missing is made again, and seen then.

    Raises:
        ValueError: If one is another.
    """
    for name, digest in marker.inputs.items():
        if (output / name).is_file() and sha256_of(output / name) != digest:
            raise ValueError(
                f"{output / name} has changed since {step.name} was made from it; to redo that step, remove "
                f"{_path(step, output)} and {', '.join(_folders(step, output))}"
            )


@contextmanager
def locked(output: Path) -> Iterator[int | None]:
    """Keep a second run out of the folder, also while a command of a killed run is still at work.

    Yields:
        A file descriptor that commands inherit: the lock ends with the last process that has it. None on Windows.

    Raises:
        ValueError: If another run is at work.
    """
    if sys.platform == "win32":  # has no such locks
        yield None
        return
    import fcntl

    with (output / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another run, or a command that it started, is still at work in {output}") from None
        yield stream.fileno()


def _path(step: Step, output: Path) -> Path:
    return output / "steps" / f"{step.name}.json"


def _folders(step: Step, output: Path) -> list[str]:
    return list(dict.fromkeys(str((output / name).parent if "/" in name else output / name) for name in step.outputs))


def _difference(there: Sequence[str], here: Sequence[str]) -> tuple[str, str]:
    """The first option in which they differ, with its value."""
    n = next(n for n, pair in enumerate(zip_longest(there, here)) if pair[0] != pair[1])
    first = n if there[n : n + 1] and there[n].startswith("--") else n - 1
    return " ".join(there[first : first + 2]), " ".join(here[first : first + 2])
