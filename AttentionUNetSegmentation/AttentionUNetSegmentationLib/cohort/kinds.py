"""Sentences about cases (errors, warnings, reasons) grouped by what they say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from .record import Record

EXAMPLES = 5
PATH = re.compile(r"""(?<![^\s'"(])(?:[A-Za-z]:)?[\\/][^\s:,;'")]+""")
HASH = re.compile(r"\b[0-9a-f]{16,}\b|\b0x[0-9a-f]+\b")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?(?!\w)")


@dataclass(frozen=True)
class Kind:
    """Sentences that say the same.

    Attributes:
        text: The sentence; with "…" for paths and "#" for numbers where these differ.
        count: Number of sentences.
        examples: (case, sentence) of the first few.
    """

    text: str
    count: int
    examples: tuple[tuple[str, str], ...]


def kinds_of(sentences: Iterable[tuple[Record, str]]) -> list[Kind]:
    """Group sentences by what they say apart from paths and numbers, the most frequent first."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for record, sentence in sentences:
        groups[_pattern(sentence, record)].append((record["case"], sentence))
    kinds = []
    for pattern, members in groups.items():
        texts = {sentence for _, sentence in members}
        kinds.append(Kind(texts.pop() if len(texts) == 1 else pattern, len(members), tuple(members[:EXAMPLES])))
    return sorted(kinds, key=lambda kind: (-kind.count, kind.text))


def _pattern(sentence: str, record: Record) -> str:
    for name in (record["source"], record["case"], PurePosixPath(record["source"]).name):
        if PurePosixPath(name).name in sentence:  # else compiling takes seconds for thousands of names
            sentence = re.sub(_mention(name), "…", sentence)
    sentence = HASH.sub("#", PATH.sub("…", sentence))
    return NUMBER.sub("#", sentence)


def _mention(name: str) -> str:
    """A regular expression for a file or folder, with what may stand above and below it.

    A path that begins the sentence may contain spaces. A short name or a number counts only at the end of a path.
    """
    above = r"(?:^(?:[A-Za-z]:)?[\\/].*?[\\/]|[^\s:]*[\\/])"
    optional = "?" if len(name) > 3 and not name.isdigit() else ""
    parts = r"[\\/]".join(re.escape(part) for part in name.split("/"))
    return rf"(?<!\w){above}{optional}{parts}(?:[\\/][^\s:,;]+)?(?!\w)"
