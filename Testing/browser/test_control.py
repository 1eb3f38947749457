"""What a session hears of the front."""

import asyncio
import io
import json
import os
import sys

from AttentionUNetSegmentationLib.browser import control as control_module
from AttentionUNetSegmentationLib.browser.control import Control


def test_a_turn_that_was_given_before_a_release_is_none_for_the_next_run(monkeypatch):
    """The session asks, cancels and asks again before it hears that the first turn is given."""
    (from_front, to_session), (from_session, to_front) = os.pipe(), os.pipe()
    monkeypatch.setattr(control_module, "TO_FRONT", to_front)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(os.fdopen(from_front, "rb")))
    heard = []
    control = Control(heard.append, lambda: heard.append("turn"), lambda: heard.append("stop"))
    control.ask()
    control.release()
    control.ask()
    told = [json.loads(line) for line in os.read(from_session, 4096).splitlines()]
    assert told == [{"event": "ask", "number": 1}, {"event": "release"}, {"event": "ask", "number": 2}]
    events = ({"event": "turn", "number": 1}, {"event": "position", "ahead": 1}, {"event": "turn", "number": 2})
    os.write(to_session, b"".join(json.dumps(event).encode() + b"\n" for event in events))
    os.close(to_session)
    asyncio.run(control.listen())
    assert heard == [1, "turn", "stop"]
    os.close(to_front)
    os.close(from_session)
