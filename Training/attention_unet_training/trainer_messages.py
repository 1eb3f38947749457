"""What the trainer says of itself and users need not hear: advertisements, and processors that are not there."""

from __future__ import annotations

import logging

SPEAKERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")
MARKS = ("litlogger", "litmodels", "lightning.ai", "tpu available: false")


def silence_advertisements() -> None:
    """Drop Lightning's tips to install or sign up for something, and that there is no TPU; all other messages stay."""
    for name in SPEAKERS:
        logging.getLogger(name).addFilter(_is_no_advertisement)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    text = record.getMessage().lower()
    return not any(mark in text for mark in MARKS)
