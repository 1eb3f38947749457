"""``attention-unet-train fit``: training by Lightning's command line, every option typed, unknown keys refused.

Several ``--config`` are read in order, later ones win; single options follow them (``--data.dataset FOLDER``). A file
that is not in the working folder is looked for among the configs that come with the package. ``--ckpt_path`` resumes.
"""

from __future__ import annotations

from pathlib import Path

from ..command_line import make_cli, status_of
from ..task.starting_weights import check_no_run_in, check_resumable


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    return status_of(_fit, arguments)


def _fit(arguments: list[str]) -> None:
    cli = make_cli(arguments, "fit", __doc__)
    folder = Path(cli.config.trainer.default_root_dir)
    if cli.config.ckpt_path and Path(cli.config.ckpt_path).is_file():
        check_resumable(Path(cli.config.ckpt_path), folder)
    elif not cli.config.ckpt_path:
        check_no_run_in(folder)
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path)
