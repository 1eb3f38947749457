"""What the module showed in modal dialogs, and how the host answers them.

No dialog ever blocks in the host: each is recorded here and answered at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ShownMessage:
    """One dialog: kind (error, confirm, question, file, install) and text."""

    kind: str
    text: str


@dataclass(frozen=True)
class Answers:
    """How dialogs are answered: OK or Cancel, the path chosen, and the text of a question's button."""

    accept: bool = True
    path: str = ""
    button: str = ""


class _Desk:
    """The one place where dialogs of this process end up."""

    def __init__(self):
        self.shown: list[ShownMessage] = []
        self.answers = Answers()


_desk = _Desk()


def record_message(kind: str, text: str) -> Answers:
    """Notes that a dialog was shown, and returns how to answer it."""
    _desk.shown.append(ShownMessage(kind, text))
    return _desk.answers


def shown_messages(kind: str | None = None) -> list[ShownMessage]:
    """Returns the dialogs shown since the last `clear_messages`, oldest first; of one kind if given."""
    return [message for message in _desk.shown if kind is None or message.kind == kind]


def clear_messages() -> None:
    """Forgets the recorded dialogs and sets the answers back to their defaults."""
    _desk.shown.clear()
    _desk.answers = Answers()


@contextmanager
def answering(**changes) -> Iterator[None]:
    """Answers dialogs differently inside the block, e.g. `answering(accept=False)` presses Cancel."""
    before = _desk.answers
    _desk.answers = replace(before, **changes)
    try:
        yield
    finally:
        _desk.answers = before
