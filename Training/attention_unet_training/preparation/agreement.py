"""How a source's label files lie on their CTs: one program wrote them, so what content finds in most holds for all.

Content alone errs: a small or cropped organ, or a tumour, can fit its CT better somewhere else by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .alignment import NOT_TURNED, Lie

MIN_AGREEING = 2


def disagreeing(lies: Mapping[int, Lie]) -> dict[int, str]:
    """Which labels lie otherwise than their source's others.

    A turn is agreed on by two cases at least, and by more than half of those in which content is sure. Without one,
    labels whose geometry puts them on the CT stay there, and the others remain as content found them.

    Args:
        lies: Case -> how its labels lie, as found in itself.

    Returns:
        Case -> the turn to take instead.
    """
    result: dict[int, str] = {}
    for placed in (True, False):
        group = {case: lie for case, lie in lies.items() if lie.placed == placed}
        votes = Counter(lie.turn for lie in group.values() if lie.sure)
        turn, count = max(votes.items(), key=lambda entry: entry[1], default=("", 0))
        if count < MIN_AGREEING or 2 * count <= votes.total():
            turn = NOT_TURNED if placed else ""
        if turn:
            result |= {case: turn for case, lie in group.items() if lie.turn != turn}
    return result
