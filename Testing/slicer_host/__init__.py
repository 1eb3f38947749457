"""A small, strict, headless stand-in for the 3D Slicer application. It is NOT 3D Slicer: see README.md.

Real: the MRML scene, nodes, logics, storage and displayable managers (slicer-core), and Qt (PySide6).
Stand-ins: PythonQt, CTK, qMRML widgets, the application and module objects, layouts.
"""

from .faults import HostFault, check
from .messages import answering, shown_messages
from .session import (
    enter,
    leave,
    load_module,
    missing_packages,
    no_main_window,
    process_events,
    reload_module,
    reset,
    start,
    stop,
    testing_mode,
    wait_until,
)

__all__ = [
    "HostFault",
    "answering",
    "check",
    "enter",
    "leave",
    "load_module",
    "missing_packages",
    "no_main_window",
    "process_events",
    "reload_module",
    "reset",
    "shown_messages",
    "start",
    "stop",
    "testing_mode",
    "wait_until",
]
