"""The ``attention-unet-train`` command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {  # name -> what it does; commands.<name>.main(arguments) runs it, imported when needed
    "prepare": "make a dataset of CTs with reference labels ready for training: TCIA, nnU-Net, AMOS, BTCV, CSV ...",
    "fit": "train a network: --config FILE (see configs/), --help for all options",
    "validate": "Dice of given weights on the validation part of a configuration, without training",
    "finetune": "adapt a model to your own prepared cases: MODEL DATASET --output DIR",
    "pseudo-label": "label CTs by a model where it is confident, for self-training",
    "synthesise": "make synthetic CTs, or a contact sheet of them",
    "evaluate": "measure a model against reference labels",
    "reproduce": "a table or the figures of the paper in one command: prepare, train, evaluate; --dry-run lists steps",
    "robustness": "where a model fails: contrast, slices, noise, field of view, disease, on synthetic CTs",
    "attention": "where the gates of a series of checkpoints look: pictures, share of attention in each organ, control",
    "complete": "put label maps of a few organs into label maps of whole bodies",
    "average": "make one checkpoint whose weights are the mean of several",
    "calibrate": "correct organs that come out too large or small, on synthetic CTs",
    "export": "make a model for 3D Slicer and the attention-unet command from a checkpoint",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] not in COMMANDS:
        wanted = "" if not arguments or arguments[0] in ("-h", "--help") else f"unknown command {arguments[0]!r}\n\n"
        listing = "\n".join(f"  {name:<13}{text}" for name, text in COMMANDS.items())
        print(
            f"{wanted}usage: attention-unet-train COMMAND ...\n\n{listing}", file=sys.stderr if wanted else sys.stdout
        )
        return 2 if wanted or not arguments else 0
    try:
        module = f"attention_unet_training.commands.{arguments[0].replace('-', '_')}"
        return importlib.import_module(module).main(arguments[1:])
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed: pip install '.[training]' in the project's folder", file=sys.stderr
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
