"""``attention-unet-train fit``: training by Lightning's command line, every option typed, unknown keys refused."""

from __future__ import annotations

from lightning.pytorch.cli import LightningCLI

from .synthetic_data import SyntheticCTData
from .task import SegmentationTask


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    LightningCLI(SegmentationTask, SyntheticCTData, args=["fit", *arguments], save_config_kwargs={"overwrite": True})
    return 0
