"""How a source's label files lie on their CTs: cases ask each other, as content alone errs in one.

A small or cropped organ, or a tumour, can fit its CT better somewhere else by chance. What most cases agree on is no
chance; a case that content turns otherwise is for a person to look at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .alignment import NOT_TURNED, Lie

MIN_AGREEING = 2


def agreed_turn(lies: Mapping[int, Lie]) -> str:
    """The turn of two cases at least, and of more than half of those whose geometry fits and content is sure; or ""."""
    votes = Counter(lie.turn for lie in lies.values() if lie.placed and lie.sure)
    turn, count = max(votes.items(), key=lambda entry: entry[1], default=("", 0))
    return turn if count >= MIN_AGREEING and 2 * count > votes.total() else ""


def outvoted(lies: Mapping[int, Lie]) -> dict[int, str]:
    """Cases whose labels content turns as most others' are not; and why they are left out."""
    agreed = agreed_turn(lies)
    return {
        case: f"the labels fit the CT better {lie.turn} than where their geometry puts them, but most of this source's "
        f"lie {agreed}: look at them, and mend the file; or --trust-geometry"
        for case, lie in lies.items()
        if agreed and lie.placed and lie.sure and lie.turn not in (agreed, NOT_TURNED)
    }


def following(lies: Mapping[int, Lie]) -> dict[int, str]:
    """Cases whose labels are too small or fit too weakly to tell; and the turn of most others, to be taken."""
    agreed = agreed_turn(lies)
    if agreed in ("", NOT_TURNED):
        return {}
    return {n: agreed for n, lie in lies.items() if lie.placed and not lie.sure and lie.turn not in ("", agreed)}
