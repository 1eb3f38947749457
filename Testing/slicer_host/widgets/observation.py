"""Observers of a VTK object that end with the widget they belong to."""

from collections.abc import Callable, Iterable


class Observation:
    """At most one observed object; a new one replaces the former, and the widget's end removes it."""

    def __init__(self, widget):
        self._observed = None
        self._tags: list[int] = []
        widget.destroyed.connect(lambda: self.stop())

    def follow(self, observed, events: Iterable, callback: Callable) -> None:
        """Calls back on the events of an object, or of none if it is None."""
        self.stop()
        if observed is not None:
            self._observed = observed
            self._tags = [observed.AddObserver(event, callback) for event in events]

    def stop(self) -> None:
        for tag in self._tags:
            self._observed.RemoveObserver(tag)
        self._observed, self._tags = None, []
