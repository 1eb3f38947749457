"""The package OpenVINO, imported without its telemetry.

``import openvino`` tells Google Analytics that it was imported, with a number for this user, unless the package
``openvino_telemetry``, which pip installs beside it, cannot be imported. In 3D Slicer on Linux the whole application
would be forked for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _absent(package: str) -> Iterator[None]:
    before = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # Python's way to say that it cannot be imported
    try:
        yield
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before


with _absent("openvino_telemetry"):
    import openvino
    from openvino import Node, Output, opset13

__all__ = ["Node", "Output", "openvino", "opset13"]
