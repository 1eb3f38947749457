"""``attention-unet-train fit``: training by Lightning's command line, every option typed, unknown keys refused.

Several ``--config`` are read in order, later ones win; single options follow them (``--data.dataset FOLDER``). A file
that is not in the working folder is looked for among the configs that come with the package. ``--ckpt_path`` resumes.
"""

from __future__ import annotations

import sys

from ..command_line import make_cli, status_of


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    return status_of(_fit, arguments)


def _fit(arguments: list[str]) -> None:
    cli = make_cli(arguments, "fit", __doc__)
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
