"""The ``attention-unet`` command: segment, cohort, view, models, info."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .. import __version__
from ..errors import one_sentence, printable, sentence_on
from ..models.description import ModelError
from .cohort import add_cohort
from .run_options import add_run_options, options_of
from .view import add_view

logger = logging.getLogger("attention_unet")
_signals: list[int] = []  # that ended this run: libraries turn the exception into one of theirs while they are imported


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 success, 1 failure, 130 interrupted, 143 terminated)."""
    parsed = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show does not end a run
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.DEBUG if parsed.verbose else logging.CRITICAL, handlers=[handler])
    try:
        with ending_in_order():
            return parsed.run(parsed)
    except KeyboardInterrupt as interruption:
        with suppress(OSError):  # the terminal may be gone
            print(parsed.cancelled, file=sys.stderr)
        return 128 + (interruption.args or _signals or [signal.SIGINT])[0]
    except (ModelError, ValueError, OSError, RuntimeError, MemoryError) as error:
        logger.debug("the command failed", exc_info=True)
        print(f"error: {one_sentence(error)}", file=sys.stderr)
        return 1


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, which a cluster or a closed terminal sends, end a run like Ctrl-C: nothing is left over.

    A second signal, of an impatient user, does not disturb the tidying up that the first one began. A signal that is
    ignored (nohup) stays ignored.
    """
    earlier: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def interrupt(number: int, _frame: object) -> None:
        _signals.append(number)
        for other in earlier:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    _signals.clear()
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                earlier[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))  # it repeats the arguments, which may be names of files


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = _Parser(
        prog="attention-unet",
        description="Segment pancreas, spleen and kidneys on abdominal CT with the 3D Attention U-Net, and see where "
        "its attention gates looked. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"attention-unet {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks")
    parser.set_defaults(cancelled="cancelled")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_segment(commands)
    add_cohort(commands)
    add_view(commands)
    _add_models(commands)
    _add_info(commands)
    return parser


def _add_segment(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("segment", help="segment CTs", description="Segment one CT or many.")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="NIfTI, NRRD or MHA file, folder of them, or DICOM folder"
    )
    parser.add_argument(
        "--output-dir",
        required=True,
        type=Path,
        metavar="DIR",
        help="one input writes into DIR, several into DIR/<case>/",
    )
    add_run_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the reports as JSON on standard output, nothing else"
    )
    parser.set_defaults(run=_segment, cancelled="cancelled; nothing of the running case was written")


def _add_models(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("models", help="list, add and remove models")
    parser.add_argument("--path", action="store_true", help="print the folder of added models")
    parser.set_defaults(run=_models, action="list")
    actions = parser.add_subparsers(metavar="ACTION")
    for name, what, text in (
        ("list", None, "list all models with their measured accuracy and licence"),
        ("add", "SOURCE", "copy a model (folder or zip) into the folder of added models"),
        ("remove", "NAME", "delete an added model"),
    ):
        action = actions.add_parser(name, help=text)
        if what:
            action.add_argument("target", metavar=what)
        action.set_defaults(run=_models, action=name)


def _add_info(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("info", help="what a CT looks like to the engine, with warnings")
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_info)


def _segment(parsed: argparse.Namespace) -> int:
    from ..inference.devices import choose_backend, choose_device
    from ..models.loading import load_model
    from ..models.store import find_model
    from . import console
    from .batch import CaseResult, check_writable, run_cases
    from .cases import check_dicom, find_cases

    check_writable(parsed.output_dir)
    if choose_backend(parsed.backend, choose_device(parsed.device, parsed.backend)) == "torch":
        from ..inference.torch_backend import take_large_pages

        take_large_pages()
    model = load_model(find_model(parsed.model))
    options = options_of(parsed)
    cases = find_cases(parsed.inputs, parsed.output_dir, parsed.overwrite)
    if parsed.dicom:
        check_dicom(cases)
        cases = [replace(case, dicom=True) for case in cases]
    outcomes: list[CaseResult] = []

    def tell() -> None:
        if parsed.json:
            print(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
        elif not parsed.quiet:
            console.print_summary(outcomes, model.spec)

    try:
        with console.progress_bar(len(cases), show=not (parsed.quiet or parsed.json)) as begin:
            for outcome in run_cases(cases, model, options, parsed.overwrite, begin):
                if outcome.error and _signals:
                    raise KeyboardInterrupt(*_signals)
                outcomes.append(outcome)
                if outcome.error:
                    print(f"error: {outcome.error}", file=sys.stderr)
    except KeyboardInterrupt:
        with suppress(OSError):
            tell()
        raise
    tell()
    return 0 if all(outcome.succeeded for outcome in outcomes) else 1


def _models(parsed: argparse.Namespace) -> int:
    from ..models.loading import add_model
    from ..models.store import list_models, remove_model, user_model_folder
    from . import console

    if parsed.path:
        print(user_model_folder())
    elif parsed.action == "add":
        entry = add_model(parsed.target)
        console.say(f"added {entry.name} in {entry.folder}")
    elif parsed.action == "remove":
        console.say(f"removed {remove_model(parsed.target)}")
    else:
        console.print_models(list_models())
    return 0


def _info(parsed: argparse.Namespace) -> int:
    from ..formats.files import read_volume
    from . import console
    from .cases import find_sources
    from .information import describe

    descriptions, failed = [], False
    for source in find_sources(parsed.inputs):
        try:
            descriptions.append({"path": str(source)} | describe(read_volume(source)))
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            failed = True
            print(f"error: {sentence_on(source, error)}", file=sys.stderr)
    if parsed.json:
        print(json.dumps(descriptions, indent=2))
    else:
        console.print_descriptions(descriptions)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
