"""Which values an organ has in a label map, as the commands take it: NAME=VALUE[,VALUE]."""

from __future__ import annotations

from collections.abc import Iterable

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


def parse_organs(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Organ -> its values, of several texts.

    Raises:
        ValueError: If one does not look like that, or two name the same organ: one would silently replace the other.
    """
    organs: dict[str, tuple[int, ...]] = {}
    for name, values in map(parse_organ, texts):
        if name in organs:
            raise ValueError(f"the values of one organ belong together, {name}=VALUE,VALUE; it is given twice")
        organs[name] = values
    return organs
