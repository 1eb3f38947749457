"""How a command ends that cannot do what it was asked: one line on stderr, and an exit status that tells scripts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from AttentionUNetSegmentationLib.errors import one_sentence

REFUSALS = (OSError, ValueError, KeyError, RuntimeError, MemoryError)
INTERRUPTED = 130


def told_in_one_line(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """Make a command say in one line what it refuses (exit status 1), and that it was interrupted (130)."""

    @functools.wraps(main)
    def command(arguments: list[str]) -> int:
        try:
            return main(arguments)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except REFUSALS as error:
            print(f"error: {one_sentence(error)}", file=sys.stderr)
            return 1

    return command
