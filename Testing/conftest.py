"""Fixtures for all tests: the headless Slicer host's ``slicer``, ``qt`` and ``slicer_session``.

Tests in page/ need a browser and a machine that does nothing else; they run by themselves: make test-browser.
"""

from pathlib import Path

import pytest

pytest_plugins = ["slicer_host.pytest_plugin"]
PAGE = Path(__file__).parent / "page"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests of the page out unless they are named."""
    named = any(Path(argument.split("::")[0]).resolve().is_relative_to(PAGE) for argument in config.args)
    return True if collection_path == PAGE and not named else None
