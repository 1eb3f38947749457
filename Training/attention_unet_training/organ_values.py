"""Which values an organ has in a label map, as the commands take it: NAME=VALUE[,VALUE]."""

from __future__ import annotations

from collections.abc import Iterable

from .preparation.organ_names import IGNORE
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
        ValueError: If one does not look like that, two name the same organ, of which one would silently replace the
            other, two organs have the very same values, or a value to leave out is an organ's.
    """
    organs: dict[str, tuple[int, ...]] = {}
    for name, values in map(parse_organ, texts):
        if name in organs:
            raise ValueError(f"the values of one organ belong together, {name}=VALUE,VALUE; it is given twice")
        if twin := next((other for other, theirs in organs.items() if set(theirs) == set(values)), None):
            raise ValueError(f"{twin} and {name} have the same values {','.join(map(str, values))}")
        organs[name] = values
    for name, values in organs.items():
        if name != IGNORE and (both := set(values) & set(organs.get(IGNORE, ()))):
            raise ValueError(f"the value {both.pop()} is to be left out, and is that of the {name}")
    return organs
