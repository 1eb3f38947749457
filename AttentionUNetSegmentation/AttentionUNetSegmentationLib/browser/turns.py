"""Whose turn it is to run the network: one session at a time, first come first served."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Who waits for its turn."""

    def send(self, message: dict) -> None:
        """Tell it something; never raises, as it may have died meanwhile."""


class Turns:
    """The queue of all sessions that want to run the network; the first of them does."""

    def __init__(self) -> None:
        self._queue: list[Listener] = []
        self._numbers: dict[Listener, int] = {}

    def ask(self, session: Listener, number: int) -> None:
        """Put a session at the end of the queue; one that stands in it already keeps its place.

        Args:
            session: Who asks.
            number: Its turn is told with this, as it may have been released meanwhile and have asked again.
        """
        if session not in self._queue:
            self._queue.append(session)
            self._numbers[session] = number
            self._tell(len(self._queue) - 1)

    def release(self, session: Listener) -> None:
        """Take a session out of the queue, wherever it stands; those behind it learn their new positions."""
        if session in self._queue:
            place = self._queue.index(session)
            del self._queue[place], self._numbers[session]
            for behind in range(place, len(self._queue)):
                self._tell(behind)

    def _tell(self, place: int) -> None:
        session = self._queue[place]
        turn = {"event": "turn", "number": self._numbers[session]}
        session.send({"event": "position", "ahead": place} if place else turn)
