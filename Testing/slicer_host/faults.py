"""Faults that 3D Slicer would only print, collected so that a test can fail on them.

An exception in a slot, a timer, a VTK observer or a thread reaches no caller: it ends in `sys.excepthook` or
`threading.excepthook`. The host listens there, and keeps what it hears until `check` is called.
"""

import sys
import threading
import traceback


class HostFault(AssertionError):
    """What the module did behind the caller's back was wrong."""


_recorded: list[str] = []


def record(text: str) -> None:
    """Notes one fault, as text to be shown by `check`."""
    _recorded.append(text)


def check() -> None:
    """Raises HostFault if anything was recorded since the last call; forgets it in either case."""
    found = list(_recorded)
    _recorded.clear()
    if found:
        raise HostFault(f"{len(found)} fault(s) while running in the host:\n\n" + "\n\n".join(found))


def _on_exception(kind, value, trace) -> None:
    record("".join(traceback.format_exception(kind, value, trace)))
    sys.__excepthook__(kind, value, trace)


def _on_thread_exception(arguments) -> None:
    _on_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


def start_listening() -> None:
    """Takes over the hooks for exceptions that nobody catches."""
    sys.excepthook = _on_exception
    threading.excepthook = _on_thread_exception


def stop_listening() -> None:
    """Gives the hooks back to Python."""
    sys.excepthook = sys.__excepthook__
    threading.excepthook = threading.__excepthook__
