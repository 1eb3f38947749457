"""Which values an organ has in a label map, as the commands take it: NAME=VALUE[,VALUE]."""

from __future__ import annotations

from .preparation.source import label_value


def parse_organ(text: str) -> tuple[str, tuple[int, ...]]:
    """``kidney=3,4`` -> ("kidney", (3, 4)).

    Raises:
        ValueError: If it does not look like that.
    """
    name, _, values = text.partition("=")
    try:
        if not name:
            raise ValueError
        return name, tuple(label_value(value.strip()) for value in values.split(","))
    except ValueError:
        raise ValueError(f"--organ must look like kidney=3,4, got {text!r}") from None
