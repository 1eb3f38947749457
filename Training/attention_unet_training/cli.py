"""The ``attention-unet-train`` command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, tuple[Callable[[list[str]], int], str]] = {
        "fit": (_fit, "train a network: --config FILE (see configs/), --help for all options"),
        "synthesise": (_synthesise, "make synthetic CTs, or a contact sheet of them"),
        "evaluate": (_evaluate, "measure a model against reference labels"),
        "export": (_export, "make a model for 3D Slicer and the attention-unet command from a checkpoint"),
    }
    if not arguments or arguments[0] not in commands:
        wanted = "" if not arguments or arguments[0] in ("-h", "--help") else f"unknown command {arguments[0]!r}\n\n"
        listing = "\n".join(f"  {name:<12}{text}" for name, (_, text) in commands.items())
        print(
            f"{wanted}usage: attention-unet-train COMMAND ...\n\n{listing}", file=sys.stderr if wanted else sys.stdout
        )
        return 2 if wanted or not arguments else 0
    try:
        return commands[arguments[0]][0](arguments[1:])
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: pip install 'slicer-attention-unet[training]'", file=sys.stderr)
        return 1


def _fit(arguments: list[str]) -> int:
    from lightning.pytorch.cli import LightningCLI

    from .synthetic_data import SyntheticCTData
    from .task import SegmentationTask

    LightningCLI(SegmentationTask, SyntheticCTData, args=["fit", *arguments], save_config_kwargs={"overwrite": True})
    return 0


def _synthesise(arguments: list[str]) -> int:
    from .synthesise import main as synthesise

    return synthesise(arguments)


def _evaluate(arguments: list[str]) -> int:
    from .evaluate import main as evaluate

    return evaluate(arguments)


def _export(arguments: list[str]) -> int:
    from .export import main as export

    return export(arguments)


if __name__ == "__main__":
    sys.exit(main())
